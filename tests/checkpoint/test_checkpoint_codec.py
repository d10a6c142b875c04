"""encode and decode are exact inverses over everything a state may hold, RNG states included."""

import enum
import math
import random

import numpy as np
import pytest
import safetensors.torch
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.checkpoint.equality import equal
from tsal_dist.checkpoint.codec import decode_state, encode_state
from tsal_dist.checkpoint.rng import capture_rng, restore_rng, seed_rng
from tsal_dist.errors import CheckpointError


def through_disk(state):
    tensors, rest = encode_state(state)
    return decode_state(safetensors.torch.load(safetensors.torch.save(tensors)), rest)


DTYPES = [torch.float32, torch.float64, torch.bfloat16, torch.float16, torch.int64, torch.uint8, torch.bool]
ARRAYS = [np.float32, np.float64, np.int64, np.int8, np.uint8, np.uint16, np.uint32, np.uint64, np.bool_]
shapes = st.lists(st.integers(0, 3), max_size=3).map(tuple)
leaves = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(),
    st.builds(
        lambda shape, dtype: torch.ones(shape).cumsum(-1).to(dtype),
        shapes.filter(len),
        st.sampled_from(DTYPES),
    ),
    st.builds(lambda value, dtype: torch.tensor(value).to(dtype), st.integers(0, 1), st.sampled_from(DTYPES)),
    st.builds(lambda shape, dtype: np.ones(shape).astype(dtype), shapes, st.sampled_from(ARRAYS)),
)
keys = st.one_of(st.text(), st.integers(), st.sampled_from(["$tensor", "$tuple", "a/b", "", "/"]))
states = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.lists(inner, max_size=3).map(tuple),
        st.dictionaries(keys, inner, max_size=3),
    ),
    max_leaves=8,
)


@given(states)
@settings(max_examples=300, deadline=None)
def test_any_state_comes_back(state):
    assert equal(through_disk(state), state)


def test_an_optimisers_state_comes_back():
    net = torch.nn.Linear(3, 2)
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-3)
    net(torch.ones(1, 3)).sum().backward()
    optimizer.step()
    assert equal(through_disk(optimizer.state_dict()), optimizer.state_dict())


def test_tensors_that_share_memory_are_kept_apart():
    whole = torch.arange(6.0)
    state = {"a": whole[:3], "b": whole[1:4], "turned": whole.view(2, 3).T}
    assert equal(through_disk(state), state)


def test_a_path_names_one_tensor_only():
    """Keys may look like paths; two tensors must never share a name."""
    one, two, three = (torch.full((1,), float(value)) for value in range(3))
    for state in (
        {"a": {"b": one}, "a/b": two, "a/b'": three},
        {"a/b'": three, "a/b": two, "a": {"b": one}},
        {0: one, "0": two, "a": [three]},
    ):
        assert equal(through_disk(state), state)


def draw():
    return random.random(), np.random.rand(), np.random.randn(), torch.rand(1).item()


def test_random_sequences_continue():
    seed_rng(1, 2, 3)
    draw()
    state = through_disk(capture_rng())
    expected = [draw() for _ in range(3)]
    restore_rng(state)
    assert [draw() for _ in range(3)] == expected


def test_seeds_are_a_function_of_seed_step_and_rank():
    def begin(*where):
        seed_rng(*where)
        return draw()

    assert begin(0, 5, 1) == begin(0, 5, 1)
    starts = [begin(*where) for where in [(0, 5, 1), (0, 5, 0), (0, 6, 1), (1, 5, 1)]]
    for drawn in zip(*starts, strict=True):
        assert len(set(drawn)) == len(starts)


class Colour(enum.IntEnum):
    RED = 1


@pytest.mark.parametrize("value", [{1, 2}, b"bytes", object(), Colour.RED, np.float32(1)])
def test_what_has_no_form_is_named_with_its_place(value):
    with pytest.raises(CheckpointError, match=rf"a {type(value).__name__} at /loader/2"):
        encode_state({"loader": [0, 1, value]})


def test_the_rest_is_standard_json():
    _, rest = encode_state({"loss": math.inf, "other": [math.nan, -math.inf]})
    assert b"Infinity" not in rest
    assert b"NaN" not in rest
