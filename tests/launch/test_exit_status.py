"""The notes that roles leave, read as a launcher needs them."""

import json

import pytest

from launch import exit_status
from launch.exit_status import Ending, clear_notes, main, read_endings, worst
from tsal_dist.errors import ExitCode
from tsal_dist.run_dir import RunDir, write_whole


@pytest.fixture
def run_dir(tmp_path, monkeypatch):
    monkeypatch.setattr(exit_status, "NOTE_WAIT_S", 0.0)
    return RunDir(tmp_path)


def leave(run_dir, role, code):
    note = {"code": code, "reason": f"because of {role}", "attempt": 0}
    write_whole(run_dir.exit_note(role), json.dumps(note).encode())


@pytest.mark.parametrize(
    ("student", "teacher", "code"),
    [(0, 0, 0), (0, 75, 75), (75, 75, 75), (75, 1, 1), (1, 2, 2), (75, None, 1), (0, -9, 1), (99, 0, 1)],
)
def test_one_roles_trouble_is_the_runs(run_dir, capsys, student, teacher, code):
    for role, left in (("student", student), ("teacher", teacher)):
        if left is not None:
            leave(run_dir, role, left)
    assert main([str(run_dir.root), "student", "teacher"]) == code
    assert "student: exit code" in capsys.readouterr().out


def test_every_crew_has_a_note_of_its_own(run_dir, capsys):
    leave(run_dir, "teacher", 0)
    leave(run_dir, "teacher-night", 1)
    assert main([str(run_dir.root), "teacher"]) == 0
    assert main([str(run_dir.root), "teacher", "teacher-night"]) == 1
    with pytest.raises(SystemExit):
        main([str(run_dir.root), "nobody"])
    assert "neither student nor teacher" in capsys.readouterr().err


@pytest.mark.parametrize(("teacher", "code"), [(None, 75), (75, 75), (1, 1), (0, 75)])
def test_silence_is_no_failure_where_it_was_asked_for(run_dir, teacher, code):
    if teacher is not None:
        leave(run_dir, "teacher", teacher)
    assert main([str(run_dir.root), "student", "teacher", "--asked"]) == code


def test_only_the_roles_that_took_part_are_asked(run_dir):
    leave(run_dir, "teacher", 1)
    leave(run_dir, "student", 75)
    assert read_endings(run_dir, ["student"]) == {"student": Ending(ExitCode.REQUEUE, "because of student")}


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"code": "0", "reason": ""}', '{"code": true, "reason": ""}', '{"code": 0}']
)
def test_a_damaged_note_is_no_note(run_dir, text):
    write_whole(run_dir.exit_note("student"), text.encode())
    assert worst(read_endings(run_dir, ["student"]).values()).code == ExitCode.FAILED


def test_notes_of_an_earlier_attempt_are_cleared(run_dir):
    leave(run_dir, "student", 75)
    clear_notes(run_dir, ["student", "teacher"])
    assert read_endings(run_dir, ["student"])["student"].reason == "left no note"


def test_a_late_note_is_waited_for(run_dir, monkeypatch):
    monkeypatch.setattr(exit_status.time, "sleep", lambda s: leave(run_dir, "student", 75))
    assert read_endings(run_dir, ["student"], wait_s=5.0)["student"].code == ExitCode.REQUEUE
