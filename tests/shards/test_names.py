import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tsal_dist.errors import DataError
from tsal_dist.shards.names import decode_name, encode_name, frame_key, split_key

part = st.text(st.sampled_from("ab.~%- \u00e9\u6f22"), min_size=1, max_size=12).filter(
    lambda text: text not in {".", ".."}
)
names = st.lists(part, min_size=1, max_size=3).map("/".join)


@given(names)
def test_short_names_come_back(name):
    encoded = encode_name(name)
    assert "." not in encoded
    if "~" not in encoded:
        assert decode_name(encoded) == name


@given(names, names)
def test_different_names_stay_different(one, two):
    assert (encode_name(one) == encode_name(two)) == (one == two)


@given(names, st.integers(0, 10**8 - 1))
def test_keys_split_into_what_they_were_made_of(name, frame):
    assert split_key(frame_key(name, frame)) == (encode_name(name), frame)


@pytest.mark.parametrize("letter", ["a", ".", "~", "%", "\u00e9", "\u6f22", "\U0001f600"])
@pytest.mark.parametrize("length", [1, 26, 27, 80, 81, 300])
def test_every_name_fits_a_ustar_header(letter, length):
    last = f"{frame_key('x' + letter * length, 1)}.json"
    assert len(last.encode()) <= 100
    assert re.fullmatch(r"[\x21-\x7e]+", last)


@pytest.mark.parametrize("name", ["", "/a", "a//b", "../a", "a/../b", ".", "a/."])
def test_names_that_leave_their_folder_are_refused(name):
    with pytest.raises(DataError, match="relative path"):
        encode_name(name)


def test_a_name_that_was_cut_says_so():
    with pytest.raises(DataError, match="frame table"):
        decode_name(encode_name("x" * 200))


def test_a_foreign_key_is_refused():
    with pytest.raises(DataError, match="not a frame"):
        split_key("000017")
