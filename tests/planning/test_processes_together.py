"""Teams of processes that only pretend to train: held, let go, counted, and missed when they are gone."""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tsal_dist.errors import TrainingError
from tsal_dist.planning.processes import MeasuredProcesses, fed_steps_per_s, share, take_turns

STEP_S = 0.02
WALKER = """
import json, os, sys, time
from pathlib import Path
words = dict(word.split("=", 1) for word in sys.argv[1:])
rank, folder = int(os.environ["RANK"]), Path(words["run.dir"], "metrics")
assert os.environ["WORLD_SIZE"] == os.environ["LOCAL_WORLD_SIZE"] == words["procs"]
assert os.environ["MASTER_PORT"].isdigit() and os.environ["OMP_NUM_THREADS"] == "1"
folder.mkdir(parents=True, exist_ok=True)
Path(folder, f"core-{rank}").write_text(repr(sorted(os.sched_getaffinity(0))))
end = int(words.get("end", 10**6))
for step in range(1, end + 1):
    if rank == 0:
        line = {"step": step, "time": time.time(), "speed/wait_share": 0.25, "queue/missing": 0}
        with open(folder / "student.jsonl", "a") as file:
            file.write(json.dumps(line) + "\\n")
    time.sleep(float(words["step_s"]))
if rank == 0:
    with open(folder / "student.jsonl", "a") as file:
        file.write(json.dumps({"step": end, "time": time.time(), "validation/nme": 0.5}) + "\\n")
sys.exit("error: the walker has no way to go")
"""


CAPTAIN = """
import sys, time
from pathlib import Path
from tsal_dist.planning.processes import MeasuredProcesses
team = MeasuredProcesses(Path(sys.argv[1]), ["procs=2", "step_s=0.02"], 2, [sys.argv[2]])
team.wait_for_step(1, 30)
team.hold()
print(*(process.pid for process in team._processes), flush=True)
time.sleep(60)
"""


@pytest.fixture
def start(tmp_path):
    """Start a team of walkers; they end with the test."""
    (tmp_path / "walker.py").write_text(WALKER)
    teams = []

    def start(name="run", procs=2, **words):
        settings = {"procs": procs, "step_s": STEP_S, **words}
        entry = [str(tmp_path / "walker.py")]
        teams.append(
            MeasuredProcesses(
                tmp_path / name, [f"{key}={value}" for key, value in settings.items()], procs, entry
            )
        )
        return teams[-1]

    yield start
    for team in teams:
        team.close()


def test_who_is_held_takes_no_step(start):
    team = start()
    team.wait_for_step(3, timeout_s=30)
    team.hold()
    time.sleep(5 * STEP_S)  # what was being written is on disk
    before = team.lines()
    time.sleep(20 * STEP_S)
    assert team.lines() == before
    team.go()
    team.wait_for_step(before[-1]["step"] + 3, timeout_s=30)


def test_what_is_watched_is_this_turn_alone(start):
    team = start()
    team.wait_for_step(3, timeout_s=30)
    team.hold()
    time.sleep(0.5)
    begun = time.time()
    lines = team.watch(0.5)
    assert all(line["time"] >= begun for line in lines)
    assert [line["step"] for line in lines] == list(range(lines[0]["step"], lines[0]["step"] + len(lines)))
    # The half second in which it was held is in no rate: a walker cannot be faster than its sleep.
    assert 0.2 / STEP_S < fed_steps_per_s(lines, 8) <= 1 / STEP_S
    assert share(lines, "wait") == pytest.approx(0.25)


def test_a_step_that_lacked_labels_counts_in_part():
    lines = [{"step": 10 + n, "time": 50.0 + n / 4, "queue/missing": 100 + 4 * n} for n in range(5)]
    assert fed_steps_per_s(lines, rows=16) == pytest.approx(3)


def test_teams_take_turns_and_only_one_works(start):
    quick, slow = start("quick"), start("slow", step_s=3 * STEP_S)
    for team in (quick, slow):
        team.wait_for_step(2, timeout_s=30)
        team.hold()
    begun = time.time()
    rates = take_turns([quick, slow], rounds=3, seconds=0.3, rows=8)
    assert [len(each) for each in rates] == [3, 3]
    seen = [(line["time"], name) for name, team in (("q", quick), ("s", slow)) for line in team.lines()]
    turns = "".join(name for when, name in sorted(seen) if when >= begun)
    while "qq" in turns or "ss" in turns:
        turns = turns.replace("qq", "q").replace("ss", "s")
    assert turns == "qsqs"  # qs, sq, qs: the second round begins with the one that ended the first


def test_a_short_turn_goes_on_until_enough_steps_are_whole(start):
    team = start(step_s=0.1)
    lines = team.watch(0.0, least=4)
    assert len(lines) > 4
    with pytest.raises(TrainingError, match="more steps after 0.3 s"):
        team.watch(0.1, least=1000, limit_s=0.3)


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="the system does not pin processes")
def test_each_process_has_one_core(start, tmp_path):
    start(procs=3).wait_for_step(20, timeout_s=30)
    cores = sorted(os.sched_getaffinity(0))
    for rank in range(3):
        kept = (tmp_path / "run" / "metrics" / f"core-{rank}").read_text()
        assert kept == repr([cores[rank % len(cores)]])


def test_who_ended_is_missed_with_its_last_words(start, tmp_path):
    team = start(end=2)
    with pytest.raises(TrainingError, match="error: the walker has no way to go") as caught:
        team.wait_for_step(1000, timeout_s=30)
    assert str(tmp_path / "run.out") in str(caught.value)
    slow = start("slow", step_s=60)
    with pytest.raises(TrainingError, match="not a word"):
        slow.wait_for_step(1000, timeout_s=0.2)


def test_who_was_killed_on_purpose_is_not_missed(start):
    team = start()
    team.kill(rank=1)
    team.watch(0.2)


def test_the_score_of_the_last_step_is_waited_for(start):
    team = start(end=5)
    team.wait_for_score(5, timeout_s=30)
    assert team.every_line()[-1]["validation/nme"] == 0.5
    assert "validation/nme" not in team.lines()[-1]
    with pytest.raises(TrainingError, match="no way to go"):
        team.wait_for_score(6, timeout_s=30)
    with pytest.raises(TrainingError, match="no score of step 6"):
        start("other").wait_for_score(6, timeout_s=0.1)


def test_nothing_is_left_of_a_closed_team(start):
    team = start()
    processes = list(team._processes)
    team.hold()
    team.close()
    assert all(process.returncode is not None for process in processes)


@pytest.mark.skipif(not shutil.which("setpriv"), reason="nothing here binds a process to its parent")
def test_a_held_team_ends_with_who_held_it(tmp_path):
    (tmp_path / "walker.py").write_text(WALKER)
    words = [sys.executable, "-c", CAPTAIN, str(tmp_path / "run"), str(tmp_path / "walker.py")]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as captain:
        try:
            walkers = captain.stdout.readline().split()
        finally:
            captain.kill()
    assert len(walkers) == 2
    deadline = time.monotonic() + 10
    while left := [pid for pid in walkers if alive(pid)]:
        assert time.monotonic() < deadline, f"{left} outlived their captain"
        time.sleep(0.05)


def alive(pid):
    """A zombie that nobody has waited for yet does no harm."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
