"""Landmarks drawn over footage, into a video or into images."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from tsal_dist.errors import ConfigError, DataError

IMAGES = {".png", ".jpg", ".jpeg"}
SURE_BGR, UNSURE_BGR = np.array([90, 255, 90.0]), np.array([60, 60, 255.0])
SURE_SCORE = 0.6
"""Peak from which a point is drawn in full green; towards 0 it turns red."""


class Overlay(Protocol):
    """Takes frames in order."""

    def add(
        self, image_HWC: NDArray[np.uint8], points_K2: NDArray[Any], score_K: NDArray[Any], name: str
    ) -> None: ...


class NoOverlay:
    """Nobody asked for pictures."""

    def add(
        self, image_HWC: NDArray[np.uint8], points_K2: NDArray[Any], score_K: NDArray[Any], name: str
    ) -> None:
        """Draws nothing."""


class VideoOverlay:
    """An mp4 or avi of the first frame's size."""

    def __init__(self, path: Path, frames_per_s: float) -> None:
        self._path = path
        self._rate = frames_per_s
        self._writer: Any = None

    def add(
        self, image_HWC: NDArray[np.uint8], points_K2: NDArray[Any], score_K: NDArray[Any], name: str
    ) -> None:
        if self._writer is None:
            codec = "MJPG" if self._path.suffix == ".avi" else "mp4v"
            size = image_HWC.shape[1::-1]
            self._writer = cv2.VideoWriter(
                str(self._path), cv2.VideoWriter.fourcc(*codec), self._rate, (size[0], size[1])
            )
            if not self._writer.isOpened():
                raise DataError(
                    f"{self._path} cannot be written as a video. Use a name that ends in .mp4 or .avi."
                )
        self._writer.write(draw(image_HWC, points_K2, score_K))

    def close(self) -> None:
        if self._writer is not None:
            self._writer.release()


class ImageOverlay:
    """One file for one image, or a folder for many."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def add(
        self, image_HWC: NDArray[np.uint8], points_K2: NDArray[Any], score_K: NDArray[Any], name: str
    ) -> None:
        target = self._path if self._path.suffix.lower() in IMAGES else self._path / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if not cv2.imwrite(str(target), draw(image_HWC, points_K2, score_K)):
            raise DataError(f"{target} cannot be written as an image. Use a name that ends in .png or .jpg.")


@contextmanager
def open_overlay(out: str | None, source: Path, frames_per_s: float = 25.0) -> Iterator[Overlay]:
    """Where the overlay of `source` goes; nowhere without `out`."""
    if out is None:
        yield NoOverlay()
        return
    path = Path(out)
    if source.is_dir() or source.suffix.lower() in IMAGES | {".bmp", ".webp", ".tif", ".tiff"}:
        if path.suffix.lower() in (".mp4", ".avi"):
            raise ConfigError(f"--out is {out!r}, a video, for images. Name an image or a folder.")
        yield ImageOverlay(path)
        return
    if path.suffix.lower() not in (".mp4", ".avi"):
        raise ConfigError(f"--out is {out!r}; the overlay of a video must end in .mp4 or .avi.")
    path.parent.mkdir(parents=True, exist_ok=True)
    video = VideoOverlay(path, frames_per_s)
    try:
        yield video
    finally:
        video.close()


def draw(image_HWC: NDArray[np.uint8], points_K2: NDArray[Any], score_K: NDArray[Any]) -> NDArray[np.uint8]:
    """A copy with dots, from red where the detector is unsure to green where it is sure."""
    drawn = image_HWC.copy()
    span = float(np.ptp(points_K2, axis=0).max())
    radius = max(1.0, span / 110)
    for (x, y), score in zip(points_K2, score_K, strict=True):
        share = float(np.clip(score / SURE_SCORE, 0, 1))
        color = share * SURE_BGR + (1 - share) * UNSURE_BGR
        at = (round(16 * float(x)), round(16 * float(y)))
        cv2.circle(drawn, at, round(16 * radius), color.tolist(), -1, cv2.LINE_AA, shift=4)
    return drawn
