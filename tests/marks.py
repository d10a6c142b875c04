"""Marks that tests of several rooms share."""

import pytest

against_the_clock = pytest.mark.os_race(
    "its processes wait for one another within deadlines, and a machine that runs other tests too may give one of them no core for as long"
)
"""For whole launches: kills, restarts, clusters. Nothing that is decided within one process may carry it."""
