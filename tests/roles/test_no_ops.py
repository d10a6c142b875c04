"""Settings that switch a method off: what is left must be another method, to the bit."""

import pytest
import torch

from tests.roles.short_runs import metrics, saved, student_of, train
from tsal_dist.config.method import ALONE
from tsal_dist.recipes.find import PACKAGED
from tsal_dist.weights.format import list_versions, load_version

pytestmark = pytest.mark.ranks


def teacher_of(folder, step=None):
    return saved(folder, "teacher", step)["engine"]["weights"]


def published(folder, step):
    versions = folder / "weights" / "student"
    return load_version(versions, step, list_versions(versions)[step])[1]


def same(first, second):
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize("recipe", [name for name in PACKAGED if name != ALONE])
def test_without_weight_on_unlabelled_frames_every_method_is_supervised(faces, run_of, tmp_path, recipe):
    """To the bit, a twin's too, and one that would need a trained teacher. None is started, nor a label made."""
    settings = (f"method.name={recipe}", "train.loss.unlabelled=0")
    off, supervised = train(faces, tmp_path / "off", *settings), run_of("supervised")
    assert same(student_of(off, 4), student_of(supervised, 4))
    assert same(student_of(off), student_of(supervised))
    for one, other in zip(metrics(off), metrics(supervised), strict=True):
        assert one == other
    assert not (off / "queue").exists()
    assert not (off / "metrics" / "teacher.jsonl").exists()


def test_with_weight_on_them_it_is_another_method(run_of):
    assert not same(student_of(run_of("tsal")), student_of(run_of("supervised")))


def test_a_teacher_that_keeps_everything_is_frozen(faces, tmp_path):
    run = train(faces, tmp_path / "run", "method.keep=1.0", "method.own_steps=0")
    assert same(teacher_of(run), published(run, 2)), "what it was at the end of burn-in"
    assert not same(teacher_of(run), published(run, 6))


def test_a_teacher_that_keeps_nothing_is_the_student(faces, tmp_path):
    settings = ("method.keep=0.0", "method.queue=1", "method.own_steps=0")
    run = train(faces, tmp_path / "run", *settings)
    assert same(teacher_of(run), published(run, 6))
    assert same(teacher_of(run, 4), published(run, 2)), (
        "at step 4 it has not been sent the student of step 4 yet"
    )


def test_an_average_that_forgets_at_once_is_the_student(faces, tmp_path):
    settings = ("method.name=mean_teacher", "train.average=1e-9", "runtime.queue.max_rho=1.0")
    run = train(faces, tmp_path / "run", *settings)
    assert same(published(run, 4), student_of(run, 4))
    assert same(teacher_of(run), published(run, 6))
