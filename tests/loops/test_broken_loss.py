"""A loss that is not a number ends the run before it is saved."""

import json

import pytest

from tests.loops.short_runs import words
from tests.ranks import RankFailed, run_ranks

pytestmark = pytest.mark.ranks


def train_with_a_loss_that_breaks(rank, world, argv, at):
    """As a diverged detector would: from some step on the gradient is not a number."""
    from tsal_dist.engine.ddp import DDPEngine
    from tsal_dist.train import main

    whole = DDPEngine.step

    def step(self, loss):
        return whole(self, loss * float("nan") if self.steps >= at else loss)

    DDPEngine.step = step
    return int(main(argv))


def test_weights_that_a_broken_loss_has_moved_are_not_saved(faces, tmp_path):
    run = tmp_path / "run"
    # Step 5 breaks them, and nothing is written down between two checkpoints.
    argv = words(faces, run, "train.recipe=supervised", "train.steps=12", "runtime.log.every=100")
    with pytest.raises(RankFailed, match=r"not a finite number at step 8\. The last checkpoint is of step 4"):
        run_ranks(train_with_a_loss_that_breaks, 1, argv, 5, group=False)
    assert sorted(path.name for path in (run / "checkpoints" / "student").glob("step_*")) == ["step_4"]
    note = json.loads((run / "ctl" / "exit" / "student.json").read_text())
    assert note["code"] == 1
    assert "Lower train.optim.lr" in note["reason"]
