"""The role map is a partition that every rank computes alike, and misfits say what would fit."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tsal_dist.dist.topology import Seat, assign_roles
from tsal_dist.errors import TopologyError


def roles(seats):
    return "".join(seat.role[0] for seat in seats)


@pytest.mark.parametrize(
    ("world", "local", "spec", "expected"),
    [
        (2, 2, "1", "st"),
        (4, 4, "1", "ssst"),
        (4, 4, "3", "sttt"),
        (3, 3, "0", "sss"),
        (8, 8, ".25", "sssssstt"),
        (8, 8, "0.5", "sssstttt"),
        (4, 4, ".01", "ssst"),
        (8, 4, "node", "ssstssst"),
        (6, 2, "node", "ststst"),
    ],
)
def test_the_map(world, local, spec, expected):
    assert roles(assign_roles(world, local, spec)) == expected


@given(nodes=st.integers(1, 6), local=st.integers(1, 8), data=st.data())
def test_every_map_is_a_partition_with_a_student(nodes, local, data):
    world = nodes * local
    spec = data.draw(
        st.one_of(
            st.just("node"),
            st.integers(0, world + 1).map(str),
            st.floats(0.01, 0.99).map(lambda share: f"{share:.2f}".lstrip("0")),
        )
    )
    try:
        seats = assign_roles(world, local, spec)
    except TopologyError:
        return
    assert len(seats) == world
    for role in ("teacher", "student"):
        own = [seat for seat in seats if seat.role == role]
        assert own == [Seat(role, rank, len(own)) for rank in range(len(own))]
    assert "s" in roles(seats)


@pytest.mark.parametrize(
    ("world", "local", "spec", "message"),
    [
        (4, 4, "4", "at least 5 processes"),
        (1, 1, "1", "inline"),
        (1, 1, ".5", "leaves no student"),
        (4, 1, "node", "at least two per machine"),
        (5, 2, "node", "do not divide"),
        (4, 4, "half", "'half'"),
        (4, 4, "1.5", "'1.5'"),
    ],
)
def test_a_misfit_says_what_would_fit(world, local, spec, message):
    with pytest.raises(TopologyError, match=message):
        assign_roles(world, local, spec)
