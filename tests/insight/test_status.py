"""tools/status.py tells the truth about a run that is young, going, hung, finished, or was killed."""

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.observe.runs import STUDENT, TEACHER, beat, end, write_run
from tools.status import main as status_tool
from tsal_dist.errors import ConfigError, ExchangeError
from tsal_dist.insight.bottleneck import LabelSupply, give_verdict
from tsal_dist.insight.status import Watcher
from tsal_dist.observe.panel import rows
from tsal_dist.observe.sinks import JsonlSink
from tsal_dist.observe.snapshot import read_snapshot
from tsal_dist.pseudo.step_plan import Plan, PlanLog, RowRange

ROOT = Path(__file__).parents[2]
FED = LabelSupply(fresh_rows=100, reused_rows=0, missing_rows=0)


class Time:
    """A clock that only sleeping moves, with something to do in the meantime."""

    def __init__(self, meanwhile=lambda: None):
        self.now = 0.0
        self.meanwhile = meanwhile

    def __call__(self):
        return self.now

    def sleep(self, seconds):
        self.now += seconds
        self.meanwhile()


def look(run, meanwhile=lambda: None):
    clock = Time(meanwhile)
    return Watcher(run, clock=clock, sleep=clock.sleep).look_twice()


def age(run, role, seconds):
    path = run.beat(role, 0)
    then = path.stat().st_mtime - seconds
    os.utime(path, (then, then))


def states(status):
    return {rank.beat.role: rank.state for rank in status.ranks}


def test_every_rank_says_what_it_holds(tmp_path):
    run = write_run(tmp_path)
    held = {"memory/rss_gb": 3.25, "memory/gpu_peak_gb": 41.0, "odd": "much", "whole": 10**400}

    def show(seq):
        beat(run, "student", seq=seq, step=51, rank=1, memory=held)
        beat(run, "teacher", seq=seq, step=51, memory="none")

    show(1)
    status = look(run, lambda: show(2))
    texts = [rank.text() for rank in status.ranks if rank.state == "alive"]
    assert texts == ["student 1 alive (train, 3.2 GB)", "teacher 0 alive (train)"]
    ranks = {(rank["role"], rank["rank"]): rank["memory"] for rank in status.to_json()["ranks"]}
    assert ranks["student", 1] == {"memory/rss_gb": 3.25, "memory/gpu_peak_gb": 41.0}
    assert ranks["teacher", 0] == ranks["student", 0] == {}


def test_what_moves_between_two_looks_is_alive(tmp_path):
    run = write_run(tmp_path)
    status = look(run, lambda: beat(run, "student", seq=99, step=51))
    assert states(status) == {"student": "alive", "teacher": "quiet"}
    assert not status.alarms


def add_crew(run, name, numbers, ranks=1):
    sink = JsonlSink(run.metrics(name))
    sink.write(50, numbers)
    sink.close()
    for rank in range(ranks):
        beat(run, name, seq=1, step=48, rank=rank)


def test_every_crew_of_teachers_is_told_of(tmp_path):
    run = write_run(tmp_path)
    add_crew(run, "teacher-night", {**TEACHER, "speed/parked_share": 0.8}, ranks=2)
    end(run, "teacher-night", code=1, reason="a defect")
    status = look(run, lambda: beat(run, "teacher", seq=99, step=51))
    assert list(status.snapshot.teachers) == ["teacher", "teacher-night"]
    assert status.snapshot.of_teachers("speed/parked_share") == pytest.approx((0.2 + 2 * 0.8) / 3)
    told = {(rank.beat.role, rank.beat.rank): rank.state for rank in status.ranks}
    assert told["teacher-night", 0] == told["teacher-night", 1] == "stopped"
    assert told["teacher", 0] == "alive", "the other crew's note is not its own"
    assert any(alarm.startswith("The teacher-night failed: a defect") for alarm in status.alarms)
    text = "\n".join(f"{row.label} {row.text}" for row in [*rows(status.snapshot, 50), *status.rows()])
    assert "teacher-night version 50" in text
    assert status.to_json()["teacher-night"]["speed/parked_share"] == 0.8


def test_a_crew_without_a_name_need_not_be_there(tmp_path):
    run = write_run(tmp_path)
    run.metrics("teacher").unlink()
    run.beat("teacher", 0).write_bytes(b"")  # made by the student, which looked for it
    add_crew(run, "teacher-night", TEACHER)
    assert list(read_snapshot(run).teachers) == ["teacher-night"]


def test_a_killed_run_is_silent_since_its_last_beat(tmp_path):
    run = write_run(tmp_path)
    age(run, "student", 600)
    age(run, "teacher", 600)
    status = look(run)
    assert states(status) == {"student": "silent", "teacher": "silent"}
    assert "student 0 silent for 0:10:0" in status.alarms[0]
    assert not status.over


def test_a_file_from_the_future_does_not_make_the_dead_alive(tmp_path):
    run = write_run(tmp_path)
    age(run, "student", -600)
    assert states(look(run))["student"] == "quiet"


