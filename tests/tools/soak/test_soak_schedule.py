"""The schedule is the seed's alone, and fair to every kind of injury."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from tools.soak.acts import ACTS
from tools.soak.schedule import (
    DAMAGE,
    GAP_S,
    KILL_SHARE,
    KILLS,
    KINDS,
    MOST_SEGMENTS_DAMAGED,
    plan_events,
)  # fmt: skip


@given(st.floats(0.1, 60), st.integers(0, 2**32))
def test_the_rules_hold_for_every_length_and_seed(minutes, seed):
    events = plan_events(minutes, seed)
    assert events == plan_events(minutes, seed)
    times = [event.at_s for event in events]
    gaps = [later - sooner for sooner, later in zip([0.0, *times], times, strict=False)]
    assert all(GAP_S[0] <= gap <= GAP_S[1] for gap in gaps)
    assert all(event.at_s < 60 * minutes for event in events)
    assert all(event.at_s < KILL_SHARE * 60 * minutes for event in events if event.kind in KILLS)
    assert sum(event.kind in DAMAGE[:3] for event in events) <= MOST_SEGMENTS_DAMAGED


@given(st.integers(0, 2**32))
def test_ten_minutes_hold_every_kind(seed):
    counts = Counter(event.kind for event in plan_events(10, seed))
    assert set(counts) == set(KINDS)


def test_other_seeds_are_other_schedules_and_what_is_left_out_stays_out():
    assert plan_events(10, 1) != plan_events(10, 2)
    few = tuple(kind for kind in KINDS if kind not in KILLS)
    assert not {event.kind for event in plan_events(10, 1, few)} & set(KILLS)
    assert plan_events(10, 1, ()) == []


def test_every_kind_can_be_done():
    assert set(ACTS) == set(KINDS)
