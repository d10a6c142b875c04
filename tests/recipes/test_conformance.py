"""Every method that is shipped passes the suite that anybody's method can be put through."""

import pytest

from tsal_dist.recipes.conformance import training
from tsal_dist.recipes.conformance.checks import CHECKS
from tsal_dist.recipes.conformance.short_runs import ShortRuns, World
from tsal_dist.recipes.conformance.trial import Trial
from tsal_dist.recipes.find import PACKAGED

SHORT = {name: {"score_warmup": 1} for name in ("tsal", "mean_teacher")}
"""Methods that look at scores for a while before they weigh anything: for longer than a short run lasts."""
LABELS, KILLED, SHARED, TURNS = (
    training.check_some_label_counts_in_a_run,
    training.check_a_killed_run_goes_on_to_the_bit,
    training.check_two_processes_take_the_steps_of_one,
    training.check_roles_in_two_processes_that_take_turns_are_one,
)
TRAINED = {
    "supervised": (KILLED,),
    "mean_teacher": (LABELS, KILLED),
    "tsal": (LABELS, KILLED),
    "calibrated": (LABELS, KILLED, SHARED, TURNS),
    "companions": (LABELS, KILLED),
    "multiaugs": (LABELS, KILLED),
    "dual_mean_teacher": (LABELS, KILLED, SHARED),
    "teacher_reviewer_student": (LABELS, KILLED, TURNS),
    "feature_distillation": (LABELS, KILLED, SHARED, TURNS),
    "quantized_distillation": (KILLED, SHARED),
}
"""What is trained here of each. The example of docs/recipes.md goes through all of it (test_find), as anybody's method does."""


def in_short(check):
    return check.__name__.removeprefix("check_")


@pytest.fixture(scope="module", params=PACKAGED)
def trial(request):
    return Trial(request.param, {})


@pytest.mark.parametrize("check", CHECKS, ids=in_short)
def test_of_every_method(check, trial):
    check(trial)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """The runs of a method, by its name."""
    world = World(tmp_path_factory.mktemp("short-runs"))
    return {name: ShortRuns(Trial(name, SHORT.get(name, {})), world) for name in PACKAGED}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "check"),
    [
        pytest.param(name, check, id=f"{name}-{in_short(check)}")
        for name in PACKAGED
        for check in TRAINED[name]
    ],
)
def test_of_the_training_of_every_method(name, check, runs):
    """Two processes as one, of other methods: tests/roles/test_inline.py; taking turns: tests/runs/test_lockstep.py."""
    check(runs[name])
