"""The frames of pieces, in order: forward only, as seeks in a video are not exact and headers lie."""

import os
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from tsal_dist.pack.frame_count import open_video
from tsal_dist.pack.inputs import Input
from tsal_dist.pack.packing_plan import Piece
from tsal_dist.pack.picture_file import load_image
from tsal_dist.shards.frames import OK

Image = NDArray[np.uint8]


@dataclass(frozen=True)
class Decoded:
    """One frame, or the reason why there is none."""

    frame: int
    image_HWC: Any = None
    """BGR. The next frame but one of a video is decoded into the same memory: a fresh picture is paid for with hundreds
    of page faults."""
    pts_ms: float = 0.0
    status: str = OK
    reason: str = ""


class Decoder:
    """Keeps the last video open, so that a video cut over several shards is decoded once."""

    def __init__(self, threads: int = 1) -> None:
        self._threads = threads
        self._video: cv2.VideoCapture | None = None
        self._path = ""
        self._next = 0
        self._images: deque[Any] = deque([None, None])
        """Of the last two frames of a video, older first."""

    def frames_ahead(self, pieces: Iterable[Piece], stride: int) -> Iterator[tuple[Piece, Decoded]]:
        """Every frame of the pieces, each with its piece and to be used before the next is asked for. A thread of its own
        decodes one while the one before is used."""
        frames = ((piece, decoded) for piece in pieces for decoded in self.frames(piece, stride))
        with ThreadPoolExecutor(1, "decode") as thread:
            coming = thread.submit(next, frames, None)
            while found := coming.result():
                coming = thread.submit(next, frames, None)
                yield found

    def frames(self, piece: Piece, stride: int) -> Iterator[Decoded]:
        """Every frame of the piece, to be used before the next but one is asked for; where a video ends early, one record tells for all that are missing."""
        if piece.source.kind == "video":
            return self._video_frames(piece, stride)
        return _images(piece)

    def close(self) -> None:
        if self._video is not None:
            self._video.release()
            self._video = None

    def _open(self, path: str, frame: int) -> cv2.VideoCapture:
        """The video with nothing decoded past `frame`."""
        if self._video is None or self._path != path or self._next > frame:
            self.close()
            self._video, self._path, self._next = open_video(path, self._threads), path, 0
        return self._video

    def _video_frames(self, piece: Piece, stride: int) -> Iterator[Decoded]:
        video = self._open(piece.source.path, piece.frames[0])
        frame, planned = piece.frames[0], iter(piece.frames)
        for frame in planned:
            if not self._reach(video, frame):
                missing = sum(wanted >= frame for wanted in piece.frames)
                reason = f"the video ends after {self._next} frames, {missing} of this shard are missing"
                yield Decoded(frame, status="truncated", reason=reason)
                return
            yield self._retrieve(video, frame)
        while piece.to_end and self._reach(video, frame + stride):
            frame += stride
            yield self._retrieve(video, frame)

    def _reach(self, video: cv2.VideoCapture, frame: int) -> bool:
        while self._next <= frame:
            if not video.grab():
                return False
            self._next += 1
        return True

    def _retrieve(self, video: cv2.VideoCapture, frame: int) -> Decoded:
        pts_ms = round(video.get(cv2.CAP_PROP_POS_MSEC), 3)
        found, image_HWC = video.retrieve(self._images[0])
        if not found:
            return Decoded(frame, status="unreadable", reason="the decoder gave no picture for this frame")
        self._images[0] = image_HWC
        self._images.rotate()
        return Decoded(frame, image_HWC, pts_ms)


def _images(piece: Piece) -> Iterator[Decoded]:
    """Stills and numbered images; several faces of one still share its picture."""
    path, image_HWC = "", None
    for frame in piece.frames:
        wanted = _file_of(piece.source, frame)
        if wanted != path:
            path, image_HWC = wanted, load_image(wanted)
        if image_HWC is None:
            yield Decoded(frame, status="unreadable", reason=f"{os.path.basename(path)} is not a whole image")
        else:
            yield Decoded(frame, image_HWC)


def _file_of(source: Input, frame: int) -> str:
    return source.labels[frame].file if source.kind == "sequence" else source.path
