"""Small videos, good and broken, for the tests of the packer."""

import struct
from pathlib import Path

import cv2
import numpy as np

POINTS_K2 = np.array([[20, 20], [44, 20], [32, 30], [24, 40], [40, 40]], np.float32)


def make_video(path: Path, frames: int = 12, size: tuple[int, int] = (64, 48), seed: int = 0) -> Path:
    """A moving pattern, whose frames all differ; motion JPEG in .avi, MPEG-4 in .mp4."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fourcc = cv2.VideoWriter_fourcc(*("mp4v" if path.suffix == ".mp4" else "MJPG"))
    # FFmpeg's writer rounds sizes to even numbers, OpenCV's own does not.
    backend = cv2.CAP_FFMPEG if path.suffix == ".mp4" else cv2.CAP_OPENCV_MJPEG
    writer = cv2.VideoWriter(str(path), backend, fourcc, 25, size)
    assert writer.isOpened()
    coarse = np.random.default_rng(seed).integers(0, 255, (size[1] // 4 + 1, size[0] // 4 + 1, 3), np.uint8)
    picture = cv2.resize(coarse, size)
    for shift in range(frames):
        writer.write(np.roll(picture, shift, axis=1))
    writer.release()
    return path


def make_image(path: Path, size: tuple[int, int] = (64, 48), seed: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = np.random.default_rng(seed).integers(0, 255, (size[1], size[0], 3), np.uint8)
    assert cv2.imwrite(str(path), picture)
    return path


def pts_text(points_K2=POINTS_K2, version: str = "1") -> str:
    """As 300W writes it: pixels count from 1."""
    rows = "\n".join(f"{x + 1} {y + 1}" for x, y in points_K2)
    return f"version: {version}\nn_points: {len(points_K2)}\n{{\n{rows}\n}}\n"


def make_300vw(
    folder: Path, name: str, frames: int = 12, annotated: int | None = None, seed: int = 0
) -> Path:
    """One video in the layout of 300VW."""
    video = make_video(folder / name / "vid.avi", frames, seed=seed)
    annot = folder / name / "annot"
    annot.mkdir()
    for number in range(1, (frames if annotated is None else annotated) + 1):
        (annot / f"{number:06d}.pts").write_text(pts_text(POINTS_K2 + number * 0.25))
    return video


def make_audio_only(path: Path) -> Path:
    """A RIFF file with a wave in it."""
    samples = bytes(4000)
    wave = struct.pack("<4sIHHIIHH4sI", b"fmt ", 16, 1, 1, 8000, 8000, 1, 8, b"data", len(samples)) + samples
    path.write_bytes(b"RIFF" + struct.pack("<I", 4 + len(wave)) + b"WAVE" + wave)
    return path


def cut(path: Path, share: float) -> Path:
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    return path


def _box(data: bytes, name: bytes) -> int:
    """Where the payload of the first box of this name begins."""
    place = data.index(name)
    return place + 4


def rotate_quarter(path: Path) -> Path:
    """Ask players to turn the MP4 by 90 degrees: the matrix of its track header."""
    data = bytearray(path.read_bytes())
    matrix = _box(data, b"tkhd") + 40
    one, last = 1 << 16, 1 << 30
    data[matrix : matrix + 36] = struct.pack(">9i", 0, one, 0, -one, 0, 0, 0, 0, last)
    path.write_bytes(data)
    return path


def make_variable_rate(path: Path) -> Path:
    """Let the second half of the MP4's frames last half as long: one more entry in its time table."""
    data = bytearray(path.read_bytes())
    table = _box(data, b"stts")
    entries, count, delta = struct.unpack(">III", data[table + 4 : table + 16])
    assert entries == 1
    first = count // 2
    data[table + 4 : table + 16] = struct.pack(">5I", 2, first, delta, count - first, delta // 2)
    for name in (b"moov", b"trak", b"mdia", b"minf", b"stbl", b"stts"):
        place = _box(data, name) - 8
        (size,) = struct.unpack(">I", data[place : place + 4])
        data[place : place + 4] = struct.pack(">I", size + 8)
    path.write_bytes(data)
    return path


def files_of(folder: Path) -> dict[str, bytes]:
    """Every file below a folder; hidden ones too."""
    return {
        str(file.relative_to(folder)): file.read_bytes()
        for file in sorted(folder.rglob("*"))
        if file.is_file()
    }
