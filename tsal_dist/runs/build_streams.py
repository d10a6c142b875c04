"""From a config to a rank's streams of clips, each with chances of its own under one seed."""

import hashlib
from dataclasses import dataclass

import torch

from tsal_dist.config import RunConfig
from tsal_dist.config.data import AugmentConfig
from tsal_dist.data.crop import ViewSettings
from tsal_dist.data.pool import InProcess, Workers
from tsal_dist.data.reader import build_reader_pool
from tsal_dist.data.request import ReadAhead
from tsal_dist.data.shard_set import ShardSet
from tsal_dist.data.stream import ClipStream
from tsal_dist.geometry.flip import mirror_order

# Words that keep the chances of different streams apart under one seed.
STUDENT_LABELS, TEACHER_LABELS, TEACHER_STUDY, TEACHER_CLIPS = range(4)


@dataclass(frozen=True)
class RoleRank:
    """Where a rank stands in its role, and what it computes on."""

    rank: int
    world: int
    device: torch.device
    crew: str = ""
    """Of a teacher's rank: its crew's name, by which its clips come in an order of their own."""


def labelled_stream(config: RunConfig, shards: ShardSet, role_rank: RoleRank, word: int) -> ClipStream:
    return ClipStream(
        shards,
        training_view(config, config.data.hard),
        select="labelled",
        batch=config.train.labelled_batch,
        rank=role_rank.rank,
        world=role_rank.world,
        seed=_seed(config, word, role_rank.crew),
        mirrored_batches=config.train.mirrored_steps if word == STUDENT_LABELS else None,
        read_ahead=ReadAhead(workers=config.data.workers),
    )


def clip_stream(
    config: RunConfig, shards: ShardSet, view: ViewSettings, role_rank: RoleRank, word: int, batch: int
) -> ClipStream:
    return ClipStream(
        shards,
        view,
        select="all",
        batch=batch,
        rank=role_rank.rank,
        world=role_rank.world,
        seed=_seed(config, word, role_rank.crew),
        clip_frames=config.data.clip_frames,
        clip_stride=config.data.clip_stride,
        read_ahead=ReadAhead(workers=config.data.workers),
    )


def clip_readers(config: RunConfig, clips: ShardSet, view: ViewSettings, ahead: int) -> InProcess | Workers:
    """What reads clips that are asked for by name, up to `ahead` of them before they are needed."""
    return build_reader_pool(
        clips,
        view,
        ReadAhead(config.data.workers, deadline_s=config.runtime.deadlines.silent_s),
        max(1, ahead),
        config.data.clip_frames,
    )


def training_view(config: RunConfig, augment: AugmentConfig | None) -> ViewSettings:
    """What readers do to a training clip, and what they leave to the device."""
    return ViewSettings(
        config.model.crop_px,
        config.data.box_expand,
        augment,
        raw=config.data.view == "device",
        mirror=mirror(config),
    )


def mirror(config: RunConfig) -> tuple[int, ...]:
    """Which landmark each becomes in a mirror."""
    layout = config.model.layout
    return mirror_order(layout.flip, layout.names, config.model.num_points)


def _seed(config: RunConfig, word: int, crew: str) -> int:
    """Every crew walks through all clips in an order that only its name decides: crews come and go, and shares of the
    clips would lie untouched with a crew that has gone. Of two crews that have each come through a share f of an epoch,
    a share f of either's clips is the other's as well, by chance."""
    seed = config.train.seed * 16 + word
    if not crew:
        return seed
    return int.from_bytes(hashlib.sha256(f"{seed} {crew}".encode()).digest()[:6], "little")
