"""What one rank of each role asks of its machine: cores that it keeps busy, and bytes that it reads at every step."""

from collections.abc import Sequence
from typing import Any

from tsal_dist.config import RunConfig
from tsal_dist.errors import DataError
from tsal_dist.shards.files import is_local
from tsal_dist.shards.manifest import Manifest, open_manifest


def streams_of(config: RunConfig, role: str) -> int:
    """How many streams of clips a rank of `role` reads at a time, each with data.workers processes of its own."""
    if role == "inline":
        return streams_of(config, "student") + streams_of(config, "teacher")
    if role == "teacher":
        # Labelled frames, clips to learn from, clips to label; and those among these that the student wishes for.
        return 4 if config.train.priority else 3
    return 2 if config.uses_clips else 1


def describe_demand(config: RunConfig, tracks: bool = True) -> dict[str, Any]:
    """By role; `tracks`: whether the method asks for flow. Bytes are None where the shards are not there to be asked."""
    labels = config.pseudo_batch
    labelled, unlabelled = (_bytes_per_frame(urls) for urls in (config.data.labelled, config.data.unlabelled))
    student = [(labelled, config.train.labelled_batch)] + [(unlabelled, labels)] * (labels > 0)
    readers = {role: streams_of(config, role) * config.data.workers for role in ("student", "teacher")}
    found: dict[str, Any] = {
        "student": {
            "reader_processes": readers["student"],
            "cores": 1 + readers["student"],
            "read_bytes_per_step": _total(student),
        }
    }
    if config.has_teacher:
        tracker = config.model.tracker
        threads = max(1, tracker.threads) if tracks and tracker.kind != "pwc" else 0
        found["teacher"] = {
            "reader_processes": readers["teacher"],
            "flow_threads": threads,
            "cores": 1 + readers["teacher"] + threads,
            "read_bytes_per_segment": _total([(unlabelled, config.runtime.queue.segment_rows)]),
        }
    return found


def _bytes_per_frame(urls: Sequence[str]) -> float | None:
    """None also for shards of an object store: a dry run asks nobody."""
    if not all(is_local(url) for url in urls):
        return None
    try:
        manifests: list[Manifest] = [open_manifest(url) for url in urls]
    except DataError:
        return None
    frames = sum(manifest.frames for manifest in manifests)
    size = sum(shard.tar_bytes for manifest in manifests for shard in manifest.shards)
    return size / frames if frames else None


def _total(parts: Sequence[tuple[float | None, int]]) -> int | None:
    known = [each * frames for each, frames in parts if each is not None]
    return round(sum(known)) if len(known) == len(parts) else None
