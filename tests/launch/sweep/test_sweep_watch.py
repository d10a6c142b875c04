"""What Tune's callback makes of a trial's files."""

import pytest

from launch.sweep.watch import _beating_step
from tests.observe.runs import beat
from tsal_dist.run_dir import RunDir, write_whole


@pytest.mark.parametrize("role", ["student", "inline"])
def test_a_trial_is_where_rank_0_of_its_student_is(tmp_path, role):
    run = RunDir(tmp_path)
    assert _beating_step(run) == 0
    beat(run, "teacher", seq=9, step=90)
    beat(run, role, seq=4, step=40)
    beat(run, role, seq=5, step=50, rank=1)
    assert _beating_step(run) == 40


@pytest.mark.parametrize("raw", [b"", b"[]", b'{"step": null}', b'{"step": [7]}', b'{"step": "far"}'])
def test_a_damaged_heartbeat_does_not_end_a_sweep(tmp_path, raw):
    run = RunDir(tmp_path)
    write_whole(run.beat("student", 0), raw)
    assert _beating_step(run) == 0
