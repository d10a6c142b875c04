"""A block in place on a terminal, a plain line now and then in a log; both from files."""

import errno
import io
import logging
import math

import pytest
from rich.console import Console

from tests.observe.runs import beat, write_run
from tsal_dist.errors import ConfigError
from tsal_dist.observe.display import Display
from tsal_dist.observe.panel import draw, format_line, rows
from tsal_dist.observe.sinks import JsonlSink
from tsal_dist.observe.snapshot import read_snapshot
from tsal_dist.run_dir import RunDir


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


def shown(run_dir, step=None):
    console = Console(file=io.StringIO(), width=100)
    console.print(draw(read_snapshot(run_dir), step))
    return console.file.getvalue()


def test_the_block_tells_of_both_roles(tmp_path):
    text = shown(write_run(tmp_path))
    assert "50/100 50%, 2 steps/s, 0:00:25 left" in text
    assert "version 50, 0 steps behind, gate open (NME 0.0500, student 0.0600)" in text
    assert "96 rows wait, labels 12 steps old, rho 0.10, 0 quarantined" in text
    assert "step 40; a crash now costs 10 steps" in text


def test_the_line(tmp_path):
    line = format_line(read_snapshot(write_run(tmp_path)), step=60)
    assert line.startswith("step 60/100 60%, 2 steps/s, 0:00:20 left | loss 0.5 | waits 0% | 96 rows wait")
    assert line.endswith(
        "| teacher version 50, 10 steps behind, gate open (NME 0.0500, student 0.0600) | parked 20% | saved 40"
    )


def test_a_run_that_has_written_nothing_yet_is_shown(tmp_path):
    run = write_run(tmp_path, steps=0)
    text = shown(run)
    assert "0/100 0%" in text
    assert "no version absorbed yet" in text


def test_a_run_without_teacher_does_not_speak_of_one(tmp_path):
    run = write_run(tmp_path, teacher={}, method={"name": "supervised"})
    assert "teacher" not in shown(run)
    assert "teacher" not in format_line(read_snapshot(run))


def test_no_run_is_an_error_with_the_way_out(tmp_path):
    with pytest.raises(ConfigError, match=r"no run\.json"):
        read_snapshot(RunDir(tmp_path))


def test_a_beat_that_is_ahead_of_the_metrics_counts(tmp_path):
    run = write_run(tmp_path)
    beat(run, "student", seq=99, step=57)
    assert read_snapshot(run).step == 57


def test_a_score_that_is_no_number_lends_its_step_to_no_other(tmp_path):
    """Held-out frames without a length to divide by: no validation has a number, and the panel has none to show."""
    run = write_run(tmp_path, student={"speed/steps_per_s": 2.0})
    sink = JsonlSink(run.metrics("student"))
    sink.write(50, {"validation/nme": math.nan})
    sink.close()
    assert not any(" at 50" in row.text for row in rows(read_snapshot(run), 50))


def test_a_log_gets_a_line_now_and_then_and_the_last_one(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    run, clock = write_run(tmp_path), Clock()
    with Display(run, every_s=30, console=Console(file=io.StringIO()), clock=clock) as display:
        for step in range(1, 101):
            display.update(step)
            clock.now += 1
    assert [text.split()[1] for text in caplog.messages] == ["31/100", "61/100", "91/100", "100/100"]


def test_a_terminal_gets_the_block_in_place(tmp_path):
    run, clock, out = write_run(tmp_path), Clock(), io.StringIO()
    console = Console(file=out, force_terminal=True, width=100)
    with Display(run, console=console, clock=clock) as display:
        for step in range(1, 51):
            display.update(step)
            clock.now += 0.25
    assert "49/100" in out.getvalue()
    assert 24 < out.getvalue().count(" left") < 30


def test_a_file_that_cannot_be_read_just_now_ends_no_training(tmp_path, monkeypatch, caplog):
    """On NFS a heartbeat may be replaced in the middle of a look."""
    caplog.set_level(logging.INFO)
    run, clock = write_run(tmp_path), Clock()

    def stale(*words):
        raise OSError(errno.ESTALE, "Stale file handle")

    with Display(run, every_s=30, console=Console(file=io.StringIO()), clock=clock) as display:
        with monkeypatch.context() as patched:
            patched.setattr("tsal_dist.observe.snapshot.read_beats", stale)
            clock.now = 31
            display.update(5)
        assert caplog.messages == []
        clock.now = 62
        display.update(6)
    assert caplog.messages[0].startswith("step 6/100")
