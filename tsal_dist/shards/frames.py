"""X.parquet: one row per frame of a shard, stored or failed, so that a reader needs no JSON.

Points and visibility are fixed-size binary columns: numpy reads them without a copy per row. A stored frame
has status "ok" and its position in the tar as `index`; a failed one has index -1, a status word and a reason in
plain language.
"""

import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from tsal_dist.arrow import to_arrow, to_numpy
from tsal_dist.errors import DataError
from tsal_dist.shards.files import read_bytes

OK = "ok"
_POINTS = "tsal_points"


@dataclass(frozen=True)
class FrameRow:
    """What is known of one frame. Coordinates are pixels of the stored image, centres at whole numbers."""

    video: str
    frame: int
    """Number of the frame in its source, counted from 0 as the decoder delivers it; of a still image, which
    of its faces this is."""
    index: int = -1
    pts_ms: float = 0.0
    size_px: tuple[int, int] = (0, 0)
    """Width and height of the stored image."""
    source_size_px: tuple[int, int] = (0, 0)
    """Width and height before resizing: source = (stored + 0.5) * source_size / size - 0.5 + origin."""
    box: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 0.0)
    """x1 y1 x2 y2."""
    face_px: float = 0.0
    """Size of the face for normalised errors; sqrt(w * h) of the box where the annotation gives none."""
    points_K2: NDArray[np.float32] | None = None
    """None: not labelled."""
    visible_K: NDArray[np.uint8] | None = None
    """0 no position, 1 visible, 2 hidden but placed."""
    attributes: tuple[str, ...] = ()
    status: str = OK
    reason: str = ""
    origin_px: tuple[int, int] | None = None
    """Left and top of the part of the source that is stored; None where that is the whole picture."""


@dataclass(frozen=True)
class FrameTable:
    """The stored frames of a shard as arrays; row i is the frame at position i of the index. N frames."""

    videos: tuple[str, ...]
    video_N: NDArray[np.int32]
    """Index into `videos`."""
    frame_N: NDArray[np.int32]
    pts_ms_N: NDArray[np.float64]
    size_N2: NDArray[np.int32]
    source_size_N2: NDArray[np.int32]
    origin_N2: NDArray[np.int32] | None
    """None where whole pictures are stored."""
    box_N4: NDArray[np.float32]
    face_px_N: NDArray[np.float32]
    labelled_N: NDArray[np.bool_]
    points_NK2: NDArray[np.float32]
    """Zeros where not labelled."""
    visible_NK: NDArray[np.uint8]
    attributes: tuple[tuple[str, ...], ...]

    def __len__(self) -> int:
        return len(self.frame_N)


def fill_pictures(box_N4: NDArray[np.floating], size_N2: NDArray[Any]) -> bool:
    """Whether most boxes are whole pictures: nobody said where the subject is."""
    side_N2 = box_N4[:, 2:] - box_N4[:, :2]
    return bool((side_N2 >= size_N2 - 1.5).all(1).mean() > 0.5)


def build_schema(points: int, cropped: bool = False) -> pa.Schema:
    """The columns of a shard with K = `points` landmarks; without landmarks two of them are absent, and two more where
    whole pictures are stored."""
    types: dict[str, pa.DataType] = {
        "index": pa.int32(),
        "video": pa.string(),
        "frame": pa.int32(),
        "pts_ms": pa.float64(),
        "width": pa.int32(),
        "height": pa.int32(),
        "source_width": pa.int32(),
        "source_height": pa.int32(),
        "box": pa.binary(16),
        "face_px": pa.float32(),
        "labelled": pa.bool_(),
        "attributes": pa.string(),
        "status": pa.string(),
        "reason": pa.string(),
    }
    if points:
        types |= {"points": pa.binary(8 * points), "visible": pa.binary(points)}
    if cropped:
        types |= {"crop_x": pa.int32(), "crop_y": pa.int32()}
    fields = [pa.field(name, kind, nullable=False) for name, kind in types.items()]
    return pa.schema(fields, metadata={_POINTS: str(points)})


