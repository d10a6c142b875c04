import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tsal_dist.errors import DataError
from tsal_dist.shards.index import INDEX_DTYPE, decode_index, encode_index, read_index

numbers = st.tuples(*[st.integers(0, 2**64 - 1)] * 2, *[st.integers(0, 2**32 - 1)] * 4)


@given(st.lists(numbers, max_size=5), st.integers(0, 2**63))
def test_an_index_comes_back(records, tar_bytes):
    index = np.array(records, INDEX_DTYPE)
    found, size = decode_index(encode_index(index, tar_bytes))
    assert np.array_equal(found, index)
    assert size == tar_bytes


def test_every_truncation_is_noticed():
    data = encode_index(np.zeros(3, INDEX_DTYPE), 1024)
    for size in range(len(data)):
        with pytest.raises(DataError):
            decode_index(data[:size])


def test_another_tar_is_noticed(tmp_path):
    (tmp_path / "a.idx").write_bytes(encode_index(np.zeros(3, INDEX_DTYPE), 1024))
    assert len(read_index(f"{tmp_path}/a.idx", 1024)) == 3
    with pytest.raises(DataError, match="1024 bytes, but"):
        read_index(f"{tmp_path}/a.idx", 2048)
