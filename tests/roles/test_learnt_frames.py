"""Pseudo-labels count by what the labels leave to be learnt."""

import pytest

from tests.roles.short_runs import metrics, saved, student_of, train

pytestmark = pytest.mark.ranks
MEASURED = ("train.loss.headroom=true", "runtime.log.evaluate_every=4")


def test_it_is_measured_with_every_version_after_burn_in(faces, run_of, tmp_path):
    folder = train(faces, tmp_path / "run", "method.name=mean_teacher", *MEASURED)
    lines = [line for line in metrics(folder) if "unlabelled/headroom" in line]
    share = {line["step"]: line["unlabelled/headroom"] for line in lines}
    assert list(share) == list(range(1, 9))
    assert (share[1], share[2]) == (1.0, 1.0), "burn-in"
    assert all(0 <= share[step] < 1 for step in range(3, 9)), "it has learnt next to nothing"
    assert all(share[step] == share[step + 1] for step in (3, 5, 7)), "versions come with every second step"
    for step in (4, 8):
        assert saved(folder, "student", step)["headroom"] == share[step]
    known = student_of(run_of("mean_teacher"))
    assert any((value != known[name]).any() for name, value in student_of(folder).items())
    validated = [line for line in metrics(folder) if "validation/nme" in line]
    assert [line["step"] for line in validated] == [4, 8]
    assert all(line["validation/learnt_nme"] > 0 for line in validated)


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
    assert not any("unlabelled/headroom" in line for line in metrics(folder))
    assert saved(folder, "student", 8)["headroom"] == 1.0
