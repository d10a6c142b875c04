"""Fifteen videos as people have them: of every shape and rate, with two people and with none, dark, cut off, broken."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from tests.pack.footage import cut, rotate_quarter
from tsal_dist.synthetic.clip import ClipSpec, Rendered, render_clip

SIZE_PX, FRAMES, RATE = 160, 30, 25
Frames = NDArray[np.uint8]
Points = NDArray[np.float32]


@dataclass(frozen=True)
class Truth:
    """What a video shows."""

    path: Path
    points_TK2: Points
    """Of the one person, or of the first of two, in pixels of the picture as a player shows it."""
    there_T: NDArray[np.bool_]
    """Whether somebody is there, by frame; of what can be decoded."""
    second_TK2: Points | None = None
    """Of the other one, where there are two."""


def make_mixed_videos(folder: Path, seed: int) -> dict[str, Truth]:
    """All of them, by name; other seeds show other people in other places."""
    folder.mkdir(parents=True)
    return {truth.path.name: truth for truth in _make(folder, seed)}


def _make(folder: Path, seed: int) -> Iterator[Truth]:
    def film(clip: int, frames: int = FRAMES, **more: tuple[int, int]) -> Rendered:
        return render_clip(ClipSpec(seed, clip, frames, SIZE_PX, **more))

    yield _save(folder / "plain.mp4", film(0))
    yield _rotated(folder / "rotated.mp4", film(1))
    yield _save(folder / "uneven.mp4", film(2), times_s=_uneven(FRAMES))
    yield _save(folder / "fast.mp4", film(3, 2 * FRAMES), rate=60)
    yield _upright(folder / "upright.mp4", film(4))
    yield _two(folder / "two.mp4", film(5), film(6))
    yield _save(folder / "leaves.mp4", film(7, 2 * FRAMES, away=(20, 44)))
    yield _save(folder / "nobody.mp4", film(8, 2 * FRAMES, away=(0, 2 * FRAMES)))
    yield _cut_off(folder / "cut_off.avi", film(9))
    yield _broken(folder / "broken.mp4", film(10))
    yield _changed(folder / "dark.mp4", film(11), lambda frames_T: (frames_T * 0.2).astype(np.uint8))
    yield _black(folder / "black.mp4", film(12, 2 * FRAMES), range(20, 44))
    yield _tiny(folder / "tiny.mp4", film(13))
    yield _changed(
        folder / "grey.mp4", film(14), lambda frames_T: frames_T.mean(-1, keepdims=True).repeat(3, -1)
    )
    yield _save(folder / "one_frame.mp4", film(15, 1))


STEADY = {"x264-params": "mbtree=0"}


def write_film(path: Path, frames_THWC: Frames, rate: int = RATE, times_s: list[float] | None = None) -> None:
    """H.264 in .mp4, Motion JPEG in .avi; `times_s` says when each frame is shown."""
    codec, form = ("mjpeg", "yuvj420p") if path.suffix == ".avi" else ("libx264", "yuv420p")
    with av.open(str(path), "w") as container:
        # With its tree of macroblocks x264 reads memory that nobody has written, and gives another film each time; with
        # another number of threads, too.
        stream = container.add_stream(codec, rate=rate, options=STEADY if codec == "libx264" else {})
        stream.codec_context.thread_count = 1
        stream.height, stream.width = frames_THWC.shape[1:3]
        stream.pix_fmt = form
        ticks = 1000 if times_s else rate
        stream.codec_context.time_base = Fraction(1, ticks)
        for number, frame_HWC in enumerate(frames_THWC):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame_HWC), format="bgr24")
            frame.pts = round(ticks * times_s[number]) if times_s else number
            frame.time_base = Fraction(1, ticks)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def _save(path: Path, clip: Rendered, rate: int = RATE, times_s: list[float] | None = None) -> Truth:
    write_film(path, clip.frames, rate, times_s)
    return Truth(path, clip.points, clip.visible.any(1))


def _uneven(frames: int) -> list[float]:
    """A phone's camera: 30 a second in light, half as many where it is dark, and a stutter."""
    gaps_s = [1 / 30] * (frames // 2) + [1 / 15] * (frames - frames // 2 - 1)
    gaps_s[frames // 4] = 0.2
    return [0.0, *np.cumsum(gaps_s).tolist()]


def _rotated(path: Path, clip: Rendered) -> Truth:
    """Filmed with the phone on its side; the file asks players to turn it upright."""
    lying = np.rot90(clip.frames, 1, axes=(1, 2))
    write_film(path, np.ascontiguousarray(lying))
    rotate_quarter(path)
    return Truth(path, clip.points, clip.visible.any(1))


def _upright(path: Path, clip: Rendered) -> Truth:
    """Higher than wide, around the face."""
    width = SIZE_PX * 3 // 4
    left = int(np.clip(clip.points[..., 0].mean() - width / 2, 0, SIZE_PX - width))
    write_film(path, clip.frames[:, :, left : left + width])
    return Truth(path, clip.points - np.float32([left, 0]), clip.visible.any(1))


def _two(path: Path, first: Rendered, second: Rendered) -> Truth:
    write_film(path, np.concatenate([first.frames, second.frames], 2))
    return Truth(
        path, first.points, np.ones(len(first.frames), bool), second.points + np.float32([SIZE_PX, 0])
    )


def _cut_off(path: Path, clip: Rendered) -> Truth:
    """The card was full: the last third is missing."""
    write_film(path, clip.frames)
    cut(path, 0.66)
    capture, shown = cv2.VideoCapture(str(path)), 0
    while capture.read()[0]:
        shown += 1
    capture.release()
    assert 5 < shown < len(clip.frames)
    return Truth(path, clip.points[:shown], np.ones(shown, bool))


def _broken(path: Path, clip: Rendered) -> Truth:
    """A copy that broke off before the index, which an MP4 has at its end."""
    write_film(path, clip.frames)
    cut(path, 0.5)
    return Truth(path, clip.points[:0], np.zeros(0, bool))


def _changed(path: Path, clip: Rendered, change: Callable[[Frames], Frames]) -> Truth:
    write_film(path, change(clip.frames).astype(np.uint8))
    return Truth(path, clip.points, clip.visible.any(1))


def _black(path: Path, clip: Rendered, black: range) -> Truth:
    """The lens is covered for a while."""
    frames_THWC = clip.frames.copy()
    frames_THWC[list(black)] = 0
    write_film(path, frames_THWC)
    return Truth(path, clip.points, ~np.isin(np.arange(len(frames_THWC)), black))


def _tiny(path: Path, clip: Rendered) -> Truth:
    side = 48
    small = [cv2.resize(frame, (side, side), interpolation=cv2.INTER_AREA) for frame in clip.frames]
    write_film(path, np.stack(small))
    points_TK2 = (clip.points + 0.5) * side / SIZE_PX - 0.5
    return Truth(path, points_TK2.astype(np.float32), np.ones(len(small), bool))
