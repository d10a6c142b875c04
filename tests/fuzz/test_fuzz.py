"""Every parser that a stranger can feed: no crash, no hang, no wrong number.

Derandomized, so that a red test is red for everybody. FUZZ_EXAMPLES=5000 looks further, at new inputs each time;
`python -m tests.fuzz.with_atheris` lets coverage guide the search.
"""

import os

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fuzz.damage import NASTY, damaged

LONG = int(os.environ.get("FUZZ_EXAMPLES", "0"))
FUZZ = settings(
    derandomize=not LONG,
    max_examples=LONG or 40,
    database=None,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
pytestmark = pytest.mark.timeout(60 + LONG)  # a parser that hangs is a defect too


def test_what_was_written_is_what_is_read(target):
    found = target.parse(target.whole)
    target.check(found)
    assert found == target.truth


def test_damage_is_refused_or_harmless(target):
    @FUZZ
    @given(damaged(target.whole))
    def feed(data):
        target.hold(data)

    feed()


def test_anything_else_is_refused_or_harmless(target):
    @FUZZ
    @given(st.binary(max_size=300) | st.text(max_size=100).map(str.encode) | st.sampled_from(NASTY))
    def feed(data):
        target.hold(data)

    feed()


def test_a_file_that_ends_early_is_refused_or_harmless(target):
    for size in range(0, len(target.whole), max(1, len(target.whole) // 60)):
        target.hold(target.whole[:size])
