"""Metrics survive crashes and resumes, and go wherever they were asked to go."""

import errno
import json
import math
import sys
import time

import pytest

from tsal_dist.config.runtime import LogConfig
from tsal_dist.errors import MissingExtra
from tsal_dist.observe.sinks import JsonlSink, open_sinks, read_metrics
from tsal_dist.run_dir import RunDir


def write_steps(path, steps, value):
    sink = JsonlSink(path)
    for step in steps:
        sink.write(step, {"loss": value})
    sink.close()


def test_lines_are_json_with_step_and_time(tmp_path):
    sink = open_sinks(RunDir(tmp_path), "student")
    sink.write(3, {"loss": 0.5, "bad": math.nan})
    (text,) = RunDir(tmp_path).metrics("student").read_text().splitlines()  # before close: seen at once
    sink.close()
    line = json.loads(text)
    assert line.pop("time") > 1e9
    assert line == {"step": 3, "loss": 0.5, "bad": None}


def test_an_abandoned_attempt_is_left_out(tmp_path):
    path = tmp_path / "student.jsonl"
    write_steps(path, [10, 20, 30, 40], 1.0)
    write_steps(path, [20, 30], 2.0)
    assert [(line["step"], line["loss"]) for line in read_metrics(path)] == [(10, 1.0), (20, 2.0), (30, 2.0)]


def test_two_voices_on_one_step_both_count(tmp_path):
    path = tmp_path / "student.jsonl"
    write_steps(path, [10], 1.0)
    sink = JsonlSink(path)
    sink.write(10, {"validation/nme": 0.1})
    sink.close()
    assert len(read_metrics(path)) == 2


def test_an_attempt_that_was_killed_at_the_first_step_after_its_checkpoint_is_left_out(tmp_path):
    path = tmp_path / "student.jsonl"
    write_steps(path, [10, 20], 1.0)
    write_steps(path, [20, 30], 2.0)
    assert [(line["step"], line["loss"]) for line in read_metrics(path)] == [(10, 1.0), (20, 2.0), (30, 2.0)]


def test_a_torn_line_costs_only_itself(tmp_path):
    path = tmp_path / "student.jsonl"
    write_steps(path, [10, 20], 1.0)
    path.write_bytes(path.read_bytes()[:-9])
    assert [line["step"] for line in read_metrics(path)] == [10]
    write_steps(path, [20], 2.0)
    assert [(line["step"], line["loss"]) for line in read_metrics(path)] == [(10, 1.0), (20, 2.0)]


def test_no_file_is_no_metrics(tmp_path):
    assert read_metrics(tmp_path / "none.jsonl") == []


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # tensorboard's own imports
def test_tensorboard_gets_the_same_numbers(tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    sink = open_sinks(RunDir(tmp_path), "student", LogConfig(tensorboard=True))
    sink.write(7, {"loss": 0.25})
    sink.close()
    events = EventAccumulator(str(tmp_path / "metrics" / "tensorboard" / "student"))
    events.Reload()
    assert [(event.step, event.value) for event in events.Scalars("loss")] == [(7, 0.25)]
    assert read_metrics(RunDir(tmp_path).metrics("student"))[0]["loss"] == 0.25


@pytest.mark.filterwarnings(
    "ignore::DeprecationWarning", "ignore::pytest.PytestUnhandledThreadExceptionWarning"
)
def test_a_full_disk_silences_tensorboard_and_nobody_else(tmp_path, monkeypatch, caplog):
    pytest.importorskip("tensorboard")
    from tensorboard.summary.writer.record_writer import RecordWriter

    def full(*words):
        raise OSError(errno.ENOSPC, "No space left on device")

    sink = open_sinks(RunDir(tmp_path), "student", LogConfig(tensorboard=True))
    monkeypatch.setattr(RecordWriter, "write", full)
    monkeypatch.setattr(RecordWriter, "flush", full)
    for step in range(40):  # its thread meets the disk some lines later
        sink.write(step, {"loss": 0.25})
        time.sleep(0.01)
    sink.close()
    assert len(read_metrics(RunDir(tmp_path).metrics("student"))) == 40
    assert sum("TensorBoard is told no more" in text for text in caplog.messages) == 1


def test_without_tensorboard_the_remedy_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(MissingExtra, match=r"pip install 'tsal_dist\[report\]'"):
        open_sinks(RunDir(tmp_path), "student", LogConfig(tensorboard=True))


def test_lines_that_no_sink_has_written_are_left_out(tmp_path):
    path = tmp_path / "m.jsonl"
    write_steps(path, [1], 0.5)
    with open(path, "ab") as file:
        file.write(
            b'5\n[]\n{"loss": 1}\n{"step": "2"}\n{"step": NaN}\n\xff\n'
            + bytes(9)
            + b"\n"
            + b"[" * 9000
            + b"\n"
        )
    write_steps(path, [2], 0.25)
    assert [(line["step"], line["loss"]) for line in read_metrics(path)] == [(1, 0.5), (2, 0.25)]
