"""Rows of numbers between numpy and Arrow.

By `pa.array` and by `to_numpy` pyarrow imports pandas, wherever that is installed: half a second of every process that reads a
frame table or a segment, and it uses nothing of it.
"""

from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray


def to_arrow(row_N: NDArray[Any]) -> Any:
    """The same bytes."""
    buffer: Any = row_N
    return pa.Array.from_buffers(pa.from_numpy_dtype(row_N.dtype), len(row_N), [None, pa.py_buffer(buffer)])


def to_numpy(array: Any) -> NDArray[Any]:
    """The same bytes, read-only; raises where one is missing."""
    whole = array.combine_chunks() if isinstance(array, pa.ChunkedArray) else array
    return np.from_dlpack(whole)
