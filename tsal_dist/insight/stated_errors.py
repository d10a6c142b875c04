"""Whether a detector's stated errors hold: what its scores promise beside how far its points are off.

Scores are given their meaning on one half of the held-out videos and judged on the other, and the other way round: on the
frames that they were learnt from any promise is kept.
"""

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from tsal_dist.inference.evaluation import to_device
from tsal_dist.insight.charts import Axes, Series, draw_lines
from tsal_dist.insight.measured import Model
from tsal_dist.metrics.calibration import fit

Floats = NDArray[np.float64]

MOST_FRAMES, PARTS = 300, 10
FEWEST_POINTS = 200
"""Below, a curve of ten parts would be chance."""


@dataclass(frozen=True)
class Looked:
    """Points of held-out frames: N frames, K points, errors as shares of the crop's side."""

    score_NK: Floats
    error_NK: Floats
    visible_NK: NDArray[np.bool_]
    half_N: NDArray[np.bool_]
    """Which half of the videos a frame belongs to."""


def draw_stated_errors(model: Model) -> str:
    """Points by their stated error in ten equal parts, each with its true error; "" where there are too few."""
    looked = look_at(model)
    if looked is None:
        return ""
    stated_M, true_M = stated_and_true(looked)
    if len(stated_M) < FEWEST_POINTS:
        return ""
    parts = np.array_split(np.argsort(stated_M, kind="stable"), PARTS)
    x_Q = np.array([100 * stated_M[part].mean() for part in parts])
    y_Q = np.array([100 * true_M[part].mean() for part in parts])
    most = float(max(x_Q.max(), y_Q.max()))
    diagonal = np.array([0.0, most / 2, most])
    series = [Series("as stated", diagonal, diagonal, 3), Series(model.name, x_Q, y_Q, 0)]
    title = f"Stated and true errors of points, {model.name}"
    axes = Axes("stated, % of the crop", "true, % of the crop", title, x_range=(0, most), y_range=(0, most))
    return draw_lines(series, axes)


def stated_and_true(looked: Looked) -> tuple[Floats, Floats]:
    """Of every visible point, its error as learnt from the other half of the videos, and its own."""
    stated, true = [], []
    for half in (False, True):
        here_N, there_N = looked.half_N == half, looked.half_N != half
        if not looked.visible_NK[here_N].any() or not looked.visible_NK[there_N].any():
            continue
        calibration = fit(looked.score_NK[there_N], looked.error_NK[there_N], looked.visible_NK[there_N])
        seen_NK = looked.visible_NK[here_N]
        promised_NK = calibration.expected_px(torch.from_numpy(looked.score_NK[here_N])).double().numpy()
        stated.append(promised_NK[seen_NK])
        true.append(looked.error_NK[here_N][seen_NK])
    if not stated:
        return np.zeros(0), np.zeros(0)
    return np.concatenate(stated), np.concatenate(true)


def look_at(model: Model) -> Looked | None:
    """None where all frames are of one video."""
    how = replace(model.judge.evaluator, most_frames=MOST_FRAMES)
    scores, errors, visible, videos = [], [], [], []
    for clips in how.batches(0, 1):
        points_NK2, score_NK = how.find(model.judge.forward, to_device(clips, how.device))
        truth_NK2 = np.stack([clip.points_TK2[0] for clip in clips])
        errors.append(np.linalg.norm(points_NK2 - truth_NK2, axis=-1) / how.crop_px)
        scores.append(score_NK)
        visible.append(np.stack([clip.visible_TK[0] for clip in clips]))
        videos += [clip.video for clip in clips]
    names = sorted(set(videos))
    if len(names) < 2:
        return None
    half_N = np.array([names.index(video) % 2 == 1 for video in videos])
    return Looked(np.concatenate(scores), np.concatenate(errors), np.concatenate(visible), half_N)
