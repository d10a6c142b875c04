"""WebDataset tars of others, made readable in place: index, frame table, record and manifest beside them.

The tars are not touched. A sample is an image with, perhaps, a JSON member of the same key; when that holds
`points` and `box` as ours do, they are taken over; an NPY member may hold the points instead. Points outside of the picture have
no place, and where one is so far off that it is a mistake, none of them is a label. A frame is a still, for a tar does not say
which frames follow each other; unless its key is `<video>/<number>` or one of this format, and the numbers rise.
"""

import hashlib
import io
import re
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import groupby, pairwise
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from tsal_dist.errors import ConfigError, DataError
from tsal_dist.json_object import read_object
from tsal_dist.pack.boxes import full_box
from tsal_dist.pack.decode import Image
from tsal_dist.pack.face import LEAST_PX, Box, Face, annotated_box, build_face, check_box
from tsal_dist.pack.picture_file import AS_STORED
from tsal_dist.pack.row import far_outside, keep_inside
from tsal_dist.pack.write import build_segments
from tsal_dist.shards import files
from tsal_dist.shards.frames import FrameRow, encode_frames
from tsal_dist.shards.index import INDEX_DTYPE, encode_index
from tsal_dist.shards.manifest import (
    MANIFEST,
    Manifest,
    Shard,
    build_manifest,
    encode_manifest,
    encode_shard,
)
from tsal_dist.shards.names import FRAME_DIGITS
from tsal_dist.shards.ustar import Member, walk

_IMAGES = ("jpg", "jpeg", "png", "webp")
_NUMBERED = re.compile(
    rf"(?P<folder>.+)/(?P<frame>\d{{1,9}})|(?P<name>.+)-(?P<own>\d{{{FRAME_DIGITS}}})", re.DOTALL
)
FOREIGN = "foreign"
"""The plan of a folder that this packer did not pack."""


def index_folder(folder: str) -> Manifest:
    """Write the side files and the manifest for every tar in `folder`; all or nothing is readable."""
    names = [name.removesuffix(".tar") for name in files.list_names(folder) if name.endswith(".tar")]
    if not names:
        raise ConfigError(f"{folder} holds no .tar. Name the folder of the shards.")
    if files.exists(files.join(folder, "plan.json")):
        raise ConfigError(
            f"{folder} was packed by this packer; run `tsal pack` again instead of indexing it."
        )
    read = {name: list(_read_tar(files.join(folder, f"{name}.tar"))) for name in names}
    points = next(
        (len(row.points_K2) for rows in read.values() for row, _ in rows if row.points_K2 is not None), 0
    )
    shards = tuple(_write_shard(folder, name, read[name], points) for name in names)
    manifest = build_manifest(FOREIGN, FOREIGN, f"{points} points", points, shards)
    files.put_bytes(files.join(folder, MANIFEST), encode_manifest(manifest))
    return manifest


def _read_tar(url: str) -> Iterator[tuple[FrameRow, tuple[int, ...]]]:
    """Every sample with an image: its row and its index record."""
    with files.view(url) as tar:
        for key, group in groupby(walk(tar, url), key=lambda member: _key(member.name)):
            parts = {member.name[len(key) + 1 :].lower(): member for member in group}
            image = next((parts[extension] for extension in _IMAGES if extension in parts), None)
            if image is None:
                continue
            jpg, label = _bytes(tar, image), _bytes(tar, parts["json"]) if "json" in parts else b""
            face = _read_points(_bytes(tar, parts["npy"])) if "npy" in parts else _read_face(label)
            row = _build_row(key, jpg, face, url)
            offset = parts["json"].offset if label else 0
            yield row, (image.offset, offset, len(jpg), len(label), zlib.crc32(jpg), zlib.crc32(label))


def _key(name: str) -> str:
    """WebDataset's key: up to the first dot of the last path part."""
    folder, slash, last = name.rpartition("/")
    return folder + slash + last.split(".", 1)[0]


def _bytes(tar: memoryview, member: Member) -> bytes:
    return bytes(tar[member.offset : member.offset + member.size])


