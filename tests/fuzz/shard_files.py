"""Targets: the files of a shard, ours and those of others."""

import io
import json
import tarfile
from dataclasses import fields
from pathlib import Path

import numpy as np

from tests.fuzz.target import Target
from tsal_dist.pack.foreign import index_folder
from tsal_dist.shards.frames import FrameRow, decode_frames, encode_frames
from tsal_dist.shards.index import INDEX_DTYPE, decode_index, encode_index
from tsal_dist.shards.manifest import (
    Segment,
    Shard,
    build_manifest,
    decode_manifest,
    decode_shard,
    encode_manifest,
    encode_shard,
)
from tsal_dist.shards.ustar import BLOCK, END, encode_member, walk

NAMES = (
    "tar",
    "hostile tar",
    "tar of tarfile",
    "hostile pax",
    "idx",
    "frame table",
    "shard record",
    "manifest",
    "foreign tar",
)
PLACE = "train-00000"
FRAMES = 10
SEGMENTS = (
    Segment(kind="video", video="a.mp4", start=0, frames=8, first_frame=0, frame_step=2, labelled="0,3-4"),
    Segment(kind="stills", video="", start=8, frames=2, first_frame=0, frame_step=1, labelled=""),
)
SHARD = Shard(
    name=PLACE, plan="p", frames=FRAMES, labelled=3, failed=1, tar_bytes=9, tar_sha256="1", idx_sha256="2",
    parquet_sha256="3", segments=SEGMENTS,
)  # fmt: skip
MANIFEST = build_manifest("train", "p", "300w-68", 68, (SHARD,))


def targets(folder: Path) -> list[Target]:
    tar = b"".join(bytes(part) for name, data in TAR for part in encode_member(name, data)) + END
    index = np.array([(512, 1536, 700, 2, 1, 2), (2048, 0, 9, 0, 3, 0)], INDEX_DTYPE)
    frames = encode_frames(_rows(), 3)
    return [
        Target("tar", tar, TAR, _walk, PLACE, check=_check_members),
        Target("hostile tar", tar, TAR, lambda data: _walk(_seal(data)), PLACE, check=_check_members),
        Target("tar of tarfile", _pax(), PAX, _walk, PLACE, check=_check_members),
        Target("hostile pax", _pax(), PAX, lambda data: _walk(_seal(data)), PLACE, check=_check_members),
        Target("idx", encode_index(index, 4096), (index.tolist(), 4096), _idx, PLACE),
        Target("frame table", frames, _table(frames), _table, PLACE, sealed=False, check=_check_table),
        Target("shard record", encode_shard(SHARD), SHARD, _shard, PLACE, check=_check_shard),
        Target("manifest", encode_manifest(MANIFEST), MANIFEST, _manifest, "manifest.json", sealed=True),
        Target("foreign tar", _foreign(), 2, _index(folder / "foreign"), "foreign"),
    ]


PAX = [("n" * 180 + ".jpg", b"abc")]
TAR = [("a/b-00000000.jpg", b"x" * 700), ("a/b-00000000.json", b"{}"), ("c.jpg", b"")]


def _walk(data):
    return [(one.name, data[one.offset : one.offset + one.size]) for one in walk(data, PLACE)]


def _seal(data):
    """The damage of somebody who knows how a header is summed up."""
    blocks = [data[at : at + BLOCK] for at in range(0, len(data), BLOCK)]
    for at, block in enumerate(blocks):
        if len(block) == BLOCK and block[257:262] == b"ustar":
            total = sum(block[:148]) + 8 * ord(" ") + sum(block[156:])
            blocks[at] = block[:148] + b"%06o\0 " % total + block[156:]
    return b"".join(blocks)


def _check_members(members):
    for name, _ in members:
        assert not name.startswith("/")
        assert ".." not in name.split("/")
        assert "\0" not in name
        assert name.encode(), "a name that can be printed and stored"


def _pax():
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as tar:
        info = tarfile.TarInfo("n" * 180 + ".jpg")
        info.size = 3
        tar.addfile(info, io.BytesIO(b"abc"))
    return buffer.getvalue()


def _foreign():
    """Two frames, one labelled; the pictures are the smallest that a decoder takes."""
    import cv2

    jpg = cv2.imencode(".jpg", np.zeros((8, 8, 3), np.uint8))[1].tobytes()
    page = json.dumps({"points": [[1, 2], [3, 4]], "visible": [1, 2], "box": [1, 2, 6, 7]}).encode()
    parts = [("a.jpg", jpg), ("a.json", page), ("b.jpg", jpg)]
    return b"".join(bytes(part) for name, data in parts for part in encode_member(name, data)) + END


def _index(folder):
    """What `inspect_shards index` does; the number of frames."""
    folder.mkdir()

    def parse(data):
        (folder / "t.tar").write_bytes(data)
        manifest = index_folder(str(folder))
        table = decode_frames((folder / "t.parquet").read_bytes())
        assert np.isfinite(table.points_NK2).all()
        assert np.isfinite(table.box_N4).all()
        assert set(table.visible_NK.ravel().tolist()) <= {0, 1, 2}
        return manifest.frames

    return parse


def _idx(data):
    index, tar_bytes = decode_index(data, PLACE)
    return index.tolist(), tar_bytes


def _rows():
    labelled = FrameRow(
        "a/b.mp4", 4, 0, 160.0, (64, 48), (128, 96), (1, 2, 30, 40), 33.0,
        np.array([[1.5, 2.25], [0, 0], [7, 8]], np.float32), np.array([1, 0, 2], np.uint8), ("blur",),
    )  # fmt: skip
    return [labelled, FrameRow("c.mp4", 0, status="unreadable", reason="why"), FrameRow("c.mp4", 1, 1)]


def _table(data):
    table = decode_frames(data, PLACE)
    found = {field.name: getattr(table, field.name) for field in fields(table)}
    return {name: value.tolist() if isinstance(value, np.ndarray) else value for name, value in found.items()}


def _check_table(table):
    count = len(table["frame_N"])
    columns = [table[name] for name in table if name != "videos" and table[name] is not None]
    assert all(len(column) == count for column in columns)
    assert all(0 <= code < len(table["videos"]) for code in table["video_N"])


def _shard(data):
    return decode_shard(data, PLACE)


def _check_shard(shard):
    for segment in shard.segments:
        positions = segment.labelled_positions()
        assert len(positions) <= segment.frames
        assert ((positions >= segment.start) & (positions < segment.start + segment.frames)).all()
        assert (np.diff(positions) > 0).all()


def _manifest(data):
    return decode_manifest(data, "").model_copy(update={"url": ""})
