"""The settings that nobody chose, as the labelled shards say: a foreign set needs no list of overrides.

They are found once, before a run opens, and run.json holds what was found. What a file or an override sets stays as
it is, and so does everything where no shards can be read: who opens them has the better message.
"""

import logging
import math
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tsal_dist.config import RunConfig
from tsal_dist.config.section import Section, is_said
from tsal_dist.data.shard_set import ShardSet, open_cached
from tsal_dist.errors import ConfigError, DataError
from tsal_dist.geometry.flip import mirror_order, names_order
from tsal_dist.metrics.normalizer import usual_normalizer
from tsal_dist.runs.named_shards import require_shards
from tsal_dist.shards.frames import FrameTable, fill_pictures, read_frames

log = logging.getLogger(__name__)

MOST_SHARDS = 8
"""Frame tables that are looked into, spread over the set."""
SIGMA_SHARE, LEAST_SIGMA_PX = 6 / 256, 4.0
"""A heatmap's cell is 4 pixels wide in most detectors, and a narrower gaussian falls between cells."""
CROP_STEP_PX, LEAST_CROP_PX = 32, 96
BEYOND_STEP = 0.05
ALL_AROUND_DEG = 60.0
"""Subjects that turn further than this from each other are seen from above: any rotation is as likely."""
FEW_SHAPES = 5
"""From so many labelled frames on their turns are an observation and not an accident."""


@dataclass(frozen=True)
class Subjects:
    """The labelled frames of some shards. N frames, K points, in pixels of their pictures."""

    points_NK2: NDArray[np.float64]
    placed_NK: NDArray[np.bool_]
    box_N4: NDArray[np.float64]
    size_N2: NDArray[np.float64]

    @property
    def fill_the_picture(self) -> bool:
        return fill_pictures(self.box_N4, self.size_N2)

    @property
    def overhang(self) -> float:
        """How far landmarks lie outside of their box, as a share of its side, in all but the worst hundredth of frames."""
        side_N12 = (self.box_N4[:, 2:] - self.box_N4[:, :2])[:, None]
        beyond_NK2 = np.maximum(
            self.box_N4[:, None, :2] - self.points_NK2, self.points_NK2 - self.box_N4[:, None, 2:]
        )
        share_NK = (beyond_NK2 / side_N12).max(-1)
        return float(np.quantile(np.where(self.placed_NK, share_NK, -1.0).max(1), 0.99))

    @property
    def beyond_points(self) -> float:
        """How far boxes usually reach beyond their landmarks on each side, in longer sides of the landmarks' own box."""
        placed_NK1 = self.placed_NK[..., None]
        low_N2 = np.where(placed_NK1, self.points_NK2, np.inf).min(1)
        high_N2 = np.where(placed_NK1, self.points_NK2, -np.inf).max(1)
        own_N = (high_N2 - low_N2).max(1)
        box_N = (self.box_N4[:, 2:] - self.box_N4[:, :2]).max(1)
        extended = own_N >= 1  # a frame with a single point says nothing
        if not extended.any():
            return 0.0
        return max(0.0, (float(np.median(box_N[extended] / own_N[extended])) - 1) / 2)

    @property
    def side_px(self) -> float:
        """The longer side of the usual box."""
        return float(np.median((self.box_N4[:, 2:] - self.box_N4[:, :2]).max(1)))

    @property
    def leave_points_out(self) -> bool:
        """Whether a landmark that some labels place is missing in a twentieth of them or more."""
        missing_K = 1 - self.placed_NK.mean(0)
        return bool(((missing_K >= 0.05) & (missing_K < 1)).any())

    @property
    def turn_deg(self) -> float:
        """How far nine of ten subjects are turned from the usual direction at most; 0 where too few can be compared."""
        whole = self.points_NK2[self.placed_NK.all(1)]
        if len(whole) < FEW_SHAPES or whole.shape[1] < 3:
            return 0.0
        shape_NK = whole[..., 0] + 1j * whole[..., 1]
        shape_NK = shape_NK - shape_NK.mean(1, keepdims=True)
        turn_N = (shape_NK * shape_NK[0].conj()).sum(1)
        turn_N = turn_N / np.maximum(np.abs(turn_N), 1e-9)
        usual = turn_N.mean()
        if abs(usual) < 1e-9:
            return 180.0
        return float(np.degrees(np.quantile(np.abs(np.angle(turn_N * np.conj(usual))), 0.9)))


