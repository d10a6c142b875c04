"""Q2, Q3 among real processes: three teachers and a student, killed at random for half a minute, then audited."""

import json
import random
import subprocess
import sys
import time
from collections import defaultdict
from pathlib import Path

import pytest

from tests.fakes_rows import Scene
from tests.marks import against_the_clock
from tsal_dist.exchange.fence import RunEnd
from tsal_dist.exchange.posix import PosixStore
from tsal_dist.pseudo.log import Hole, LogReader
from tsal_dist.pseudo.topic import list_producers

WORKER = Path(__file__).with_name("kill_worker.py")
SECONDS = 30
UNIT = 2


def start(role, folder, rank=0):
    return subprocess.Popen([sys.executable, str(WORKER), role, str(folder), str(rank)])


@against_the_clock
@pytest.mark.slow
def test_random_kills_lose_no_row_and_train_none_too_often(tmp_path):
    run_store = PosixStore(tmp_path, create=True)
    queue = PosixStore(tmp_path / "queue", create=True)
    scene = Scene(queue, UNIT)
    stop = RunEnd(run_store)
    seats = [("teacher", 0), ("teacher", 1), ("teacher", 2), ("student", 0)]
    running = {seat: start(seat[0], tmp_path, seat[1]) for seat in seats}
    dice, kills = random.Random(4), 0
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        time.sleep(dice.uniform(0.6, 1.6))  # a start takes most of a second
        seat = dice.choice(seats)
        assert running[seat].poll() is None, f"{seat} ended by itself"
        running[seat].kill()
        running[seat].wait()
        kills += 1
        running[seat] = start(seat[0], tmp_path, seat[1])
    stop.announce("teachers first")
    for rank in range(3):
        assert running["teacher", rank].wait(timeout=60) == 0
    stop.announce("drain")
    assert running["student", 0].wait(timeout=120) == 0
    assert kills >= 15
    audit(tmp_path, scene)


def audit(folder, scene):
    """From the logs and the student's diary alone."""
    uses = defaultdict(list)
    for line in (folder / "diary.jsonl").read_bytes().splitlines():
        for (producer, seq, row), use in json.loads(line):
            uses[producer, seq, row].append(use)
    assert all(found in ([1], [1, 2]) for found in uses.values())
    trained = defaultdict(int)
    for producer, _, _ in uses:
        trained[producer] += 1
    counts = json.loads((folder / "checkpoint.json").read_bytes())["counts"]
    committed = 0
    for name in list_producers(scene.store):
        records = LogReader(scene.store, name).read()
        assert not [record for record in records if isinstance(record, Hole)]
        rows = sum(record.rows for record in records)
        committed += rows
        assert counts[name]["committed"] == rows
        assert counts[name]["delivered"] == trained[name]
        assert counts[name]["delivered"] + counts[name]["trimmed"] == rows
        assert counts[name]["trimmed"] == counts[name]["quarantined"] == counts[name]["pending"] == 0
    assert committed > 500  # it was no idle half minute, however busy the machine
