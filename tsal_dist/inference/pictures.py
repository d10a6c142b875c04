"""What landmarks are sought on: videos, images, folders of either, a camera, a stream; read frame by frame.

A frame is counted from 0 as it is decoded, forward only, as the packer counts: seeks in a video are not exact.
"""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from tsal_dist.errors import ConfigError, DataError
from tsal_dist.pack.inputs import VIDEO_EXTENSIONS, refuse_no_text
from tsal_dist.pack.picture_file import load_image

Image = NDArray[np.uint8]

IMAGE_SUFFIXES = frozenset(".png .jpg .jpeg .bmp .webp .tif .tiff".split())
STREAMS = ("rtsp://", "rtmp://", "http://", "https://", "udp://")
USUAL_RATE = 25.0


@dataclass(frozen=True)
class Picture:
    """One frame to look at."""

    path: str
    frame: int | None
    """Counted from 0; None for an image that belongs to no video."""
    pts_ms: float
    image_HWC: Image
    """BGR, as OpenCV decodes."""


@dataclass(frozen=True)
class Source:
    """One thing to read."""

    kind: Literal["video", "image", "live"]
    path: str
    """A file, the address of a stream, or the number of a camera."""

    @property
    def place(self) -> str:
        """What a decoder opens. The name of a file alone, such as 2024-05-01T12:30:00.mp4, it would take for an address."""
        return self.path if self.kind == "live" else os.path.abspath(self.path)


@dataclass(frozen=True)
class FrameRange:
    """Frames of a video to look at, as people count: from 1, both ends included; 0 is no end."""

    first: int = 1
    last: int = 0

    @staticmethod
    def parse(words: str) -> "FrameRange":
        """From "100:250", "100:" or ":250"."""
        first, colon, last = words.partition(":")
        numbers = [first or "1", last or "0"]
        if not colon or not all(word.isascii() and word.isdigit() for word in numbers):
            raise ConfigError(
                f"--frames is {words!r}; it must be FIRST:LAST, such as 100:250, counted from 1."
            )
        found = FrameRange(int(numbers[0]), int(numbers[1]))
        if found.first < 1 or (last and found.last < found.first):
            raise ConfigError(
                f"--frames is {words!r}; frames count from 1, and the last is not before the first."
            )
        return found

    def holds(self, frame: int) -> bool:
        return frame + 1 >= self.first and not self.over(frame)

    def over(self, frame: int) -> bool:
        """Whether no frame from this one on is wanted."""
        return bool(self.last) and frame + 1 > self.last


def find_sources(names: Sequence[str]) -> list[Source]:
    """What the names stand for; a folder for its images and videos, in the order of their names."""
    found = [source for name in names for source in _sources_of(name)]
    paths = [source.path for source in found]
    twice = next((path for path in paths if paths.count(path) > 1), None)
    if twice is not None:
        raise ConfigError(f"{twice} is named twice. Name each input once.")
    for source in found:
        if source.kind != "live":
            refuse_no_text("--video", source.path)
    return found


def _sources_of(name: str) -> Iterator[Source]:
    path = Path(name)
    if name.isdigit() or name.startswith(STREAMS):
        yield Source("live", name)
    elif path.is_dir():
        files = [each for each in sorted(path.iterdir()) if not each.name.startswith(".")]
        inside = [source for each in files if (source := _file(each))]
        if not inside:
            raise DataError(
                f"{path} holds no images and no videos. Name a video, an image, or a folder of them."
            )
        yield from inside
    elif not path.exists():
        raise ConfigError(f"There is no {path}. Name a video, an image, a folder, or the number of a camera.")
    else:
        yield _file(path) or Source("video", name)


def _file(path: Path) -> Source | None:
    suffix = path.suffix.lower()
    if suffix in IMAGE_SUFFIXES:
        return Source("image", str(path))
    return Source("video", str(path)) if suffix in VIDEO_EXTENSIONS else None


def read_pictures(source: Source, frames: FrameRange = FrameRange()) -> Iterator[Picture]:
    """Every wanted frame in order. DataError where nothing can be decoded."""
    if source.kind == "image":
        image = load_image(source.place)
        if image is None:
            raise _unreadable(source, "cannot be decoded as an image. Check that it is whole.")
        yield Picture(source.path, None, 0.0, image)
    else:
        yield from _read_video(source, frames)


def _unreadable(source: Source, broken: str) -> DataError:
    """To a decoder a file that this user may not read is like a broken one, which would be looked into in vain."""
    try:
        with open(source.place, "rb"):
            return DataError(f"{source.path} {broken}")
    except OSError as error:
        return DataError(
            f"{source.path} cannot be read: {error.strerror}. Check that it is there, and whose it is."
        )


def count_pictures(source: Source, frames: FrameRange = FrameRange()) -> int:
    """How many pictures there will be, for a progress bar; 0 where that is not known."""
    if source.kind != "video":
        return int(source.kind == "image")
    capture = cv2.VideoCapture(source.place)
    count = int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
    capture.release()
    return max(0, min(count, frames.last or count) - frames.first + 1)


def frame_rate(source: Source) -> float:
    """Frames per second of a video; USUAL_RATE where it does not say."""
    if source.kind != "video":
        return USUAL_RATE
    capture = cv2.VideoCapture(source.place)
    rate = float(capture.get(cv2.CAP_PROP_FPS))
    capture.release()
    return rate if 1 <= rate <= 1000 else USUAL_RATE


def _read_video(source: Source, frames: FrameRange) -> Iterator[Picture]:
    live = source.kind == "live"
    capture = cv2.VideoCapture(int(source.path) if source.path.isdigit() and live else source.place)
    number = shown = 0
    try:
        while not frames.over(number) and capture.grab():
            if frames.holds(number):
                pts_ms = float(capture.get(cv2.CAP_PROP_POS_MSEC))
                fine, image = capture.retrieve()
                if not fine:
                    break
                shown += 1
                yield Picture(source.path, number, pts_ms, np.asarray(image, np.uint8))
            number += 1
    finally:
        capture.release()
    if not number and live:
        raise DataError(
            f"The camera or stream {source.path} gives no picture. Check that it is there and not in use."
        )
    if not number:
        raise _unreadable(source, "holds no frame that OpenCV can decode. Check it with another player.")
    if not shown:
        raise ConfigError(
            f"{source.path} has {number} frames and --frames begins at {frames.first}. Begin earlier."
        )
