"""What holds of every run of a method, however it is started and whoever is killed. A check trains, and raises AssertionError."""

import pytest
import torch

from tsal_dist.observe.sinks import read_metrics
from tsal_dist.recipes.api import as_it_is, unchanged
from tsal_dist.recipes.conformance.sameness import assert_same_end, metrics, saved
from tsal_dist.recipes.conformance.short_runs import SAVE_EVERY, SEED, STEPS, TRAIN, ShortRuns, start
from tsal_dist.run_dir import RunDir, whole_steps

SEEDS = (SEED, SEED + 1, SEED + 2)
HALVES = ("train.labelled_batch=2", "train.unlabelled_batch=4")
KILLED = "tsal_dist.recipes.conformance.killed"
SIGKILLED = -9
LONGER = 3 * STEPS
"""Steps of a student that goes on alone."""


def check_some_label_counts_in_a_run(runs: ShortRuns) -> None:
    _needs_teacher(runs)
    weights = [line["weight/point"] for line in metrics(runs.straight) if "weight/point" in line]
    assert any(weight > 0 for weight in weights), (
        f"no pseudo-label counted in any of {len(weights)} steps, so the other checks of training say nothing. Put the method on "
        f"trial with settings under which labels of a hardly trained net count, such as a lower floor"
    )


def check_a_killed_run_goes_on_to_the_bit(runs: ShortRuns) -> None:
    """Killed between two checkpoints, with label rows and plans that none of them knows."""
    before = SAVE_EVERY + 2
    folder = runs.folder("killed")
    start([[KILLED, "student", str(before), *runs.words("killed")]], folder, codes=[SIGKILLED])
    found = whole_steps(RunDir(folder).checkpoints("student"))
    assert found == [SAVE_EVERY], f"killed before step {before}, it has checkpoints of {found}"
    runs.train("killed", flags=["--resume"])
    assert_same_end(runs.straight, folder, _roles(runs))


def check_two_processes_take_the_steps_of_one(runs: ShortRuns) -> None:
    """But for the sums, in another order: where that turns a tie of two cells around, another seed is asked.

    A mix draws for each process anew, and where weights are rounded the last bit of a sum may be a step of theirs: of a method
    that does either only that the run comes to a good end.
    """
    recipe = runs.trial.recipe()
    differs = recipe.mix is not as_it_is or recipe.around is not unchanged
    differing: list[str] = []
    for seed in SEEDS:
        given = f"train.seed={seed}"
        alone = runs.straight if seed == SEED else runs.train(f"alone-{seed}", given)
        shared = runs.train(f"shared-{seed}", given, *HALVES, world=2)
        one, two = (saved(folder, "student")["engine"]["weights"] for folder in (alone, shared))
        assert all(bool(value.isfinite().all()) for value in two.values()), "weights are not finite"
        differing = [name for name in one if not torch.allclose(two[name], one[name], rtol=2e-3, atol=2e-4)]
        if differs or not differing:
            return
    raise AssertionError(
        f"{len(differing)} tensors, such as {differing[0]}: two processes with half of the batch each take other steps than "
        f"one process, with each of {len(SEEDS)} seeds"
    )


def check_roles_in_two_processes_that_take_turns_are_one(runs: ShortRuns) -> None:
    _needs_teacher(runs)
    turns = ("runtime.topology=split", "runtime.lockstep=true")
    assert_same_end(runs.straight, runs.train("turns", *turns, world=2))


def check_a_killed_teacher_costs_labels_and_not_the_run(runs: ShortRuns) -> None:
    _needs_teacher(runs)
    apart = (
        "runtime.topology=detached",
        f"train.steps={LONGER}",
        "runtime.deadlines.silent_s=3",
        "runtime.deadlines.poll_s=0.1",
    )
    folder = runs.folder("alone")
    words = runs.words("alone", *apart)
    student = [*TRAIN, "--resume-or-start", *words, "runtime.role=student"]
    teacher = [KILLED, "teacher", "2", "--resume-or-start", *words, "runtime.role=teacher"]
    start([student, teacher], folder, codes=[0, SIGKILLED])
    last: dict[str, float] = {}
    for line in read_metrics(RunDir(folder).metrics("student")):
        last |= line
    assert last["step"] == LONGER, f"it ended at step {last['step']}"
    assert last["queue/delivered"] > 0, "it was given no label while its teacher lived"
    assert last["queue/missing"] > 0, "it missed no label when its teacher was gone"


def _needs_teacher(runs: ShortRuns) -> None:
    if not runs.config.has_teacher:
        pytest.skip("a method of labels alone has no teacher")


def _roles(runs: ShortRuns) -> tuple[str, ...]:
    return ("student", "teacher") if runs.config.has_teacher else ("student",)


CHECKS = [check for name, check in globals().items() if name.startswith("check_")]
"""All of them, in their order."""
