"""DDP: one process equals two, accumulation equals a larger batch, resuming equals going on."""

import copy

import pytest
import torch

from tests.engine.tiny import OPTIM, build_batch, build_ddp, same, share, take_step
from tests.ranks import run_ranks
from tsal_dist.errors import CheckpointError


def train(rank, world, steps=4, norm="group", settings=None):
    engine = build_ddp(norm, **(settings or {}))
    norms = [take_step(engine, share(build_batch(step), rank, world)) for step in range(steps)]
    return norms, engine.full_weights()


@pytest.mark.ranks
def test_two_processes_equal_one():
    (norms, one), *_ = run_ranks(train, 1)
    two = run_ranks(train, 2)
    for rank_norms, weights in two:
        torch.testing.assert_close(rank_norms, norms)
        torch.testing.assert_close(weights, one)
    assert same(two[0][1], two[1][1])


@pytest.mark.ranks
def test_norm_statistics_leave_the_role_as_their_mean():
    (_, first), (_, second) = run_ranks(train, 2, 3, "batch")
    assert same(first, second)
    own = []
    for rank in range(2):  # the first update mixes .1 of each rank's own mean into zero
        engine = build_ddp("batch")
        engine.forward(share(build_batch(0), rank, 2)[0])
        own.append(engine.full_weights()["norm.running_mean"])
    (_, once), _ = run_ranks(train, 2, 1, "batch")
    torch.testing.assert_close(once["norm.running_mean"], (own[0] + own[1]) / 2)


def averaged(rank, world):
    """What a student publishes and saves: its average over steps, whose statistics each rank had from its own frames."""
    from tsal_dist.recipes.averaging import StepAverage
    from tsal_dist.roles.student import Student

    engine = build_ddp("batch")
    student = object.__new__(Student)
    student.engine, student.average = engine, StepAverage(engine.model, 0.5)
    for step in range(3):
        take_step(engine, share(build_batch(step), rank, world))
        student.average.update(engine.model)
    own = student.average.tensors["norm.running_mean"].clone()
    return own, student._averaged()


@pytest.mark.ranks
def test_the_average_leaves_the_role_with_the_statistics_of_all_ranks():
    (own, first), (other, second) = run_ranks(averaged)
    assert not torch.equal(own, other)
    assert same(first, second)
    torch.testing.assert_close(first["norm.running_mean"], (own + other) / 2)


def two_forwards(rank, world):
    """Labelled and unlabelled frames are two forward passes of one step, with batch norm between them."""
    engine = build_ddp("batch")
    for step in range(3):
        images, wanted = share(build_batch(step), rank, world)
        loss = ((engine.forward(images) - wanted) ** 2).mean() + engine.forward(images.flip(3)).abs().mean()
        engine.step(loss)
    return engine.full_weights()


@pytest.mark.ranks
def test_two_forward_passes_make_one_step():
    first, second = run_ranks(two_forwards)
    assert same(first, second)


@pytest.mark.ranks
def test_accumulating_equals_a_larger_batch():
    def halves():
        engine = build_ddp(accumulate=2)
        for step in range(4):
            given = [take_step(engine, share(build_batch(step), half, 2)) for half in range(2)]
            assert given[0] is None
            assert given[1] is not None
        return engine.full_weights()

    whole = train(0, 1)[1]
    torch.testing.assert_close(halves(), whole)
    torch.testing.assert_close(run_ranks(accumulate_on_ranks)[0], whole)


def accumulate_on_ranks(rank, world):
    engine = build_ddp(accumulate=2)
    for step in range(4):
        for half in range(2):
            take_step(engine, share(share(build_batch(step), half, 2), rank, world))
    assert engine.steps == 4
    return engine.full_weights()


def test_gradients_are_clipped_to_their_norm():
    loose, tight = (
        build_ddp(optim=OPTIM.model_copy(update={"name": "sgd", "momentum": 0.0, "clip_norm": clip}))
        for clip in (0.0, 0.01)
    )
    before = loose.full_weights()
    norms = [take_step(engine, build_batch(0)) for engine in (loose, tight)]
    assert norms[0] == norms[1] > 0.01
    free = loose.full_weights()["head.bias"] - before["head.bias"]
    clipped = tight.full_weights()["head.bias"] - before["head.bias"]
    torch.testing.assert_close(clipped, free * 0.01 / norms[0])


@pytest.mark.parametrize("name", ["adamw", "sgd"])
def test_resuming_is_going_on(name):
    optim = OPTIM.model_copy(update={"name": name})
    straight = build_ddp("batch", optim)
    for step in range(4):
        if step == 2:
            saved = copy.deepcopy(straight.state_dict())
        take_step(straight, build_batch(step))
    resumed = build_ddp("batch", optim)
    resumed.load_state_dict(saved)
    assert (resumed.steps, resumed.lr) == (2, build_lr(2))
    for step in range(2, 4):
        take_step(resumed, build_batch(step))
    assert same(resumed.state_dict(), straight.state_dict())


def build_lr(step):
    from tsal_dist.engine.optim import learning_rate

    return learning_rate(step, 50, OPTIM)


def test_bfloat16_computes_low_and_keeps_high():
    engine = build_ddp(precision="bfloat16")
    images, wanted = build_batch(0)
    outputs = engine.forward(images)
    assert outputs.dtype == torch.bfloat16
    engine.step(((outputs.float() - wanted) ** 2).mean())
    assert {value.dtype for value in engine.full_weights().values()} == {torch.float32}


def test_channels_last_changes_the_layout_and_not_the_numbers():
    engine = build_ddp(channels_last=True)
    assert engine.model.conv.weight.is_contiguous(memory_format=torch.channels_last)
    for step in range(4):
        take_step(engine, build_batch(step))
    torch.testing.assert_close(engine.full_weights(), train(0, 1)[1])


def test_full_weights_are_a_copy_and_can_be_put_back():
    engine = build_ddp("batch")
    weights = engine.full_weights()
    take_step(engine, build_batch(0))
    assert not same(weights, engine.full_weights())
    engine.replace_weights(weights)
    assert same(weights, engine.full_weights())
    assert engine.steps == 1


def test_weights_of_another_model_are_refused():
    engine = build_ddp("batch")
    before = engine.full_weights()
    weights = {**before, "head.bias": torch.zeros(7)}
    with pytest.raises(CheckpointError, match=r"head.bias is \(7,\) and should be \(5,\)"):
        engine.replace_weights(weights)
    assert same(engine.full_weights(), before)


def test_another_optimisers_state_is_refused():
    state = build_ddp().state_dict()
    other = build_ddp(optim=OPTIM.model_copy(update={"name": "sgd"}))
    with pytest.raises(CheckpointError, match="'adamw' and train.optim.name is 'sgd'"):
        other.load_state_dict(state)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch's own, on importing its compiler
def test_compiled_training_gives_the_same_numbers():
    from torch._dynamo.utils import counters

    torch.testing.assert_close(train(0, 1, 2, settings={"compile": True})[1], train(0, 1, 2)[1])
    assert counters["stats"]["unique_graphs"] > 0
