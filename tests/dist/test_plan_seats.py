"""Every topology seats every process, or says what does not fit."""

import pytest

from tsal_dist.config import load_config
from tsal_dist.dist.topology import plan_seats
from tsal_dist.errors import TopologyError


def seats(world, *overrides, has_teacher=True):
    runtime = load_config([], [f"runtime.{override}" for override in overrides]).runtime
    return [(seat.role, seat.rank, seat.world) for seat in plan_seats(runtime, world, world, has_teacher)]


def test_split_gives_the_last_ranks_to_teachers():
    assert seats(3) == [("student", 0, 2), ("student", 1, 2), ("teacher", 0, 1)]


def test_detached_is_one_role_alone():
    assert seats(2, "topology=detached", "role=teacher") == [("teacher", 0, 2), ("teacher", 1, 2)]


def test_a_crew_of_teachers_has_a_name_that_its_files_bear():
    settings = ["runtime.topology=detached", "runtime.role=teacher", "runtime.crew=night"]
    names = [seat.name for seat in plan_seats(load_config([], settings).runtime, 2, 2, has_teacher=True)]
    assert names == ["teacher-night", "teacher-night"]


def test_inline_plays_both_roles_in_every_process():
    assert seats(2, "topology=inline") == [("inline", 0, 2), ("inline", 1, 2)]


def test_a_method_without_a_teacher_has_students_only():
    assert seats(2, has_teacher=False) == [("student", 0, 2), ("student", 1, 2)]


@pytest.mark.parametrize(
    ("overrides", "has_teacher", "words"),
    [
        (["topology=detached"], True, "runtime.role=student"),
        (["topology=detached", "role=teacher"], False, "no teacher"),
        (["teachers=0"], True, "needs a teacher"),
        (["teachers=3"], True, "leaves no student"),
    ],
)
def test_what_does_not_fit_is_refused(overrides, has_teacher, words):
    with pytest.raises(TopologyError, match=words):
        seats(3, *overrides, has_teacher=has_teacher)
