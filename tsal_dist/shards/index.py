"""X.idx: where each frame of X.tar lies, as fixed records that need no parsing.

A header of 32 bytes (magic, number of records, size of the tar, zero) and one record of 32 bytes per stored
frame, little endian, in the order of the tar. Offsets are those of the first data byte. The members of a frame
follow each other, and so do the frames of a video, so a clip is one `pread` from the first image's offset to
the end of the last one.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tsal_dist.errors import DataError
from tsal_dist.shards.files import read_bytes

INDEX_DTYPE = np.dtype(
    [
        ("jpg_offset", "<u8"),
        ("json_offset", "<u8"),
        ("jpg_size", "<u4"),
        ("json_size", "<u4"),  # 0: the frame has no JSON member (a foreign tar)
        ("jpg_crc32", "<u4"),
        ("json_crc32", "<u4"),
    ]
)
_MAGIC = b"TSALIDX1"
_HEADER_DTYPE = np.dtype([("magic", "S8"), ("records", "<u8"), ("tar_bytes", "<u8"), ("zero", "<u8")])

Index = NDArray[Any]
"""A structured array of INDEX_DTYPE; `index["jpg_offset"][i]` belongs to the frame at position i."""


def encode_index(index: Index, tar_bytes: int) -> bytes:
    header = np.array([(_MAGIC, len(index), tar_bytes, 0)], _HEADER_DTYPE)
    return header.tobytes() + index.astype(INDEX_DTYPE).tobytes()


def decode_index(data: bytes, where: str = "index") -> tuple[Index, int]:
    """The records and the size of the tar that they describe."""
    size = _HEADER_DTYPE.itemsize
    header = np.frombuffer(data[:size].ljust(size, b"\0"), _HEADER_DTYPE)[0]
    if header["magic"] != _MAGIC:
        raise DataError(
            f"{where} is not a frame index of this format. Pack the shards again, or fetch them again; "
            f"tars of others are indexed again by `tsal shards index`."
        )
    if len(data) != size + int(header["records"]) * INDEX_DTYPE.itemsize:
        raise DataError(f"{where} has {len(data)} bytes, not those of {int(header['records'])} records.")
    return np.frombuffer(data, INDEX_DTYPE, offset=size), int(header["tar_bytes"])


def read_index(url: str, tar_bytes: int | None = None) -> Index:
    """The records of an index file; `tar_bytes`, where given, must be the size that the index was made for."""
    index, made_for = decode_index(read_bytes(url), url)
    if tar_bytes is not None and tar_bytes != made_for:
        raise DataError(f"{url} describes a tar of {made_for} bytes, but the tar has {tar_bytes}.")
    return index
