"""A data set of synthetic clips on disk, in the layout of 300VW and the list format of SBR and TSAL.

    videos/<id>/vid.avi              Motion JPEG, written by OpenCV itself
    videos/<id>/annot/<frame>.pts    68 points of every frame, labelled in the lists or not; frames count from 1
    train.lst, test.lst              one line per frame: `video#frame annotation|None x1 y1 x2 y2`
    synthetic.json                   what was asked for
    contact.png                      a frame of many clips, with and without its points

A list's paths are relative to the list's own folder. No video, hence no person, is in both lists. The box is
that of an imagined detector: the points' box, moved and scaled by a few percent, so that it holds no answer.
"""

import json
import math
import multiprocessing
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from tsal_dist.canvas import Picture, disc
from tsal_dist.errors import ConfigError, DataError
from tsal_dist.run_dir import write_whole
from tsal_dist.synthetic.clip import ClipSpec, Rendered, render_clip

FORMAT = 1
"""Raised when the same options begin to give other bytes."""
_TILE_PX = 160
_SHEET_CLIPS = 24


@dataclass(frozen=True)
class DatasetSpec:
    """What decides every byte of a data set."""

    videos: int = 40
    frames: int = 48
    size_px: int = 160
    seed: int = 0
    labelled: float = 0.05
    """Share of the train list's frames that keep their annotation; the test list keeps all."""
    test_share: float = 0.2
    """Share of the videos in the test list."""
    fps: float = 25.0
    quality: int = 92
    """JPEG quality of the video's frames."""

    def __post_init__(self) -> None:
        rules = (
            ("videos", self.videos, self.videos >= 1, "at least 1"),
            ("frames", self.frames, self.frames >= 1, "at least 1"),
            ("size", self.size_px, self.size_px in range(48, 2049, 2), "an even number from 48 to 2048"),
            ("seed", self.seed, self.seed >= 0, "0 or more"),
            ("labelled", self.labelled, 0.0 <= self.labelled <= 1.0, "from 0 to 1"),
            ("test-share", self.test_share, 0.0 <= self.test_share <= 1.0, "from 0 to 1"),
            ("fps", self.fps, 0.0 < self.fps <= 1000.0, "above 0 and at most 1000"),
            ("quality", self.quality, self.quality in range(1, 101), "from 1 to 100"),
        )
        for name, value, holds, rule in rules:
            if not holds:
                raise ConfigError(f"{name} is {value}; it must be {rule}.")

    @property
    def test_videos(self) -> int:
        """Videos in the test list: none or all only when asked for."""
        count = math.floor(self.test_share * self.videos + 0.5)
        if 0.0 < self.test_share < 1.0 and self.videos > 1:
            count = min(max(count, 1), self.videos - 1)
        return count

    @property
    def labelled_frames(self) -> int:
        """Labelled frames in the train list: the nearest whole number, and one where any were asked for."""
        count = math.floor(self.labelled * (self.videos - self.test_videos) * self.frames + 0.5)
        return max(count, 1) if self.labelled > 0 and self.videos > self.test_videos else count


def video_name(clip: int) -> str:
    return f"{clip + 1:04d}"


def write_dataset(
    out: Path,
    spec: DatasetSpec,
    workers: int = 1,
    clean: bool = False,
    on_clip: Callable[[int], None] | None = None,
) -> None:
    """Render and write everything. The same spec writes the same bytes, whatever the number of workers.

    on_clip is told after every clip how many are done. `clean` empties a folder that an earlier call wrote.
    """
    if workers < 1:
        raise ConfigError(f"workers is {workers}; it must be at least 1.")
    _prepare(out, clean)
    boxes: list[NDArray[np.float64]] = []
    tiles: list[Picture] = []
    work = partial(write_clip, out, spec)
    clips = range(spec.videos)
    if workers == 1:
        results = map(work, clips)
        _collect(results, boxes, tiles, on_clip)
    else:
        # spawn: a forked OpenCV may inherit a lock that nobody will open
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(min(workers, spec.videos), mp_context=context) as pool:
            _collect(pool.map(work, clips), boxes, tiles, on_clip)
    _write_lists(out, spec, boxes)
    _write_contact(out, tiles)
    record = {"format": FORMAT, **asdict(spec)}
    # last: a folder with this file is a whole data set
    write_whole(out / "synthetic.json", (json.dumps(record, indent=2) + "\n").encode())


def _prepare(out: Path, clean: bool) -> None:
    if out.exists() and not out.is_dir():
        raise ConfigError(f"{out} is a file; name a folder for --out.")
    if out.is_dir() and any(out.iterdir()):
        # a folder that is not ours is never emptied, --clean or not
        ours = {"videos", "train.lst", "test.lst", "contact.png", "synthetic.json"}
        foreign = sorted(path.name for path in out.iterdir() if path.name not in ours)
        if foreign or not clean:
            remedy = "Name another folder, or pass --clean to replace the synthetic data in it."
            if foreign:
                remedy = f"It holds {foreign[0]!r}, which is not synthetic data: name another folder."
            raise ConfigError(f"{out} is not empty. {remedy}")
        for name in sorted(ours, reverse=True):
            path = out / name
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
    out.mkdir(parents=True, exist_ok=True)