def encode_frames(rows: Sequence[FrameRow], points: int) -> bytes:
    """A parquet file of one row group. The same rows give the same bytes under one version of pyarrow."""
    columns: dict[str, Sequence[object]] = {
        "index": [row.index for row in rows],
        "video": [row.video for row in rows],
        "frame": [row.frame for row in rows],
        "pts_ms": [row.pts_ms for row in rows],
        "width": [row.size_px[0] for row in rows],
        "height": [row.size_px[1] for row in rows],
        "source_width": [row.source_size_px[0] for row in rows],
        "source_height": [row.source_size_px[1] for row in rows],
        "box": [np.asarray(row.box, "<f4").tobytes() for row in rows],
        "face_px": [row.face_px for row in rows],
        "labelled": [row.points_K2 is not None for row in rows],
        "attributes": [json.dumps(row.attributes) if row.attributes else "" for row in rows],
        "status": [row.status for row in rows],
        "reason": [row.reason for row in rows],
    }
    if points:
        columns["points"] = [_bytes(row.points_K2, "<f4", 8 * points) for row in rows]
        columns["visible"] = [_bytes(row.visible_K, "u1", points) for row in rows]
    cropped = any(row.origin_px is not None for row in rows)
    if cropped:
        origins = [row.origin_px or (0, 0) for row in rows]
        columns["crop_x"], columns["crop_y"] = [x for x, _ in origins], [y for _, y in origins]
    table = pa.table(columns, schema=build_schema(points, cropped))
    buffer = io.BytesIO()
    pq.write_table(
        table,
        buffer,
        compression="zstd",
        use_dictionary=["video", "status", "reason", "attributes"],  # type: ignore[arg-type]
        write_statistics=False,
        write_page_checksum=True,
        row_group_size=max(1, len(rows)),
    )
    return buffer.getvalue()


def decode_status(data: bytes, where: str = "frame table") -> pa.Table:
    """Every row, the failed ones included, as an arrow table whose columns and texts were checked."""
    try:
        file = pq.ParquetFile(pa.BufferReader(data), page_checksum_verification=True)
        # Arrow's own threads would hold these bytes of Python's a moment longer than we do, and a process that leaves just
        # then is aborted: a thread that asks for the interpreter after its end is torn out of code that may not throw.
        table = file.read(use_threads=False)
        table.validate(full=True)
        wanted = build_schema(_count_points(table), "crop_x" in table.column_names)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise DataError(f"{where} is not a whole frame table: {error}.") from error
    if not table.schema.equals(wanted):
        raise DataError(f"{where} has other columns than a frame table of this format.")
    return table


def _count_points(table: pa.Table) -> int:
    return int((table.schema.metadata or {}).get(_POINTS.encode(), b"0"))


def decode_frames(data: bytes, where: str = "frame table") -> FrameTable:
    """The stored frames, in the order of the tar."""
    table = decode_status(data, where)
    table = table.take(to_arrow(np.flatnonzero(to_numpy(table["index"]) >= 0))).combine_chunks()
    count = len(table)
    if not np.array_equal(to_numpy(table["index"]), np.arange(count)):
        raise DataError(f"{where}: the stored frames are not numbered 0..{count - 1}; the table is damaged.")
    points = _count_points(table)
    video = table["video"].combine_chunks().dictionary_encode()
    return FrameTable(
        videos=tuple(str(name) for name in video.dictionary.to_pylist()),
        video_N=to_numpy(video.indices).astype(np.int32),
        frame_N=to_numpy(table["frame"]),
        pts_ms_N=to_numpy(table["pts_ms"]),
        size_N2=np.stack([to_numpy(table["width"]), to_numpy(table["height"])], 1),
        source_size_N2=np.stack([to_numpy(table["source_width"]), to_numpy(table["source_height"])], 1),
        origin_N2=np.stack([to_numpy(table["crop_x"]), to_numpy(table["crop_y"])], 1)
        if "crop_x" in table.column_names
        else None,
        box_N4=_matrix(table, "box", "<f4", (4,)),
        face_px_N=to_numpy(table["face_px"]),
        labelled_N=to_numpy(table["labelled"].cast(pa.uint8())).view(np.bool_),
        points_NK2=_matrix(table, "points", "<f4", (points, 2)),
        visible_NK=_matrix(table, "visible", "u1", (points,)),
        attributes=tuple(_attributes(text, where) for text in table["attributes"].to_pylist()),
    )


def read_frames(url: str) -> FrameTable:
    """The frame table of X.parquet at a path or URL."""
    return decode_frames(read_bytes(url), url)


def read_status(url: str) -> pa.Table:
    """X.parquet with its failed frames."""
    return decode_status(read_bytes(url), url)


def _attributes(text: str | None, where: str) -> tuple[str, ...]:
    if not text:
        return ()
    try:
        words = json.loads(text)
    except (ValueError, RecursionError):
        words = None
    if not (isinstance(words, list) and all(isinstance(word, str) for word in words)):
        raise DataError(f"{where}: attributes {text[:40]!r} are not a list of words; the table is damaged.")
    return tuple(words)


def _bytes(array: NDArray[np.generic] | None, dtype: str, size: int) -> bytes:
    return bytes(size) if array is None else array.astype(dtype).tobytes()


def _matrix(table: pa.Table, name: str, dtype: str, shape: tuple[int, ...]) -> NDArray[Any]:
    """A fixed-size binary column as an array without a copy; zeros where the column is absent."""
    if name not in table.column_names:
        return np.zeros((len(table), *shape), dtype)
    column = table[name].combine_chunks()
    raw: Any = column.buffers()[1] or b""
    offset = column.offset * int(np.dtype(dtype).itemsize * np.prod(shape))
    return np.frombuffer(raw, dtype, len(table) * int(np.prod(shape)), offset).reshape(len(table), *shape)
