"""A loss that is not a number ends the run before it is saved."""

import json
import os
import signal

import pytest

from tests.ranks import RankFailed, run_ranks
from tests.roles.short_runs import saved, words

pytestmark = pytest.mark.ranks


def train_with_a_loss_that_breaks(rank, world, argv, at, stop_at=None):
    """As a diverged detector would: from some step on the gradient is not a number. Then it may be asked to stop."""
    from tsal_dist.engine.ddp import DDPEngine
    from tsal_dist.train import main

    whole = DDPEngine.step

    def step(self, loss, *more):
        if self.steps == stop_at:
            os.kill(os.getpid(), signal.SIGTERM)
        return whole(self, loss * float("nan") if self.steps >= at else loss, *more)

    DDPEngine.step = step
    return int(main(argv))


def train_with_a_teacher_that_breaks(rank, world, argv):
    """Its own steps alone: a student's has something to do before its update."""
    from tsal_dist.engine.ddp import DDPEngine
    from tsal_dist.train import main

    whole = DDPEngine.step
    DDPEngine.step = lambda self, loss, *more: whole(self, loss if more else loss * float("nan"), *more)
    return int(main(argv))


def test_a_teacher_whose_own_step_breaks_says_so_and_is_not_saved(faces, tmp_path):
    run = tmp_path / "run"
    with pytest.raises(
        RankFailed, match="teacher's own step after version 4 has a gradient that is not finite"
    ):
        run_ranks(train_with_a_teacher_that_breaks, 1, words(faces, run), group=False)
    for weights in saved(run, "teacher")["engine"]["weights"].values():
        assert weights.isfinite().all()


def test_weights_that_a_broken_loss_has_moved_are_not_saved(faces, tmp_path):
    run = tmp_path / "run"
    # Step 5 breaks them, and nothing is written down between two checkpoints.
    argv = words(faces, run, "method.name=supervised", "train.steps=12", "runtime.log.every=100")
    with pytest.raises(RankFailed, match=r"not a finite number at step 8\. The last checkpoint is of step 4"):
        run_ranks(train_with_a_loss_that_breaks, 1, argv, 5, group=False)
    assert sorted(path.name for path in (run / "checkpoints" / "student").glob("step_*")) == ["step_4"]
    note = json.loads((run / "ctl" / "exit" / "student.json").read_text())
    assert note["code"] == 1
    assert "Lower train.optim.lr" in note["reason"]


@pytest.mark.parametrize("topology", ["inline", "split"])
def test_nor_are_they_when_a_stop_comes_between_two_lines_of_metrics(faces, tmp_path, topology):
    run = tmp_path / "run"
    argv = words(
        faces, run, "method.name=supervised", f"runtime.topology={topology}", "runtime.log.every=100"
    )
    with pytest.raises(
        RankFailed, match=r"weights .* not a finite number at step 7\. The last checkpoint is of step 4"
    ):
        run_ranks(train_with_a_loss_that_breaks, 1, argv, 5, 6, group=False)
    assert sorted(path.name for path in (run / "checkpoints" / "student").glob("step_*")) == ["step_4"]