def test_a_watcher_notices_when_a_living_role_falls_silent(tmp_path):
    run, clock = write_run(tmp_path), Time()
    watcher = Watcher(run, clock=clock, sleep=clock.sleep)
    for seq in range(3):
        beat(run, "student", seq, step=50 + seq)
        status = watcher.look()
        clock.now += 2
    assert states(status)["student"] == "alive"
    clock.now += 30
    assert states(watcher.look())["student"] == "quiet"
    clock.now += 31
    assert states(watcher.look())["student"] == "silent"


def test_a_finished_run_is_finished_at_once(tmp_path):
    run = write_run(tmp_path, steps=100)
    for role in ("student", "teacher"):
        beat(run, role, seq=101, step=0, phase="done")
        end(run, role)
    status = look(run, meanwhile=lambda: pytest.fail("there is nothing to wait for"))
    assert status.over
    assert states(status) == {"student": "finished", "teacher": "finished"}
    assert status.snapshot.step == 100
    assert not status.alarms


def test_a_failed_role_says_why_and_a_requeued_one_is_no_alarm(tmp_path):
    run = write_run(tmp_path)
    end(run, "student", code=1, reason="The detector collapsed.")
    end(run, "teacher", code=75, reason="SIGTERM")
    status = look(run)
    assert status.over
    assert status.alarms == ("The student failed: The detector collapsed.",)


@pytest.mark.parametrize(
    ("student", "teacher", "usage", "expected"),
    [
        (
            {"speed/wait_share": 0.12},
            {"speed/parked_share": 0.0},
            FED,
            "Students wait for labels 12% of the time: one more teacher would help.",
        ),
        (
            {"speed/wait_share": 0.06},
            {"speed/parked_share": 0.6},
            FED,
            "the labels are there, and reading them is slow",
        ),
        ({"speed/wait_share": 0.8}, {"speed/parked_share": 0.0}, FED, "about 4 more teachers would help"),
        (
            {},
            {},
            LabelSupply(40, 50, 10),
            "40% were fresh, 50% were trained on again, 10% missing: about 2 more teachers would help",
        ),
        ({}, {"speed/parked_share": 0.8}, FED, "Teachers are parked 80% of the time"),
        ({}, {"speed/unwanted_share": 0.9}, LabelSupply(0, 0, 10), "The gate is closed most of the time"),
        ({"speed/data_share": 0.4}, {}, FED, "Students wait for pixels 40% of the time: raise data.workers"),
        ({"speed/upkeep_share": 0.5}, {}, FED, "saving take 50% of the students' time"),
        ({"speed/wait_share": 0.04}, {}, FED, "Balanced: students wait for labels 4% of the time"),
        ({}, {}, FED, "Balanced: students wait for labels 0% of the time, teachers are parked 20%."),
    ],
)
def test_the_verdict_names_the_bottleneck(tmp_path, student, teacher, usage, expected):
    run = write_run(tmp_path, student=STUDENT | student, teacher=TEACHER | teacher)
    assert expected in give_verdict(read_snapshot(run), usage)


def test_the_verdict_knows_the_ages_of_a_run(tmp_path):
    assert "Too early" in give_verdict(read_snapshot(write_run(tmp_path / "a", steps=0)), FED)
    assert "Burn-in" in give_verdict(read_snapshot(write_run(tmp_path / "b", steps=10)), FED)
    alone = write_run(tmp_path / "c", method={"name": "supervised"})
    assert "One role" in give_verdict(read_snapshot(alone), FED)


@pytest.mark.parametrize(
    ("student", "teacher", "expected"),
    [
        ({"loss/heat": float("nan")}, {}, "A loss was not a finite number"),
        ({"queue/committed": 100.0, "queue/trimmed": 30.0}, {}, "30% of all labels were dropped"),
        ({"checkpoint/age_steps": 2000}, {}, "No checkpoint for 2000 steps, although one is due every 500"),
        (
            {},
            {"gate/open": 0.0},
            "The gate has been closed since step 20, 9 versions: the teacher's NME is 0.0500",
        ),
    ],
)
def test_alarms(tmp_path, student, teacher, expected):
    run = write_run(tmp_path, steps=100, student=STUDENT | student, teacher=TEACHER | teacher)
    (alarm,) = look(run, lambda: beat(run, "student", 999, 100)).alarms
    assert expected in alarm


def test_falling_peaks_are_an_alarm_before_training_stops(tmp_path):
    run = write_run(tmp_path)
    with open(run.metrics("student"), "a") as file:
        for step in range(60, 70):
            file.write(json.dumps({"step": step, "time": 0, "unlabelled/peak_mean": 0.22}) + "\n")
    (alarm,) = look(run).alarms
    assert "fell from 0.400 to 0.220" in alarm


def test_what_the_student_got_of_labels_is_read_from_the_plan_log(tmp_path):
    run = write_run(tmp_path)
    log = PlanLog(run.metrics("plan"))

    def part(start, use):
        return RowRange("teacher-r0000-000001", 0, start, start + 4, use, 10, 1, 1)

    log.write(Plan(20, 20, ((part(0, 1),), (part(4, 1),))))
    log.write(Plan(21, 21, ((part(0, 2),), (part(8, 1),)), short_rows=3))
    log.close()
    assert look(run).usage == LabelSupply(fresh_rows=12, reused_rows=4, missing_rows=6)


