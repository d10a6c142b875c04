"""Where the labelled frames of a run have their points, in pixels of the plain crop: no picture is read for it."""

from collections.abc import Iterator
from pathlib import Path

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


def read_labelled_points(
    config: RunConfig, shards: ShardSet
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """points_MK2 and placed_MK, of which the first is anything where the second is false."""
    points, placed = [np.zeros((0, shards.points, 2))], [np.zeros((0, shards.points), np.bool_)]
    every = max(1, -(-sum(manifest.labelled for manifest in shards.manifests) // MOST_FRAMES))
    seen = 0
    for url in _with_labels(shards):
        table = read_frames(url)
        rows = np.flatnonzero(table.labelled_N)
        for row in rows[-seen % every :: every]:
            to_crop_23 = PLAIN.to_crop(table.box_N4[row], config.model.crop_px, config.data.box_expand)
            points.append(affine.apply(to_crop_23, table.points_NK2[row])[None])
            placed.append(table.visible_NK[row][None] > 0)
        seen += len(rows)
    return np.concatenate(points), np.concatenate(placed)


def _with_labels(shards: ShardSet) -> Iterator[str]:
    """The tables of the shards that hold labels: no tar is fetched for them."""
    for manifest in shards.manifests:
        yield from (
            manifest.parquet_url(number) for number, one in enumerate(manifest.shards) if one.labelled
        )


def learn_fitting(config: RunConfig, labelled: ShardSet) -> Fitting:
    """How the points of a run's labels lie to each other."""
    sigma_px = config.train.loss.sigma_px
    return Fitting(learn_companions(*read_labelled_points(config, labelled), sigma_px), sigma_px)


def learn_fitting_of(run: Path, config: RunConfig) -> Fitting:
    """The same of the run in this folder, from wherever it is looked at."""
    return learn_fitting(config, open_of_run(run, config, "labelled", "--companions: "))
