"""What a space may say, what it may not, and that values stay inside it."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launch.sweep.space import Domain, parse_space
from tsal_dist.config import load_config
from tsal_dist.config.load import to_override
from tsal_dist.errors import ConfigError


def test_keys_may_be_dotted_quoted_or_nested():
    lr = {"loguniform": [1e-4, 1e-2]}
    spaces = [{"train.optim.lr": lr}, {"train": {"optim": {"lr": lr}}}, {"train": {"optim.lr": lr}}]
    assert all(parse_space(tree) == {"train.optim.lr": Domain("loguniform", (1e-4, 1e-2))} for tree in spaces)


@pytest.mark.parametrize(
    ("tree", "says"),
    [
        ({"train.seed": {"unifrom": [0, 1]}}, r"train.seed.unifrom = \[0, 1\].* Did you mean 'uniform'"),
        ({"train.seed": 3}, "train.seed = 3 says no values"),
        ({"train.seed": {"uniform": [0, 1], "choice": [1]}}, "train.seed has .*exactly one"),
        ({"train.seed": {"choice": []}}, "train.seed has choice"),
        ({"train.seed": {"choice": [1, 2, 1]}}, "train.seed names a value twice"),
        ({"train.seed": {"uniform": [1, 0]}}, "train.seed .*below the second"),
        ({"train.seed": {"uniform": [0, 1, 2]}}, "train.seed .*two numbers"),
        ({"train.seed": {"uniform": [0, "b"]}}, "train.seed .*two numbers"),
        ({"train.seed": {"uniform": [0, float("inf")]}}, "train.seed .*below the second"),
        ({"train.seed": {"loguniform": [0, 1]}}, "train.seed .*above zero"),
        ({"train.seed": {"randint": [0.5, 2]}}, "train.seed .*whole numbers"),
    ],
)
def test_what_is_no_range_is_refused_by_its_key(tree, says):
    with pytest.raises(ConfigError, match=says):
        parse_space(tree)


NUMBERS = st.floats(1e-6, 1e6)
DOMAINS = st.one_of(
    st.tuples(st.sampled_from(("uniform", "loguniform")), st.tuples(NUMBERS, NUMBERS)),
    st.tuples(st.just("randint"), st.tuples(st.integers(-50, 50), st.integers(-50, 50))),
).filter(lambda drawn: drawn[1][0] < drawn[1][1])


@given(drawn=DOMAINS, seed=st.integers(0, 1000), beyond=st.floats(-1e7, 1e7))
def test_draws_and_mutations_stay_inside(drawn, seed, beyond):
    domain = Domain(*drawn)
    low, high = domain.values
    slack = 1e-9 * high if domain.kind == "loguniform" else 0
    for value in (domain.sample(random.Random(seed)), domain.clip(beyond)):
        assert low - slack <= value <= high + slack
        assert type(domain.decode(value)) is (int if domain.kind == "randint" else float)


@given(
    value=st.recursive(
        st.one_of(st.booleans(), st.integers(-9, 9), st.text(max_size=8)), st.lists, max_leaves=4
    )
)
def test_lists_survive_searchers_that_know_none(value):
    domain = Domain("choice", ("another", value))
    assert domain.decode(domain.encode(value)) == value


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("train.optim.lr", 1e-5),
        ("method.name", "tsal"),
        ("train.gate.enabled", False),
        ("method.use", ["heatmap"]),
        ("run.dir", "runs/😀\x7f"),
    ],
)
def test_a_value_reaches_the_config_as_it_is(key, value):
    found = load_config([], [to_override(key, value)]).model_dump(mode="json")
    for part in key.split("."):
        found = found[part]
    assert found == value
