"""Recursive average filtering and the per-step average, against their recursions written out."""

import copy

import pytest
import torch
from torch import nn

from tsal_dist.recipes.averaging import RecursiveAverage, StepAverage


def net(seed):
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Conv2d(2, 3, 1), nn.BatchNorm2d(3))
    with torch.no_grad():
        model[1].running_mean.normal_()
    return model


def distance(a, b):
    return (
        sum((p - q).square().sum() for p, q in zip(a.parameters(), b.parameters(), strict=True)).sqrt().item()
    )


def test_a_queue_of_equal_snapshots_leaves_their_value():
    student, teacher = net(0), net(1)
    average = RecursiveAverage(keep=0.0, queue=4)
    for _ in range(6):
        average.absorb(teacher, student.state_dict())
    for name, value in teacher.state_dict().items():
        torch.testing.assert_close(value, student.state_dict()[name])


@pytest.mark.parametrize("keep", [0.0, 0.5, 0.7, 0.9, 1.0])
def test_the_gap_shrinks_by_keep_and_never_by_its_square(keep):
    student, teacher = net(0), net(1)
    before = distance(student, teacher)
    RecursiveAverage(keep=keep, queue=1).absorb(teacher, student.state_dict())
    assert distance(student, teacher) == pytest.approx(keep * before, rel=1e-5, abs=1e-7)


def test_the_queue_averages_the_last_snapshots_only():
    teacher = net(9)
    expected = copy.deepcopy(teacher).state_dict()
    snapshots = [net(seed).state_dict() for seed in range(5)]
    average = RecursiveAverage(keep=0.7, queue=3)
    for place, snapshot in enumerate(snapshots):
        average.absorb(teacher, snapshot)
        recent = snapshots[max(0, place - 2) : place + 1]
        for name, value in expected.items():
            if value.is_floating_point():
                expected[name] = 0.7 * value + 0.3 * torch.stack([old[name] for old in recent]).mean(0)
    for name, value in teacher.state_dict().items():
        if value.is_floating_point():
            torch.testing.assert_close(value, expected[name])


@pytest.mark.parametrize(
    ("buffers", "expected"), [("keep", 1.0), ("copy", 0.0), ("average", 0.7)], ids=["keep", "copy", "average"]
)
def test_norm_statistics_follow_the_chosen_way(buffers, expected):
    student, teacher = net(0), net(1)
    nn.init.zeros_(student[1].running_mean)
    nn.init.ones_(teacher[1].running_mean)
    RecursiveAverage(keep=0.7, queue=2, buffers=buffers).absorb(teacher, student.state_dict())
    torch.testing.assert_close(teacher[1].running_mean, torch.full((3,), expected))


def test_following_is_becoming():
    student, teacher = net(0), net(1)
    RecursiveAverage(keep=0.9, queue=2, buffers="keep").follow(teacher, student.state_dict())
    for name, value in teacher.state_dict().items():
        assert torch.equal(value, student.state_dict()[name])


def test_a_resumed_teacher_absorbs_alike():
    first, second = net(1), net(1)
    average, again = RecursiveAverage(0.7, 3), RecursiveAverage(0.7, 3)
    for seed in (2, 3):
        average.absorb(first, net(seed).state_dict())
    second.load_state_dict(first.state_dict())
    again.load_state_dict(average.state_dict())
    for model, raf in ((first, average), (second, again)):
        raf.absorb(model, net(4).state_dict())
    assert distance(first, second) == 0


def test_absorbing_keeps_no_hold_of_the_students_memory():
    """The student trains on; what was absorbed must not change under the teacher."""
    student, teacher = net(0), net(1)
    average = RecursiveAverage(keep=0.0, queue=2)
    average.absorb(teacher, student.state_dict())
    value = copy.deepcopy(student.state_dict())
    with torch.no_grad():
        student[0].weight.zero_()
    average.absorb(teacher, value)
    torch.testing.assert_close(teacher[0].weight, value["0.weight"])


def test_the_step_average_follows_its_recursion():
    student = net(0)
    average = StepAverage(student, decay=0.9)
    expected = student[0].weight.detach().clone()
    for step in range(1, 30):
        with torch.no_grad():
            student[0].weight.add_(0.1)
        average.update(student)
        decay = min(0.9, 1 - 1 / (step + 1))
        expected = decay * expected + (1 - decay) * student[0].weight.detach()
    torch.testing.assert_close(average.tensors["0.weight"], expected)


@pytest.mark.parametrize(("decay", "same"), [(0.0, True), (0.999, False)])
def test_a_decay_of_zero_is_the_student_itself(decay, same):
    student = net(0)
    average = StepAverage(student, decay)
    with torch.no_grad():
        student[0].weight.add_(1.0)
    average.update(student)
    assert torch.equal(average.tensors["0.weight"], student[0].weight) is same


def test_a_resumed_average_goes_on_alike():
    student = net(0)
    average = StepAverage(student, 0.9)
    average.update(net(1))
    again = StepAverage(net(5), 0.9)
    again.load_state_dict(average.state_dict())
    for one in (average, again):
        one.update(net(2))
    for name, value in average.tensors.items():
        assert torch.equal(value, again.tensors[name])


def test_a_restart_forgets_the_past():
    average = StepAverage(net(0), 0.9)
    average.restart(net(3))
    assert torch.equal(average.tensors["0.weight"], net(3)[0].weight)


def test_a_tensor_that_a_net_puts_in_anothers_place_is_averaged():
    student = net(0)
    average = StepAverage(student, 0.5)
    average.update(student)
    student[1].running_mean = torch.full((3,), 7.0)
    student[0].weight = nn.Parameter(torch.full_like(student[0].weight, 3.0))
    average.restart(student)
    assert all(torch.equal(average.tensors[name], value) for name, value in student.state_dict().items())


def test_it_moves_towards_the_net_that_it_is_given():
    average = StepAverage(net(0), 0.5)
    for seed in (1, 2):
        student = net(seed)
        average.restart(student)
        assert all(torch.equal(average.tensors[name], value) for name, value in student.state_dict().items())
