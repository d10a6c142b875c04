"""Landmarks drawn over footage, into a video or into images. Where there is no subject nothing is drawn, nor is a
point whose expected error is too large to be shown as a find.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from tsal_dist.canvas import disc, stroke
from tsal_dist.errors import ConfigError, DataError
from tsal_dist.inference.pictures import IMAGE_SUFFIXES, Picture, Source, frame_rate
from tsal_dist.inference.prediction import Found
from tsal_dist.inference.video_file import ENDINGS, VideoFile, open_video_file
from tsal_dist.outputs import check_file, check_folder, written_whole

WRITABLE_IMAGES = (".png", ".jpg", ".jpeg")
SURE_BGR, UNSURE_BGR = np.array([90, 255, 90.0]), np.array([60, 60, 255.0])
SURE_SCORE = 0.6
"""Peak from which a point is drawn in full green where no expected error is known; towards 0 it turns red."""
MOST_ERROR = 0.15
"""Points whose expected error is a larger share of the subject's size are not drawn, nor taken for labels."""


class Overlay(Protocol):
    """Takes frames in order."""

    def add(self, picture: Picture, found: Sequence[Found]) -> None:
        """The subjects of a picture."""
        ...


class NoOverlay:
    """Nobody asked for pictures."""

    def add(self, picture: Picture, found: Sequence[Found]) -> None:
        """Draws nothing."""


class VideoOverlay:
    """A video of the first frame's size, at the source's times."""

    def __init__(self, file: VideoFile, most_error: float, numbered: bool) -> None:
        self._file, self._most_error, self._numbered = file, most_error, numbered

    def add(self, picture: Picture, found: Sequence[Found]) -> None:
        self._file.add(draw_all(picture.image_HWC, found, self._most_error, self._numbered), picture.pts_ms)


class ImageOverlay:
    """One image, or one in a folder."""

    def __init__(self, path: Path, most_error: float, numbered: bool) -> None:
        self._path, self._most_error, self._numbered = path, most_error, numbered

    def add(self, picture: Picture, found: Sequence[Found]) -> None:
        with written_whole(self._path) as aside:
            if not cv2.imwrite(
                str(aside), draw_all(picture.image_HWC, found, self._most_error, self._numbered)
            ):
                raise DataError(
                    f"{self._path} cannot be written as an image. Name one that ends in .png or .jpg."
                )


def plan_overlays(out: str | None, sources: list[Source]) -> list[Path | None]:
    """Where the overlay of each source goes: nowhere without `out`, to it for a single source, else into the folder
    `out`. Checked so that writing can begin."""
    if out is None:
        return [None] * len(sources)
    inputs = [source.path for source in sources if source.kind != "live"]
    if len(sources) == 1 and Path(out).suffix:
        endings = WRITABLE_IMAGES if sources[0].kind == "image" else ENDINGS
        return [check_file("--out", out, endings, inputs)]
    if Path(out).suffix.lower() in (*ENDINGS, *IMAGE_SUFFIXES):
        raise ConfigError(f"--out is {out!r}, one file for {len(sources)} inputs. Name a folder.")
    folder = check_folder("--out", out, inputs)
    paths = [check_file("--out", folder / name, inputs=inputs) for name in _names(sources)]
    twice = next((path for path in paths if paths.count(path) > 1), None)
    if twice is not None:
        raise ConfigError(f"Two inputs would both be drawn into {twice}. Draw them one after the other.")
    return list(paths)


def _names(sources: list[Source]) -> Iterator[Path]:
    """The sources' own names, below the deepest folder that holds them all."""
    folders = [os.path.abspath(os.path.dirname(source.path)) for source in sources if source.kind != "live"]
    root = os.path.commonpath(folders) if folders else ""
    for source in sources:
        path = Path(source.path)
        if source.kind == "live":
            yield Path("live.mp4")
            continue
        below = Path(os.path.relpath(os.path.abspath(path), root))
        writable = source.kind == "image" and path.suffix.lower() in WRITABLE_IMAGES
        yield below if writable else below.with_suffix(".png" if source.kind == "image" else ".mp4")


@contextmanager
def open_overlay(
    path: Path | None,
    source: Source,
    most_error: float = MOST_ERROR,
    sound: bool = True,
    numbered: bool = False,
) -> Iterator[Overlay]:
    """The overlay of one source, put in place when all of it is drawn; with the source's sound where that can be.
    `numbered`: subjects have their numbers beside them."""
    if path is None:
        yield NoOverlay()
    elif source.kind == "image":
        yield ImageOverlay(path, most_error, numbered)
    else:
        voice = Path(source.place) if sound and source.kind == "video" else None
        with written_whole(path) as aside, open_video_file(aside, frame_rate(source), voice) as file:
            yield VideoOverlay(file, most_error, numbered)


