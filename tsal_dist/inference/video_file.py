"""A video written frame by frame: H.264 with the source's sound where PyAV is installed, else what OpenCV can."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from fractions import Fraction
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from tsal_dist.errors import DataError

log = logging.getLogger(__name__)

Image = NDArray[np.uint8]

ENDINGS = (".mp4", ".avi")
TICKS_PER_S = 90_000
SOUND_PER_S = 48_000
QUALITY = "20"
"""x264's constant rate factor: hard to tell from the source."""


class VideoFile(Protocol):
    """Takes frames in order."""

    def add(self, image_HWC: Image, pts_ms: float) -> None: ...


@contextmanager
def open_video_file(path: Path, frames_per_s: float, voice: Path | None = None) -> Iterator[VideoFile]:
    """A new video. Players in browsers take H.264, which needs PyAV (the extra `video`), as the sound of `voice` does."""
    path = path.absolute()  # a name alone that has a colon would be taken for an address
    av = _pyav() if path.suffix.lower() == ".mp4" else None
    file: _H264 | _ByOpenCV = _H264(av, path, frames_per_s, voice) if av else _ByOpenCV(path, frames_per_s)
    try:
        yield file
        file.finish()
    finally:
        file.close()


def _pyav() -> ModuleType | None:
    try:
        import av
    except ImportError:
        log.warning(
            "Overlays are written as MPEG-4 without sound, which browsers do not play. "
            "For H.264 with sound: pip install 'tsal_dist[video]'"
        )
        return None
    return av


class _ByOpenCV:
    """MPEG-4 in .mp4, Motion JPEG in .avi; at a constant rate."""

    def __init__(self, path: Path, frames_per_s: float) -> None:
        self._path, self._rate = path, frames_per_s
        self._writer: Any = None

    def add(self, image_HWC: Image, pts_ms: float) -> None:
        if self._writer is None:
            codec = "MJPG" if self._path.suffix.lower() == ".avi" else "mp4v"
            height, width = image_HWC.shape[:2]
            self._writer = cv2.VideoWriter(
                str(self._path), cv2.VideoWriter.fourcc(*codec), self._rate, (width, height)
            )
            if not self._writer.isOpened():
                raise DataError(
                    f"OpenCV cannot write the video {self._path}. Name another place, or an .avi."
                )
        self._writer.write(image_HWC)

    def finish(self) -> None:
        """Nothing is held back."""

    def close(self) -> None:
        if self._writer is not None:
            self._writer.release()


def _open_voice(av: ModuleType, path: Path) -> Any:
    """The source's own file; None where it cannot be opened, which whoever reads its pictures will tell."""
    try:
        return av.open(str(path))
    except av.error.FFmpegError:
        return None


class _H264:
    """H.264 and AAC in .mp4, each frame at its own time."""

    def __init__(self, av: ModuleType, path: Path, frames_per_s: float, voice: Path | None) -> None:
        self._av, self._rate = av, Fraction(frames_per_s).limit_denominator(1001)
        self._container: Any = av.open(str(path), "w", container_options={"movflags": "faststart"})
        self._picture: Any = None
        self._voice: Any = _open_voice(av, voice) if voice else None
        self._sound: Any = None
        self._last_tick = -1

    def add(self, image_HWC: Image, pts_ms: float) -> None:
        if self._picture is None:
            self._begin(*image_HWC.shape[:2])
        bottom = self._picture.height - image_HWC.shape[0]
        right = self._picture.width - image_HWC.shape[1]
        if bottom or right:
            edge = cv2.BORDER_REPLICATE
            image_HWC = np.asarray(cv2.copyMakeBorder(image_HWC, 0, bottom, 0, right, edge), np.uint8)
        frame = self._av.VideoFrame.from_ndarray(image_HWC, format="bgr24")
        tick = round(pts_ms * TICKS_PER_S / 1000)
        if tick <= self._last_tick:  # a source that does not say its times, or says one twice
            tick = self._last_tick + round(TICKS_PER_S / self._rate)
        frame.pts, frame.time_base, self._last_tick = tick, Fraction(1, TICKS_PER_S), tick
        self._container.mux(self._picture.encode(frame))

    def _begin(self, height: int, width: int) -> None:
        """All streams, before the first packet of any."""
        self._picture = self._container.add_stream("libx264", rate=self._rate, options={"crf": QUALITY})
        self._picture.pix_fmt = "yuv420p"
        # The format halves its colours, and an odd side has no half.
        self._picture.height, self._picture.width = height + height % 2, width + width % 2
        self._picture.codec_context.time_base = Fraction(1, TICKS_PER_S)
        if self._voice and self._voice.streams.audio:
            channels = self._voice.streams.audio[0].codec_context.layout.nb_channels
            self._sound = self._container.add_stream("aac", rate=SOUND_PER_S)
            self._sound.codec_context.layout = "mono" if channels == 1 else "stereo"

    def finish(self) -> None:
        """The last frames, and the sound."""
        if self._picture is not None:
            self._container.mux(self._picture.encode(None))
        if self._sound is not None:
            heard = self._voice.streams.audio[0]
            form = self._av.AudioResampler("fltp", self._sound.codec_context.layout, SOUND_PER_S)
            # A source that was cut off ends in the middle of a packet: what was heard until then is kept.
            with suppress(self._av.error.FFmpegError):
                for piece in self._voice.decode(heard):
                    for frame in form.resample(piece):
                        self._container.mux(self._sound.encode(frame))
            self._container.mux(self._sound.encode(None))

    def close(self) -> None:
        self._container.close()
        if self._voice:
            self._voice.close()
