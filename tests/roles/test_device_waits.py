"""What a student's step asks of its device and of its peers: one reduction, and no number before it is due."""

import numpy as np
import pytest
import torch
import torch.distributed as dist

from tests.host_reads import host_reads
from tests.ranks import run_ranks
from tests.roles.short_runs import short_config, train_rank, words
from tsal_dist.dist.step_sums import StepSums


def test_the_spy_sees_what_it_should():
    with host_reads() as found:
        x = torch.arange(4.0)
        float(x[0]), x.sum().item(), bool(x[1] > 0), x.tolist(), x.cpu(), x.numpy()
        x[x > 1], x.nonzero(), torch.tensor([1.0], device="cpu")
    assert len(found) >= 9
    with host_reads() as found:
        torch.full((), 2.0, device="cpu") * x[2] + x.sum()
    assert found == []


def sums_of(rank, world):
    sums = StepSums()
    given = []
    for step in range(3):
        given.append({name: value.tolist() for name, value in sums.take_late().items()})
        late = {"peak": torch.tensor(rank + step + 0.5)} if step else {}
        now = {"count": torch.tensor(2**24 + 1 + rank, dtype=torch.float64), "few": torch.ones(2)}
        found = sums.reduce(now, late)
    given.append({name: value.tolist() for name, value in sums.take_late().items()})
    return found["count"].item(), found["few"].tolist(), found["few"].dtype, given, sums.take_late()


@pytest.mark.ranks
def test_sums_come_at_once_and_a_step_late():
    for count, few, dtype, late, after in run_ranks(sums_of, 2):
        assert count == 2 * (2**24 + 1) + 1  # more than float32 can hold
        assert (few, dtype) == ([2.0, 2.0], torch.float32)
        assert late == [{}, {}, {"peak": 4.0}, {"peak": 6.0}]
        assert after == {}


def test_what_a_lost_history_gave_is_forgotten():
    sums = StepSums()
    sums.reduce({"count": torch.ones(())}, {"peak": torch.ones(())})
    sums.forget()
    assert sums.take_late() == {}


def spied_run(rank, world, argv):
    """A run in which every step of the student is watched."""
    from tsal_dist.roles.student import Student

    calls, steps = [], []
    whole = Student.step
    for name in ("all_reduce", "broadcast", "all_gather", "barrier"):
        original = getattr(dist, name)
        setattr(dist, name, lambda *a, _of=original, _name=name, **k: (calls.append(_name), _of(*a, **k))[1])

    def step(student):
        before, due = len(calls), student.step_number + 1
        with host_reads() as reads:
            whole(student)
        is_due = due % student.config.runtime.log.every == 0 or student.numbers_due
        steps.append((due, is_due, calls[before:], list(reads), "unlabelled/peak_mean" in student.metrics))

    Student.step = step
    assert train_rank(rank, world, argv) == 0
    return steps


@pytest.mark.ranks
@pytest.mark.parametrize("recipe", ["supervised", "tsal", "mean_teacher"])
def test_a_step_is_one_reduction_and_asks_for_nothing_between_two_lines(faces, tmp_path, recipe):
    argv = words(faces, tmp_path / "run", f"method.name={recipe}", "runtime.log.every=4")
    for steps in run_ranks(spied_run, 2, argv, group=False):
        assert [due for due, *_ in steps] == list(range(1, 9))
        assert [calls for _, _, calls, _, _ in steps] == [["all_reduce"]] * 8
        for due, is_due, _, reads, _ in steps:
            if not is_due:
                assert reads == [], f"step {due}"
        assert any(reads for _, is_due, _, reads, _ in steps if is_due), "where they are due they are read"


def student_at(faces, folder):
    """A config's labeller and gauge, as a rank has them."""
    from types import SimpleNamespace

    from tsal_dist.metrics.gauge import CollapseGauge
    from tsal_dist.roles.student import Student

    student = object.__new__(Student)
    student.config, student.world = short_config(faces, folder), 1
    student.sums, student.gauge = StepSums(), CollapseGauge()
    seen = []
    label = SimpleNamespace(observe=lambda moments: seen.append(moments.tolist()))
    student.recipe = SimpleNamespace(label=label)
    return student, seen


def test_what_is_usual_is_learnt_once_even_where_a_checkpoint_comes_between(faces, tmp_path):
    student, seen = student_at(faces, tmp_path)
    for step in range(3):
        student._take_in_late_sums()
        if step == 1:
            student._take_in_late_sums()  # as state_dict does
        student.sums.reduce(
            {},
            {"moments": torch.full((2,), float(step)), "peak": torch.tensor(0.5), "lost": torch.zeros(())},
        )
    assert seen == [[0.0, 0.0], [1.0, 1.0]]
    assert student.gauge.running == pytest.approx(0.5)
    assert np.isfinite(student.gauge.reference)
