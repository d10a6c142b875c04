"""A line of the plan log that a disk, an editor or a stranger has changed is refused, not trained by; none is lost."""

import errno
import json

import pytest

from tests.fakes_rows import Scene
from tsal_dist.errors import DataError
from tsal_dist.exchange import lines
from tsal_dist.exchange.memory import MemoryStore
from tsal_dist.pseudo.step_plan import Plan, PlanLog, RowRange, load_plans


@pytest.mark.parametrize(
    "part",
    [
        ["t", 0, 0, None, 1, 1, 9, 9],
        ["t", 0, 5, 4, 1, 1, 9, 9],
        ["t", 0, -1, 4, 1, 1, 9, 9],
        ["t", 0, 0, 4, 1, None, 9, 9],
        ["t", "0", 0, 4, 1, 1, 9, 9],
        [5, 0, 0, 4, 1, 1, 9, 9],
        ["t", 0, 0, 4],
        5,
    ],
    ids=str,
)
def test_a_line_that_is_no_plan_is_refused_with_its_number(tmp_path, part):
    line = {"step": 1, "now_step": 1, "ranks": [[part]], "short_rows": 0, "reasons": {}}
    (tmp_path / "plan.jsonl").write_text(json.dumps(line) + "\n")
    with pytest.raises(DataError, match=r"plan\.jsonl, line 1, is no plan"):
        load_plans(tmp_path / "plan.jsonl")


def plan_of(step, seq=0):
    return Plan(step, step, ((RowRange("teacher-r0000-000001", seq, 0, 8, 1, 0, 10, 10),),))


def test_what_a_zombie_plans_is_not_what_was_trained(tmp_path):
    """It woke up between planning and asking whose turn it is: its line is last, and holds for nobody."""
    path = tmp_path / "plan.jsonl"
    zombie, successor = PlanLog(path, 1), PlanLog(path, 2)
    for step in range(4):
        zombie.write(plan_of(step, seq=1))
    for step in range(2, 6):
        successor.write(plan_of(step, seq=2))
    zombie.write(plan_of(4, seq=3))
    successor.write(plan_of(6, seq=2))
    found = [(plan.step, part.seq) for plan in load_plans(path) for part in plan.ranges()]
    assert found == [(0, 1), (1, 1), (2, 2), (3, 2), (4, 2), (5, 2), (6, 2)]
    again = PlanLog(path, 1)  # a copy of the run counts its processes anew
    again.write(plan_of(3, seq=9))
    assert [(plan.step, part.seq) for plan in load_plans(path) for part in plan.ranges()][-1] == (3, 9)


def test_no_flipped_bit_changes_what_is_replayed(tmp_path):
    path = tmp_path / "plan.jsonl"
    log = PlanLog(path, 1)
    for step in range(2):
        log.write(plan_of(step))
    log.close()
    whole, truth = path.read_bytes(), load_plans(path)
    for place in range(len(whole)):
        for bit in (0, 2, 4):
            data = bytearray(whole)
            data[place] ^= 1 << bit
            path.write_bytes(data)
            try:
                found = load_plans(path)
            except DataError:
                continue
            # Half a line at the end is a torn one, and what it says was never trained on.
            assert found == truth[: len(found)]


def test_plans_that_waited_for_room_are_written_at_the_end(tmp_path, monkeypatch):
    def refuse(handle, data):
        raise OSError(errno.ENOSPC, "full")

    path = tmp_path / "plan.jsonl"
    planner = Scene(MemoryStore()).planner(plan_log=PlanLog(path))
    with monkeypatch.context() as full:
        full.setattr(lines.os, "write", refuse)
        planner.plan(7, 4, 1)
    assert load_plans(path) == []
    planner.close()
    assert [plan.step for plan in load_plans(path)] == [7]