def _build_row(key: str, jpg: bytes, face: Face, url: str) -> FrameRow:
    decoded = cv2.imdecode(np.frombuffer(jpg, np.uint8), AS_STORED) if jpg else None
    if decoded is None:
        raise DataError(f"{url}: the image of {key!r} cannot be decoded. Take it out of the tar.")
    image: Image = decoded.astype(np.uint8, copy=False)
    size = (image.shape[1], image.shape[0])
    # A mark for "no such point" may be -1 or -999: what lies outside must not widen the box, as it has no place in a shard.
    face = keep_inside(face if not far_outside(face, image) else Face(box=face.box), image)
    x1, y1, x2, y2 = box = _find_box(face, image)
    face_px = ((x2 - x1) * (y2 - y1)) ** 0.5
    video, frame = _place(key)
    return FrameRow(
        video, frame, size_px=size, source_size_px=size, box=box, face_px=face_px, points_K2=face.points_K2,
        visible_K=face.visible_K,
    )  # fmt: skip


def _find_box(face: Face, image: Image) -> Box:
    """The one that is given, that of the points, or the picture where these two do not say where the subject is."""
    x1, y1, x2, y2 = box = annotated_box(face) or full_box(image)
    return full_box(image) if min(x2 - x1, y2 - y1) < LEAST_PX else box


def _read_face(label: bytes) -> Face:
    """Points and box where the JSON has them in our own form; anything else is no label."""
    try:
        page = read_object(label or b"{}")
        box = check_box(_corners(page["box"])) if "box" in page else None
        if "points" not in page:
            return Face(box=box)
        points_K2 = _pairs(np.array(page["points"], np.float64))
        visible_K = np.array(page.get("visible", [1] * len(points_K2)), np.int64).reshape(len(points_K2))
        return build_face(points_K2, visible_K, box)
    except (ValueError, TypeError, IndexError, OverflowError, DataError):
        return Face()


def _read_points(data: bytes) -> Face:
    """K x 2 points of an npy file, which must hold numbers: one with objects in it is not opened."""
    try:
        points_K2 = _pairs(np.load(io.BytesIO(data), allow_pickle=False).astype(np.float64))
        return build_face(points_K2, np.ones(len(points_K2), np.int64), None)
    except (ValueError, TypeError, EOFError, OverflowError, DataError):
        return Face()


def _pairs(numbers: NDArray[np.float64]) -> NDArray[np.float64]:
    """K x 2, or these in a row. Of K x 3, with a depth or a score, pairs would be points that nobody labelled."""
    if numbers.ndim > 1 and numbers.shape[-1] != 2:
        raise ValueError("points of other than two coordinates")
    return numbers.reshape(-1, 2)


def _place(key: str) -> tuple[str, int]:
    """Video and frame number, where a key has both; else the key itself is the name of a still."""
    match = _NUMBERED.fullmatch(key)
    return (match["folder"] or match["name"], int(match["frame"] or match["own"])) if match else (key, 0)


def _stills(rows: Sequence[FrameRow]) -> frozenset[str]:
    """Videos of one frame, and those whose frames do not follow each other."""
    frames: dict[str, list[int]] = {}
    for row in rows:
        frames.setdefault(row.video, []).append(row.frame)
    return frozenset(
        video
        for video, numbers in frames.items()
        if len(numbers) == 1 or any(later <= earlier for earlier, later in pairwise(numbers))
    )


def _corners(sides: Any) -> Box:
    x1, y1, x2, y2 = map(float, sides)
    return x1, y1, x2, y2


def _write_shard(folder: str, name: str, read: list[tuple[FrameRow, tuple[int, ...]]], points: int) -> Shard:
    rows = [_at(row, position, points) for position, (row, _) in enumerate(read)]
    url = files.join(folder, name)
    with files.view(f"{url}.tar") as tar:
        size, tar_sha256 = len(tar), hashlib.sha256(tar).hexdigest()
    idx = encode_index(np.array([record for _, record in read], INDEX_DTYPE), size)
    parquet = encode_frames(rows, points)
    record = Shard(
        name=name,
        plan=FOREIGN,
        frames=len(rows),
        labelled=sum(row.points_K2 is not None for row in rows),
        failed=0,
        tar_bytes=size,
        tar_sha256=tar_sha256,
        idx_sha256=hashlib.sha256(idx).hexdigest(),
        parquet_sha256=hashlib.sha256(parquet).hexdigest(),
        segments=build_segments(rows, _stills(rows)),
    )
    for extension, data in (("idx", idx), ("parquet", parquet), ("json", encode_shard(record))):
        files.put_bytes(f"{url}.{extension}", data)
    return record


def _at(row: FrameRow, position: int, points: int) -> FrameRow:
    """The row with its index; landmarks of another number than the folder's are left out."""
    if row.points_K2 is not None and len(row.points_K2) != points:
        row = replace(row, points_K2=None, visible_K=None)
    return replace(row, index=position)
