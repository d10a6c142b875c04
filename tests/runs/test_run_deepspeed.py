"""A student on DeepSpeed in a split run: it publishes whole weights, saves, and goes on where it was."""

import signal

import pytest
from safetensors.numpy import load_file

from tests.checkpoint.equality import equal
from tests.marks import against_the_clock
from tests.roles.short_runs import plans, saved
from tests.runs.jobs import Jobs, committed, kill, last_numbers, log_text, notes, worker_pid
from tsal_dist.errors import ExitCode

pytestmark = [against_the_clock, pytest.mark.ranks, pytest.mark.slow, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def compiled(faces, tmp_path_factory):
    """DeepSpeed's operator, which its first use on a machine compiles: for minutes where that has other work, and no
    deadline between two roles is to run meanwhile."""
    with Jobs() as jobs:
        alone = (
            "method.name=supervised",
            "runtime.student.kind=deepspeed",
            "train.steps=1",
            "train.burn_in_steps=0",
        )
        job = jobs.torchrun(faces, tmp_path_factory.mktemp("compiled") / "run", 1, *alone)
        assert job.finish(600) == 0, job.output


@pytest.mark.parametrize("context", [2, 3])
def test_a_split_run_on_deepspeed(compiled, faces, jobs, tmp_path, context):
    run = tmp_path / "run"
    words = (
        "train.steps=24",
        "runtime.student.kind=deepspeed",
        f"runtime.student.zero_stage={context}",
        "runtime.checkpoint.every=6",
    )
    job = jobs.torchrun(faces, run, 3, *words)
    job.until(lambda: committed(run), "checkpoint", limit_s=240)
    job.send(signal.SIGTERM)
    job.finish()
    assert notes(run)["student"] in (ExitCode.REQUEUE, ExitCode.DONE)
    again = jobs.torchrun(faces, run, 3, *words, flags=["--resume"])
    assert again.finish(240) == 0, again.output
    assert notes(run) == {"student": ExitCode.DONE, "teacher": ExitCode.DONE}
    assert "resumed from step" in log_text(run, "student")
    assert committed(run)[-1] == 24
    assert last_numbers(run, "student")["queue/delivered"] > 0
    assert last_numbers(run, "teacher")["step"] > 4

    shapes = {name: value.shape for name, value in saved(run, "student")["engine"]["weights"].items()}
    newest = sorted((run / "weights" / "student").glob("v*"))[-1]
    (file,) = newest.glob("*.safetensors")
    published = load_file(file)
    assert {name: value.shape for name, value in published.items()}.items() <= shapes.items()
    assert sum(value.size for value in published.values()) > 1000, "whole tensors, not this rank's share"


IN_TURNS = (
    "train.steps=24",
    "train.optim.warmup_steps=4",
    "runtime.lockstep=true",
    "runtime.teachers=2",
    "runtime.student.kind=deepspeed",
    "runtime.student.zero_stage=2",
    "runtime.deadlines.silent_s=60",
    "runtime.deadlines.meet_s=60",
    "runtime.deadlines.group_s=100",
    "runtime.deadlines.shutdown_s=150",
    "runtime.deadlines.grace_s=200",
)


@pytest.fixture(scope="module")
def alone(compiled, faces, tmp_path_factory):
    """A run of two and two in lockstep that nobody disturbs."""
    run = tmp_path_factory.mktemp("alone") / "run"
    with Jobs() as jobs:
        job = jobs.torchrun(faces, run, 4, *IN_TURNS)
        assert job.finish(360) == 0, job.output
    return run


@pytest.mark.parametrize("victim", [("student", 1), ("teacher", 0)], ids=["a student", "a teacher"])
def test_a_killed_run_on_deepspeed_goes_on_to_the_bit(alone, faces, jobs, tmp_path, victim):
    """As DDP's in test_lockstep.py, and for the same reason in lockstep: elsewhere which labels there are is a matter of
    time. Held against the same run left alone, as DeepSpeed's optimiser rounds otherwise than inline's. Two students, so
    that what a rank saves of the optimiser is its share."""
    run = tmp_path / "killed"
    job = jobs.torchrun(faces, run, 4, *IN_TURNS, restarts=1)
    job.until(lambda: committed(run), "a checkpoint", limit_s=240)
    kill(worker_pid(run, *victim))
    assert job.finish(360) == 0, job.output
    assert "resumed from step" in log_text(run, "student")
    for role in ("student", "teacher"):
        assert equal(saved(run, role)["engine"], saved(alone, role)["engine"]), role
    assert nameless(plans(run)) == nameless(plans(alone))


def nameless(plans):
    """Rows, use and teacher's step of every part, whoever made it: a second life has producers of its own."""
    return [[part[2:] for rank in ranks for part in rank] for ranks in plans]
