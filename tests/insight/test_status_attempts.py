"""A run that was taken up again: what an earlier attempt left behind is not taken for what goes on now."""

import os
import time

import pytest

from tests.insight.test_status import Time, age, look, states
from tests.observe.runs import beat, end, write_run
from tsal_dist.insight.status import LOOK_S, Watcher
from tsal_dist.run_dir import write_whole


def go_on(run):
    """What all ranks do between two looks."""
    for role in ("student", "teacher"):
        beat(run, role, seq=99, step=51)


def test_notes_of_an_earlier_attempt_do_not_hide_living_roles(tmp_path):
    """Both roles have left notes, so that at the first look all seems to be over."""
    run = write_run(tmp_path)
    beat(run, "student", seq=7, step=50, rank=1)  # it beats more seldom than we look
    end(run, "student", code=1, reason="The disk was full.")
    end(run, "teacher", code=75, reason="SIGTERM")
    status = look(run, lambda: go_on(run))
    assert [(rank.beat.role, rank.state) for rank in status.ranks] == [
        ("student", "alive"), ("student", "quiet"), ("teacher", "alive")
    ]  # fmt: skip
    assert status.going
    assert not status.over
    assert not status.alarms
    assert not [row for row in status.rows() if row.label.endswith(" end")]
    assert "gone" not in status.verdict


def test_a_watch_does_not_take_old_notes_for_the_end(tmp_path):
    run, clock = write_run(tmp_path), Time()
    for role in ("student", "teacher"):
        end(run, role, code=75, reason="SIGTERM")
    watcher = Watcher(run, clock=clock, sleep=clock.sleep)
    assert not watcher.look().over
    assert not watcher.look().over, "no time has passed"
    clock.now += LOOK_S
    assert watcher.look().over


def test_a_run_that_was_asked_to_leave_is_not_finished(tmp_path):
    """It has said goodbye, and is to be gone on with."""
    run = write_run(tmp_path)
    for role in ("student", "teacher"):
        beat(run, role, seq=101, step=0, phase="done")
        end(run, role, code=75, reason="SIGTERM")
    status = look(run)
    assert states(status) == {"student": "stopped", "teacher": "stopped"}
    assert status.verdict.startswith(
        "The student is gone: the same command with --resume goes on from step 40"
    )
    assert status.to_json()["left_s"] is None


@pytest.mark.parametrize(
    ("old", "new"),
    [("student", ("student", "teacher")), ("inline", ("student", "teacher")), ("student", ("inline",))],
)
def test_ranks_that_an_attempt_with_fewer_does_without_are_no_alarm(tmp_path, old, new):
    """Killed at step 90, resumed at 40 on fewer processes: nothing is said of those that are no longer there."""
    run = write_run(tmp_path)
    gone = 1 if old in new else 0
    beat(run, old, seq=90, step=90, rank=gone)
    path = run.beat(old, gone)
    os.utime(path, (time.time() - 600, time.time() - 600))
    for role in {"student", "teacher"} - set(new):
        beat(run, role, seq=90, step=50)
        age(run, role, 600)
    for role in new:
        beat(run, role, seq=1, step=41)
    status = look(run, lambda: [beat(run, role, seq=2, step=42) for role in new])
    assert states(status) == dict.fromkeys(new, "alive")
    assert not status.alarms
    if gone:
        assert status.snapshot.step == 50, "of the metrics, which no step after 40 has replaced yet"


def test_a_silent_rank_0_is_told_of_whatever_the_others_do(tmp_path):
    run = write_run(tmp_path)
    age(run, "student", 600)
    beat(run, "student", seq=1, step=50, rank=1)
    status = look(run, lambda: beat(run, "student", seq=2, step=50, rank=1))
    assert [rank.state for rank in status.ranks if rank.beat.role == "student"] == ["silent", "alive"]
    assert "student 0 silent" in status.alarms[0]


def test_a_note_needs_no_number_of_its_attempt(tmp_path):
    """A launcher goes by it, and so a look at the run tells of it."""
    run = write_run(tmp_path)
    write_whole(run.exit_note("student"), b'{"code": 1, "reason": "The detector collapsed."}')
    assert look(run).alarms == ("The student failed: The detector collapsed.",)
