"""Pseudo-labels count by what the labels leave to be learnt."""

import pytest

from tests.roles.short_runs import metrics, saved, student_of, train
from tsal_dist.metrics.headroom import headroom

pytestmark = pytest.mark.ranks
MEASURED = ("train.loss.headroom=true", "runtime.log.evaluate_every=4")


def lines_of(folder):
    """What was measured, by step."""
    return {line["step"]: line for line in metrics(folder) if "unlabelled/headroom" in line}


def test_it_is_measured_at_the_end_of_burn_in_and_at_every_validation(faces, run_of, tmp_path):
    folder = train(faces, tmp_path / "run", "method.name=mean_teacher", *MEASURED)
    lines = lines_of(folder)
    assert list(lines) == [2, 4, 8]
    for line in lines.values():
        assert line["unlabelled/headroom"] == headroom(line["validation/learnt_nme"], line["validation/nme"])
    for step in (4, 8):
        assert saved(folder, "student", step)["headroom"] == lines[step]["unlabelled/headroom"]
    assert any(
        (student_of(folder)[name] != value).any()
        for name, value in student_of(run_of("mean_teacher")).items()
    )


@pytest.mark.parametrize(
    "settings",
    [
        ("method.name=mean_teacher", "data.validation="),
        ("method.name=supervised",),
        ("method.name=feature_distillation",),
    ],
    ids=["nothing held out", "no teacher", "a teacher that was brought along"],
)
def test_it_is_1_where_it_is_not_to_be_known(faces, run_of, tmp_path, settings):
    teacher = (f"method.teacher={run_of('supervised')}",) if "feature_distillation" in settings[0] else ()
    folder = train(faces, tmp_path / "run", *settings, *teacher, *MEASURED)
    assert not lines_of(folder)
    assert saved(folder, "student", 8)["headroom"] == 1.0