def shown_points(found: Found, most_error: float) -> NDArray[np.bool_]:
    """Which of the points K are good enough to be drawn and to be labels; all where no error is known."""
    share_K = found.expected_px_K / found.size_px
    return np.isnan(share_K) | (share_K <= most_error) if found.found else np.zeros(len(share_K), np.bool_)


def draw_all(
    image_HWC: NDArray[np.uint8], found: Sequence[Found], most_error: float, numbered: bool
) -> NDArray[np.uint8]:
    """A copy with every subject's dots, and with its number in a box of its colour where they are to be told apart."""
    drawn = image_HWC
    for one in found:
        drawn = draw(drawn, one, most_error)
        if numbered and one.found:
            _draw_number(drawn, one)
    return drawn if drawn is not image_HWC else image_HWC.copy()


def _draw_number(drawn: NDArray[np.uint8], found: Found) -> None:
    """Above the subject, or at the picture's edge where it touches that."""
    low_2, high_2 = found.points_K2.min(0), found.points_K2.max(0)
    thick = max(1, round(found.size_px / 120))
    scale = max(0.4, found.size_px / 240)
    color = hue(found.subject)
    cv2.rectangle(
        drawn, np.rint(low_2).astype(int).tolist(), np.rint(high_2).astype(int).tolist(), color, thick
    )
    (_, height), below = cv2.getTextSize(str(found.subject), cv2.FONT_HERSHEY_SIMPLEX, scale, thick + 1)
    at = (max(0, round(float(low_2[0]))), max(height + 1, round(float(low_2[1])) - below))
    cv2.putText(drawn, str(found.subject), at, cv2.FONT_HERSHEY_SIMPLEX, scale, color, thick + 1, cv2.LINE_AA)


def hue(number: int) -> list[int]:
    """A bright BGR colour; neighbouring numbers are far apart on the circle of hues, as its golden section."""
    color_113 = cv2.cvtColor(
        np.array([[[round(180 * 0.618 * number) % 180, 190, 255]]], np.uint8), cv2.COLOR_HSV2BGR
    )
    return list(map(int, color_113[0, 0]))


def draw(image_HWC: NDArray[np.uint8], found: Found, most_error: float = MOST_ERROR) -> NDArray[np.uint8]:
    """A copy with dots, from red where a point is hardly good enough to green where the detector is sure."""
    if not found.found:
        return image_HWC.copy()
    share_K = found.expected_px_K / found.size_px / most_error
    sure_K = np.where(np.isnan(share_K), found.score_K / SURE_SCORE, 1 - share_K)
    shown_K = shown_points(found, most_error)
    joined_HWC = draw_skeleton(image_HWC, found.points_K2, shown_K, found.layout.skeleton)
    return draw_points(joined_HWC, found.points_K2, sure_K, shown_K)


def draw_skeleton(
    image_HWC: NDArray[np.uint8],
    points_K2: NDArray[np.floating],
    shown_K: NDArray[np.bool_],
    skeleton: Sequence[tuple[int, int]],
) -> NDArray[np.uint8]:
    """A copy with a line, each of a colour of its own, between points that are both shown."""
    drawn = image_HWC.copy()
    for number, (a, b) in enumerate(skeleton):
        if shown_K[a] and shown_K[b]:
            color_BGR = cv2.cvtColor(
                np.array([[[180 * number // len(skeleton), 170, 255]]], np.uint8), cv2.COLOR_HSV2BGR
            )[0, 0]
            stroke(drawn, points_K2[[a, b]], color_BGR, 1)
    return drawn


def draw_points(
    image_HWC: NDArray[np.uint8],
    points_K2: NDArray[np.floating],
    sure_K: NDArray[np.floating],
    shown_K: NDArray[np.bool_],
) -> NDArray[np.uint8]:
    """A copy with a dot for each point that is shown: red where `sure_K` is 0, green where it is 1."""
    drawn = image_HWC.copy()
    radius = max(1.0, float(np.ptp(points_K2, axis=0).max()) / 110)
    for point_2, sure, shown in zip(points_K2, np.clip(sure_K, 0, 1), shown_K, strict=True):
        if shown:
            disc(drawn, point_2, (radius, radius), sure * SURE_BGR + (1 - sure) * UNSURE_BGR)
    return drawn
