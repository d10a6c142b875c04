"""Where the labelled frames of a run have their points: no picture is read for it."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tsal_dist.config import RunConfig
from tsal_dist.data.augment import PLAIN
from tsal_dist.data.shard_set import ShardSet
from tsal_dist.geometry import affine
from tsal_dist.inference.held_out import open_of_run
from tsal_dist.models.companions import Fitting, learn_companions
from tsal_dist.shards.frames import read_frames

MOST_FRAMES = 5000
"""Enough to know how points lie to each other; evenly spread over the set."""


class LabelledRow(NamedTuple):
    """One labelled frame, in pixels of the frame as it is stored."""

    points_K2: NDArray[np.float32]
    """Anything where `placed_K` is false."""
    placed_K: NDArray[np.bool_]
    box_4: NDArray[np.float32]


def read_rows(shards: ShardSet) -> Iterator[LabelledRow]:
    """Of all that is labelled, or of so many, evenly spread. No tar is fetched for it."""
    every = max(1, -(-sum(manifest.labelled for manifest in shards.manifests) // MOST_FRAMES))
    seen = 0
    for manifest in shards.manifests:
        for number in (number for number, one in enumerate(manifest.shards) if one.labelled):
            table = read_frames(manifest.parquet_url(number))
            rows = np.flatnonzero(table.labelled_N)
            for row in rows[-seen % every :: every]:
                yield LabelledRow(table.points_NK2[row], table.visible_NK[row] > 0, table.box_N4[row])
            seen += len(rows)


def read_labelled_points(
    config: RunConfig, shards: ShardSet
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """points_MK2 in pixels of the plain crop, and placed_MK; where that is false a point is anything."""
    points, placed = [np.zeros((0, shards.points, 2))], [np.zeros((0, shards.points), np.bool_)]
    for row in read_rows(shards):
        to_crop_23 = PLAIN.to_crop(row.box_4, config.model.crop_px, config.data.box_expand)
        points.append(affine.apply(to_crop_23, row.points_K2)[None])
        placed.append(row.placed_K[None])
    return np.concatenate(points), np.concatenate(placed)


def learn_fitting(config: RunConfig, labelled: ShardSet) -> Fitting:
    """How the points of a run's labels lie to each other."""
    sigma_px = config.train.loss.sigma_px
    return Fitting(learn_companions(*read_labelled_points(config, labelled), sigma_px), sigma_px)


def learn_fitting_of(run: Path, config: RunConfig) -> Fitting:
    """The same of the run in this folder, from wherever it is looked at."""
    return learn_fitting(config, open_of_run(run, config, "labelled", "--companions: "))
