"""When a closed gate is worth an alarm."""

import pytest

from tests.insight.test_status import look
from tests.observe.runs import TEACHER, beat, write_run


@pytest.mark.parametrize("total", [30, 100])
def test_a_gate_that_never_opened_in_a_short_run_is_an_alarm_at_its_end(tmp_path, total):
    """Two versions in all: while there are more to come, that is nothing yet."""
    run = write_run(tmp_path, steps=30, total=total, teacher=TEACHER | {"gate/open": 0.0})
    told = " ".join(look(run, lambda: beat(run, "student", 999, 30)).alarms)
    assert ("The gate has been closed since step 20, 2 versions" in told) == (total == 30)
