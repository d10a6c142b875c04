"""A student on DeepSpeed in a split run: it publishes whole weights, saves, and goes on where it was."""

import signal

import pytest
from safetensors.numpy import load_file

from tests.roles.short_runs import saved
from tests.runs.jobs import committed, last_numbers, log_text, notes
from tsal_dist.errors import ExitCode

pytestmark = [pytest.mark.ranks, pytest.mark.slow, pytest.mark.timeout(400)]


@pytest.mark.parametrize("context", [2, 3])
def test_a_split_run_on_deepspeed(faces, jobs, tmp_path, context):
    run = tmp_path / "run"
    words = (
        "train.steps=24",
        "runtime.student.kind=deepspeed",
        f"runtime.student.zero_stage={context}",
        "runtime.checkpoint.every=6",
    )
    job = jobs.torchrun(faces, run, 3, *words)
    job.until(lambda: committed(run), "checkpoint", limit_s=240)  # the first use compiles an operator
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
