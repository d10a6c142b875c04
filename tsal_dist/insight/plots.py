"""Pictures of an evaluation: the CED curve, errors per landmark, and the frames that went worst and best."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from numpy.typing import NDArray

from tsal_dist.canvas import disc
from tsal_dist.errors import MissingExtra
from tsal_dist.metrics.face_errors import FaceErrors

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from tsal_dist.inference.evaluation import Evaluation, ScoredFrame

TRUTH_RGB, FOUND_RGB = (80, 220, 100), (255, 80, 80)
TILE_PX, ACROSS = 256, 4
CED_LIMIT = 0.15
MOST_NAMED = 30
"""Landmarks whose names fit under an axis; more are counted."""


def draw_evaluations(
    found: "Mapping[str, Evaluation]", folder: Path, point_names: Sequence[str] = ()
) -> list[Path]:
    """Write every picture into `folder`; returns their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / "ced.png", folder / "per_landmark.png"]
    errors = {name: one.errors for name, one in found.items()}
    for path, figure in zip(paths, (draw_ced(errors), draw_per_landmark(errors, point_names)), strict=True):
        figure.savefig(path, dpi=150, bbox_inches="tight")
    for name, one in found.items():
        for which, judged in (("worst", one.worst), ("best", one.best)):
            if judged:
                path = folder / f"{which}_{name.replace(' ', '_').replace('/', '_')}.jpg"
                cv2.imwrite(str(path), cv2.cvtColor(contact_sheet(judged), cv2.COLOR_RGB2BGR))
                paths.append(path)
    return paths


def draw_ced(errors: Mapping[str, FaceErrors]) -> "Figure":
    """Share of frames at or below each error, a curve per model."""
    figure, axes = _new_axes()
    for name, one in errors.items():
        limit, share = one.ced(CED_LIMIT)
        axes.plot(100 * limit, 100 * share, label=f"{name}: NME {100 * one.nme:.2f} %")
    axes.set(xlim=(0, 100 * CED_LIMIT), ylim=(0, 100), ylabel="frames, %")
    axes.set_xlabel(f"error / {next(iter(errors.values())).normalizer}, %")
    axes.grid(alpha=0.3)
    axes.legend(loc="lower right")
    return figure


def draw_per_landmark(errors: Mapping[str, FaceErrors], point_names: Sequence[str] = ()) -> "Figure":
    """Mean error of each landmark, a line per model; by their names where they have some and are few."""
    figure, axes = _new_axes(width=9)
    for name, one in errors.items():
        axes.plot(100 * one.nme_per_point, label=name, marker=".", linewidth=1)
    axes.set(xlabel="landmark", ylabel="mean error, %", ylim=(0, None))
    if 0 < len(point_names) <= MOST_NAMED:
        axes.set_xticks(range(len(point_names)), point_names, rotation=45, ha="right")
    axes.grid(alpha=0.3)
    axes.legend()
    return figure


def contact_sheet(judged: "Sequence[ScoredFrame]") -> NDArray[np.uint8]:
    """Frames with true (green) and found (red) points and a line between them, their error written below."""
    tiles = [_tile(one) for one in judged]
    tiles += [np.zeros_like(tiles[0])] * (-len(tiles) % ACROSS)
    rows = [np.hstack(tiles[start : start + ACROSS]) for start in range(0, len(tiles), ACROSS)]
    return np.vstack(rows)


def _dots(image_HWC: NDArray[np.uint8], points_K2: NDArray[Any], color: tuple[int, int, int]) -> None:
    """Dots on an image, in place; sub-pixel places are kept."""
    for point_2 in points_K2[np.isfinite(points_K2).all(1)]:
        disc(image_HWC, point_2, (2, 2), color)


def _tile(one: "ScoredFrame") -> NDArray[np.uint8]:
    scale = TILE_PX / one.image_HWC.shape[0]
    large = cv2.resize(one.image_HWC, (TILE_PX, TILE_PX), interpolation=cv2.INTER_CUBIC)
    tile: NDArray[np.uint8] = np.array(large, np.uint8)
    # Pixel centres: the middle of the first pixel moves from 0 to (scale - 1) / 2.
    truth, found = (points * scale + (scale - 1) / 2 for points in (one.truth_K2, one.predicted_K2))
    for (x1, y1), (x2, y2) in zip(truth[one.visible_K], found[one.visible_K], strict=True):
        cv2.line(tile, (round(x1), round(y1)), (round(x2), round(y2)), (230, 230, 60), 1, cv2.LINE_AA)
    _dots(tile, truth[one.visible_K], TRUTH_RGB)
    _dots(tile, found, FOUND_RGB)
    write_caption(tile, f"{100 * one.nme:.1f} %  {one.name}", 0.4)
    return tile


def write_caption(tile: NDArray[np.uint8], text: str, size: float) -> None:
    """In the lower left corner, white with a black rim, in place."""
    for color, width in (((0, 0, 0), 3), ((255, 255, 255), 1)):
        at = (6, tile.shape[0] - 8)
        cv2.putText(tile, text, at, cv2.FONT_HERSHEY_SIMPLEX, size, color, width, cv2.LINE_AA)


def _new_axes(width: float = 6.0) -> tuple["Figure", Any]:
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise MissingExtra("matplotlib", "report", "Drawing plots") from None
    # Without pyplot: no window system is looked for, and no state is left behind.
    figure = Figure(figsize=(width, 4))
    return figure, figure.subplots()