def run_tool(*words):
    return subprocess.run(
        [sys.executable, ROOT / "tools/status.py", *map(str, words)],
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_the_command_on_a_run_and_on_none(tmp_path):
    run = write_run(tmp_path / "run")
    for role in ("student", "teacher"):
        beat(run, role, seq=101, step=0, phase="done")
    done = run_tool(run.root)
    assert done.returncode == 0
    assert "verdict  Balanced" in done.stdout
    told = json.loads(run_tool(run.root, "--json").stdout)
    assert (told["step"], told["over"], told["alarms"]) == (50, True, [])
    none = run_tool(tmp_path)
    assert (none.returncode, none.stderr.count("\n")) == (2, 1)
    assert "no run.json" in none.stderr


def test_watching_ends_with_the_run(tmp_path):
    run = write_run(tmp_path)
    for role in ("student", "teacher"):
        beat(run, role, seq=101, step=0, phase="done")
    assert "student 0 finished" in run_tool(run.root, "--watch").stdout


def test_watching_for_programs_prints_a_line_per_look(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("tsal_dist.insight.status.LOOK_S", 0.0)
    run, looks = write_run(tmp_path), []

    def look(watcher):
        looks.append(1)
        for role in ("student", "teacher"):
            beat(run, role, seq=100 + len(looks), step=0, phase="done" if len(looks) == 5 else "train")
        return seen(watcher)

    seen = Watcher.look
    monkeypatch.setattr(Watcher, "look", look)
    assert status_tool([str(run.root), "--watch", "--json"]) == 0
    told = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [one["over"] for one in told] == [False, False, True]
    assert {rank["state"] for rank in told[0]["ranks"]} == {"alive"}, "which one look cannot know"


def test_a_process_that_is_killed_is_found_out(tmp_path):
    run, clock = write_run(tmp_path, runtime={"deadlines": {"silent_s": 4}}), Time()
    code = f"""
import time
from pathlib import Path
from tsal_dist.exchange.beat import Heart
from tsal_dist.exchange.posix import PosixStore
heart = Heart(PosixStore(Path({str(tmp_path)!r})), "student", 0, 1)
for step in range(1000):
    heart.beat("train", step)
    time.sleep(0.2)
"""
    worker = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT)
    try:
        watcher = Watcher(run, clock=clock, sleep=clock.sleep)
        deadline = time.monotonic() + 30
        while states(watcher.look())["student"] != "alive":
            assert time.monotonic() < deadline
            time.sleep(0.1)
    finally:
        worker.kill()  # SIGKILL: it can say nothing
        worker.wait()
    watcher.look()  # its last beats
    clock.now += 4.5
    assert states(watcher.look())["student"] == "silent"
    age(run, "student", 4.5)
    assert states(Watcher(run).look())["student"] == "silent"  # one that has not seen it alive


def test_a_dead_run_says_how_to_go_on(tmp_path):
    run = write_run(tmp_path)
    for role in ("student", "teacher"):
        age(run, role, 600)
    status = look(run)
    assert (
        status.verdict
        == "The student is gone: the same command with --resume goes on from step 40, 10 steps behind."
    )
    assert not status.going


def test_status_needs_no_torch():
    code = "import sys; import tsal_dist.insight.status; raise SystemExit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


NOT_OURS = (
    b"{",
    b"[]",
    b"5",
    b"null",
    b"\xff\xfe",
    b"[" * 9000,
    b'{"step": NaN}',
    b'{"step": 2, "gate/open": "x"}\n',
)


@pytest.mark.parametrize("raw", NOT_OURS, ids=lambda raw: repr(raw[:12]))
@pytest.mark.parametrize(
    "name",
    [
        "ctl/beat/student-0.json",
        "ctl/exit/student.json",
        "metrics/student.jsonl",
        "metrics/plan.jsonl",
        "ctl/stop",
    ],
)
def test_a_damaged_file_hides_no_other(tmp_path, name, raw):
    run = write_run(tmp_path)
    path = run.root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(raw)
    status = look(run)
    json.dumps(status.to_json(), allow_nan=False)
    assert status.rows()


@pytest.mark.parametrize("raw", NOT_OURS[:7], ids=lambda raw: repr(raw[:12]))
def test_a_damaged_run_json_is_named(tmp_path, raw):
    run = write_run(tmp_path)
    run.run_json.write_bytes(raw)
    with pytest.raises(ConfigError, match=r"run\.json"):
        look(run)


def test_what_cannot_be_read_is_one_sentence(tmp_path):
    """Not a traceback, and not that nothing is saved: a run would be started anew for that."""
    run = write_run(tmp_path / "a")
    shutil.rmtree(run.checkpoints("student"))
    run.checkpoints("student").touch()
    with pytest.raises(ExchangeError, match="Cannot list .*student: something on the way there is a file"):
        look(run)
    run = write_run(tmp_path / "b")
    run.run_json.unlink()
    run.run_json.mkdir()
    with pytest.raises(ExchangeError, match=r"Cannot read .*run\.json: a folder is in the way"):
        look(run)