def follow_shards(config: RunConfig) -> RunConfig:
    """`config` with every setting that may follow from the shards, and was not said, as they say."""
    shards = _open_if_readable(config, "labelled")
    if shards is None or not shards.points:
        return config
    found = _layout(config, shards)
    subjects = _read_subjects(shards)
    if subjects is not None:
        if found["model.layout.flip"] != "faces":  # for those the defaults were found
            found |= _view(config, subjects)
            found["train.loss.absent"] = subjects.leave_points_out
        found["data.beyond_points"] = round(BEYOND_STEP * round(subjects.beyond_points / BEYOND_STEP), 2)
        found["train.labelled_batch"] = min(config.train.labelled_batch, max(1, _labelled(shards)))
    clips = _open_if_readable(config, "unlabelled")
    if clips and are_stills(clips):
        found["data.clip_frames"] = 1
    if not config.data.validation:
        # On the labels that it learns from a student always looks better than its teacher, which then never teaches.
        found["train.gate.enabled"] = False
    changed = {key: value for key, value in found.items() if not is_said(config, key)}
    changed["train.loss.sigma_px"] = _sigma(config, changed)
    for key, value in changed.items():
        if not is_said(config, key) and _get(config, key) != value:
            log.info("%s = %s, as the shards say", key, value)
            config = _with(config, key.split("."), value)
    return config


def are_stills(shards: ShardSet) -> bool:
    """Whether these are pictures that no other one follows; clips of them would hold each several times."""
    return all(segment.kind == "stills" for shard in range(len(shards)) for segment in shards.segments(shard))


def _open_if_readable(config: RunConfig, name: str) -> ShardSet | None:
    """None where there is nothing to be read: who opens them for the run has the better message."""
    urls = getattr(config.data, name)
    try:
        for url in urls:
            with suppress(ConfigError):
                require_shards(f"data.{name}", url)
        return open_cached(urls, config.data) if urls else None
    except (DataError, OSError, ValueError):
        return None


def _layout(config: RunConfig, shards: ShardSet) -> dict[str, Any]:
    names = config.model.layout.names or shards.layout.names
    if names:
        flip = "names" if names_order(names) else "none"
    else:
        flip = "faces" if mirror_order("faces", (), shards.points) else "none"
    if is_said(config, "model.layout.flip"):
        flip = config.model.layout.flip
    found: dict[str, Any] = {
        "model.num_points": shards.points,
        "model.layout.names": names,
        "model.layout.skeleton": shards.layout.skeleton,
        "model.layout.flip": flip,
        "data.normalizer": usual_normalizer(shards.points) if flip == "faces" else "box_diagonal",
    }
    if flip == "none":
        found |= {"data.hard.flip_prob": 0.0, "data.easy.flip_prob": 0.0}
    return found


def _view(config: RunConfig, subjects: Subjects) -> dict[str, Any]:
    margin = 0.0 if subjects.fill_the_picture else config.data.box_expand
    if subjects.overhang > margin:
        margin = math.ceil(20 * subjects.overhang - 1e-6) / 20 + 0.05  # and a little to see around them
    if is_said(config, "data.box_expand"):
        margin = config.data.box_expand
    seen_px = subjects.side_px * (1 + 2 * margin)
    steps = max(LEAST_CROP_PX // CROP_STEP_PX, math.ceil(seen_px / CROP_STEP_PX))
    turn = 5 * math.ceil(subjects.turn_deg / 5)
    return {
        "data.box_expand": margin,
        "model.crop_px": min(config.model.crop_px, CROP_STEP_PX * steps),
        "data.hard.rotate_deg": 180.0 if turn > ALL_AROUND_DEG else max(config.data.hard.rotate_deg, turn),
    }


def _sigma(config: RunConfig, changed: dict[str, Any]) -> float:
    crop_px: int = changed.get("model.crop_px", config.model.crop_px)
    return max(LEAST_SIGMA_PX, round(SIGMA_SHARE * crop_px, 2))


def _labelled(shards: ShardSet) -> int:
    return sum(manifest.labelled for manifest in shards.manifests)


def _read_subjects(shards: ShardSet) -> Subjects | None:
    """None where not one frame of the shards that were looked into is labelled."""
    tables = [table for table in _tables(shards) if table.labelled_N.any()]
    if not tables:
        return None
    kept = [table.labelled_N for table in tables]

    def joined(name: str) -> NDArray[Any]:
        return np.concatenate([getattr(table, name)[keep] for table, keep in zip(tables, kept, strict=True)])

    return Subjects(
        joined("points_NK2").astype(np.float64),
        joined("visible_NK") > 0,
        joined("box_N4").astype(np.float64),
        joined("size_N2").astype(np.float64),
    )


def _tables(shards: ShardSet) -> Iterator[FrameTable]:
    with_labels = [
        (manifest, number)
        for manifest in shards.manifests
        for number, shard in enumerate(manifest.shards)
        if shard.labelled
    ]
    few = np.linspace(0, len(with_labels) - 1, min(MOST_SHARDS, len(with_labels))).round().astype(int)
    for place in few.tolist():
        manifest, number = with_labels[place]
        yield read_frames(manifest.parquet_url(number))


def _get(config: RunConfig, key: str) -> Any:
    value: Any = config
    for name in key.split("."):
        value = getattr(value, name)
    return value


def _with(section: Any, path: list[str], value: Any) -> Any:
    """A copy of a section with one setting changed; what was said stays known as said."""
    assert isinstance(section, Section)
    inner = value if len(path) == 1 else _with(getattr(section, path[0]), path[1:], value)
    return section.model_copy(update={path[0]: inner})
