"""The note at the end: the role's own, never a zombie's, and no error of its own where there is no room for it."""

import json

from tsal_dist.config import load_config
from tsal_dist.dist.topology import Seat
from tsal_dist.errors import DiskFull, ExitCode
from tsal_dist.exchange.posix import PosixStore
from tsal_dist.exchange.tenure import begin_tenure
from tsal_dist.run import open_run
from tsal_dist.runs import exit_note
from tsal_dist.runs.exit_note import leave_note

LIMITS = [f"runtime.deadlines.{name}" for name in ("poll_s=0.01", "silent_s=0.05")]


def test_a_successors_note_is_not_written_over(tmp_path):
    run = open_run(load_config([], [f"run.dir={tmp_path}/run"]), "new")
    store, seat = PosixStore(run.dir.root), Seat("student", 0, 2)
    zombie = begin_tenure(store, "student", 0, run.id)
    leave_note(run, seat, [zombie], ExitCode.REQUEUE, "asked to", 0)
    successor = begin_tenure(store, "student", 0, run.id)
    leave_note(run, seat, [successor], ExitCode.DONE, "the last step", 1)
    leave_note(run, seat, [zombie], ExitCode.FAILED, "stale", 0)
    leave_note(run, Seat("student", 1, 2), [], ExitCode.FAILED, "not the role's", 0)
    assert json.loads(run.dir.exit_note("student").read_text()) == {
        "code": 0,
        "reason": "the last step",
        "attempt": 1,
    }


def test_a_full_disk_does_not_hide_how_it_ended(tmp_path, monkeypatch, caplog):
    run = open_run(load_config([], [f"run.dir={tmp_path}/run", *LIMITS]), "new")

    def full(path, ending):
        raise DiskFull("the disk is full")

    monkeypatch.setattr(exit_note, "write_note", full)
    leave_note(run, Seat("teacher", 0, 1), [], ExitCode.FAILED, "why", 0)
    assert "no note says how this ended: the disk is full" in caplog.text