def _collect(
    results: Iterator[tuple[NDArray[np.float64], Picture | None]],
    boxes: list[NDArray[np.float64]],
    tiles: list[Picture],
    on_clip: Callable[[int], None] | None,
) -> None:
    for done, (box, tile) in enumerate(results, 1):
        boxes.append(box)
        if tile is not None:
            tiles.append(tile)
        if on_clip:
            on_clip(done)


def write_clip(out: Path, spec: DatasetSpec, clip: int) -> tuple[NDArray[np.float64], Picture | None]:
    """Write one video and its annotations; return its frames' boxes, T x 4, and its tile of the contact sheet."""
    rendered = render_clip(ClipSpec(spec.seed, clip, spec.frames, spec.size_px))
    folder = out / "videos" / video_name(clip)
    (folder / "annot").mkdir(parents=True)
    _write_video(folder / "vid.avi", rendered.frames, spec)
    for frame, points in enumerate(rendered.points, 1):
        (folder / "annot" / f"{frame:06d}.pts").write_text(encode_pts(points))
    tile = _tile(rendered) if clip < _SHEET_CLIPS else None
    return _boxes(rendered.points, np.random.default_rng([spec.seed, clip, 1])), tile


def _write_video(path: Path, frames: NDArray[np.uint8], spec: DatasetSpec) -> None:
    # OpenCV's own writer: no other library's version, and no date, gets into the file
    fourcc = cv2.VideoWriter.fourcc(*"MJPG")
    writer = cv2.VideoWriter(str(path), cv2.CAP_OPENCV_MJPEG, fourcc, spec.fps, (spec.size_px, spec.size_px))
    if not writer.isOpened():
        raise DataError(f"OpenCV cannot write {path} as Motion JPEG; its build lacks that writer.")
    writer.set(cv2.VIDEOWRITER_PROP_QUALITY, spec.quality)
    for frame in frames:
        writer.write(frame)
    writer.release()


def encode_pts(points: NDArray[np.float32]) -> str:
    """Points as the text of a 300W `.pts` file, which counts pixels from 1."""
    lines = "".join(f"{x:.3f} {y:.3f}\n" for x, y in points + 1)
    return f"version: 1\nn_points: {len(points)}\n{{\n{lines}}}\n"


def _boxes(points: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float64]:
    low, high = points.min(1).astype(float), points.max(1).astype(float)
    side = high - low
    # a detector has its own taste on a face, and trembles from frame to frame
    taste, tremble = rng.normal(0, 0.025, (1, 4)), rng.normal(0, 0.008, (len(points), 4))
    moved = np.hstack([side, side]) * np.clip(taste + tremble, -0.08, 0.08)
    return np.asarray(np.hstack([low, high]) + moved)


def _write_lists(out: Path, spec: DatasetSpec, boxes: list[NDArray[np.float64]]) -> None:
    rng = np.random.default_rng([spec.seed, 2**31])
    order = rng.permutation(spec.videos)
    test = set(order[: spec.test_videos].tolist())
    train = [clip for clip in range(spec.videos) if clip not in test]
    keep = np.zeros(len(train) * spec.frames, np.bool_)
    keep[rng.permutation(len(keep))[: spec.labelled_frames]] = True
    everything = np.ones(len(test) * spec.frames, np.bool_)
    for name, clips, labelled in (("train", train, keep), ("test", sorted(test), everything)):
        lines = []
        for at, (clip, frame) in enumerate((c, f) for c in clips for f in range(spec.frames)):
            folder = f"videos/{video_name(clip)}"
            annotation = f"{folder}/annot/{frame + 1:06d}.pts" if labelled[at] else "None"
            box = " ".join(f"{v:.2f}" for v in boxes[clip][frame])
            lines.append(f"{folder}/vid.avi#{frame + 1:06d} {annotation} {box}\n")
        write_whole(out / f"{name}.lst", "".join(lines).encode())


def _tile(rendered: Rendered) -> Picture:
    """The middle frame, plain and beside it with its points: green is seen, red is hidden."""
    middle = len(rendered.frames) // 2
    scale = _TILE_PX / rendered.frames.shape[1]
    plain = np.asarray(
        cv2.resize(rendered.frames[middle], (_TILE_PX, _TILE_PX), interpolation=cv2.INTER_AREA)
    )
    marked = plain.copy()
    points_K2 = (rendered.points[middle] + 0.5) * scale - 0.5
    for point_2, seen in zip(points_K2, rendered.visible[middle], strict=True):
        disc(marked, point_2, (1.25, 1.25), (80, 255, 80) if seen else (60, 60, 255))
    return np.asarray(np.hstack([plain, marked]), np.uint8)


def _write_contact(out: Path, tiles: list[Picture]) -> None:
    columns = 4 if len(tiles) >= 4 else len(tiles)
    blank = np.zeros_like(tiles[0])
    tiles = tiles + [blank] * (-len(tiles) % columns)
    rows = [np.hstack(tiles[i : i + columns]) for i in range(0, len(tiles), columns)]
    _, packed = cv2.imencode(".png", np.vstack(rows))
    write_whole(out / "contact.png", packed.tobytes())
