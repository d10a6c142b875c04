"""Two roles in two processes that take turns compute what one process does, to the bit."""

import pytest

from tests.checkpoint.equality import equal
from tests.marks import against_the_clock
from tests.roles.short_runs import plans, short_config, student_of, train
from tests.runs.jobs import QUICK, committed, kill, log_text, worker_pid
from tsal_dist.errors import ConfigError
from tsal_dist.recipes.conformance.sameness import assert_same_end

LOCKSTEP = ("runtime.topology=split", "runtime.lockstep=true")
GATED = ("train.gate.enabled=true", "train.gate.slack=0", "runtime.teacher_cycle=2", "train.burn_in_steps=3")
"""A gate that may close, and cycles that begin between two versions: short plans and late labels."""


def assert_same(first, second):
    """What came of it, and which rows each step was trained on."""
    assert_same_end(first, second)
    assert plans(first) == plans(second)


@pytest.mark.ranks
@pytest.mark.parametrize(
    "settings",
    [(), GATED, ("train.priority=0.5",), ("train.loss.headroom=true", "runtime.log.evaluate_every=4")],
    ids=["plain", "gated", "with feedback", "with headroom"],
)
def test_lockstep_equals_inline(faces, tmp_path, settings):
    inline = train(faces, tmp_path / "inline", *settings)
    split = train(faces, tmp_path / "split", *LOCKSTEP, *settings, world=2)
    assert_same(inline, split)


@pytest.mark.ranks
@pytest.mark.slow
def test_two_teachers_and_two_students_equal_two_inline_processes(faces, tmp_path):
    halves = ("train.labelled_batch=2", "train.unlabelled_batch=4")
    inline = train(faces, tmp_path / "inline", *halves, world=2)
    split = train(faces, tmp_path / "split", *LOCKSTEP, *halves, "runtime.teachers=2", world=4)
    assert_same(inline, split)


def test_roles_of_unlike_size_are_refused(faces, tmp_path):
    from tsal_dist.roles.lockstep import check_seats

    check_seats(2, 2)
    with pytest.raises(ConfigError, match="as many teachers as students, and there are 1 and 2"):
        check_seats(2, 1)
    with pytest.raises(ConfigError, match="Use topology 'split'"):
        short_config(
            faces, tmp_path, "runtime.lockstep=true", "runtime.topology=detached", "runtime.role=student"
        )


LONGER = ("train.steps=40", "train.optim.warmup_steps=4")


@pytest.fixture(scope="module")
def inline(faces, tmp_path_factory):
    """The same run in one process."""
    folder = tmp_path_factory.mktemp("inline") / "run"
    return train(faces, folder, *QUICK, *LONGER, "runtime.topology=inline")


@against_the_clock
@pytest.mark.slow
@pytest.mark.parametrize("role", ["teacher", "student"])
def test_a_killed_lockstep_run_goes_on_to_the_bit(inline, faces, tmp_path, jobs, role):
    """Under torchrun, which starts both roles again: each finds where the other stands."""
    folder = tmp_path / "split"
    job = jobs.torchrun(faces, folder, 2, *LONGER, *LOCKSTEP, restarts=1)
    job.until(lambda: committed(folder), "a checkpoint")
    kill(worker_pid(folder, role))
    assert job.finish() == 0, job.output
    assert "resumed from step" in log_text(folder, "student")
    assert equal(student_of(inline), student_of(folder))


@against_the_clock
@pytest.mark.slow
@pytest.mark.ranks
def test_a_killed_lockstep_run_of_two_and_two_goes_on_to_the_bit(faces, tmp_path, jobs):
    """Which student trains on whose labels decides in which order their gradients' parts are added up."""
    words = ("train.steps=24", "train.optim.warmup_steps=4", "runtime.teachers=2", *LOCKSTEP)
    alone, killed = tmp_path / "alone", tmp_path / "killed"
    job = jobs.torchrun(faces, alone, 4, *words)
    assert job.finish() == 0, job.output
    job = jobs.torchrun(faces, killed, 4, *words, restarts=1)
    job.until(lambda: committed(killed), "a checkpoint")
    kill(worker_pid(killed, "student", 1))
    assert job.finish() == 0, job.output
    assert "resumed from step" in log_text(killed, "student")
    assert equal(student_of(alone), student_of(killed))
