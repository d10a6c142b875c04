"""Refuses held-out footage that is trained on as well."""

from tsal_dist.data.shard_set import ShardSet
from tsal_dist.errors import ConfigError
from tsal_dist.shards.manifest import Segment


def refuse_overlap(training: ShardSet | None, held_out: ShardSet, key: str) -> None:
    """The same footage in training and validation would make every score a lie."""
    if training is None:
        return
    mine = {shard.tar_sha256 for manifest in training.manifests for shard in manifest.shards}
    named = {_footage(segment) for number in range(len(training)) for segment in training.segments(number)}
    for manifest in held_out.manifests:
        for shard in manifest.shards:
            twice = [
                segment.video for segment in shard.segments if segment.video and _footage(segment) in named
            ]
            if shard.tar_sha256 in mine or twice:
                what = f"the video {twice[0]!r}" if twice else f"the shard {shard.name}"
                raise ConfigError(
                    f"data.validation ({manifest.url}) and {key} both hold {what}. Scores on footage that was trained "
                    f"on mean nothing: pack the two as splits of one data set. If it is other footage of the same name, pack it with "
                    f"--root a folder higher, which becomes part of the name (a list's paths start there, too)."
                )


def _footage(segment: Segment) -> tuple[str, int, int, int]:
    return segment.video, segment.frames, segment.first_frame, segment.frame_step
