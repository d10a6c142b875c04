"""DeepSpeed behind the same protocol: every ZeRO stage takes DDP's steps, and hands over between ranks."""

import copy
import json
import sys
import tempfile

import pytest
import torch

from tests.engine.tiny import OPTIM, build_batch, build_ddp, build_net, same, share, take_step
from tests.ranks import run_ranks
from tsal_dist.config.runtime import EngineConfig
from tsal_dist.errors import CheckpointError, ConfigError, MissingExtra

# The first use on a machine compiles an operator.
COMPILE_S = 240


def build_deepspeed(rank, world, norm="group", optim=OPTIM, **settings):
    from tsal_dist.dist.environment import present_role
    from tsal_dist.engine.choose import build_engine

    present_role(rank, world, 0)
    settings = EngineConfig(kind="deepspeed", **settings)
    return build_engine(build_net(norm), settings, optim, 50, torch.device("cpu"))


def run_stage(rank, world, stage, optim):
    """Train, save half-way, train on; then load what was saved and train on again."""
    straight = build_deepspeed(rank, world, "batch", optim, zero_stage=stage)
    norms = []
    for step in range(4):
        if step == 2:
            saved = copy.deepcopy(straight.state_dict())
        norms.append(take_step(straight, share(build_batch(step), rank, world)))
    final = straight.state_dict()

    resumed = build_deepspeed(rank, world, "batch", optim, zero_stage=stage)
    resumed.load_state_dict(saved)
    for step in range(2, 4):
        take_step(resumed, share(build_batch(step), rank, world))
    with pytest.raises(CheckpointError, match="head.bias"):
        resumed.replace_weights({**saved["weights"], "head.bias": torch.zeros(7)})
    return norms, saved, final, resumed.state_dict()


def run_ddp(rank, world, optim):
    engine = build_ddp("batch", optim)
    norms = [take_step(engine, share(build_batch(step), rank, world)) for step in range(4)]
    return norms, engine.state_dict()


@pytest.mark.ranks
@pytest.mark.slow
@pytest.mark.parametrize(("stage", "name"), [(0, "adamw"), (1, "adamw"), (2, "sgd"), (3, "adamw")])
def test_a_stage_takes_ddps_steps_and_resumes_to_the_bit(stage, name):
    optim = OPTIM.model_copy(update={"name": name})
    ranks = run_ranks(run_stage, 2, stage, optim, timeout_s=COMPILE_S)
    (norms, wanted), _ = run_ranks(run_ddp, 2, optim)
    for rank_norms, _, final, resumed in ranks:
        torch.testing.assert_close(rank_norms, norms)
        torch.testing.assert_close(numbers(final), numbers(wanted))
        assert same(final, resumed)
        assert final["steps"] == 4
    assert same(ranks[0][2], ranks[1][2])


def numbers(state):
    return {key: value for key, value in state.items() if key != "optimizer_name"}


def go_on(rank, world, state, stage):
    if stage is None:
        engine = build_ddp()
    else:
        engine = build_deepspeed(rank, world, zero_stage=stage)
    if state is not None:
        engine.load_state_dict(state)
    for step in range(engine.steps, engine.steps + 2):
        images, wanted = share(build_batch(step), rank, world)
        # Two forward passes in one step, as labelled and unlabelled frames are.
        loss = ((engine.forward(images) - wanted) ** 2).mean() + engine.forward(images.flip(3)).abs().mean()
        engine.step(loss)
    return engine.state_dict()


@pytest.mark.ranks
@pytest.mark.slow
def test_a_run_moves_between_engines_stages_and_ranks():
    """ZeRO-3 on two ranks, then ZeRO-1 on one, then DDP on two: as if it had been one plain process."""
    state = run_ranks(go_on, 2, None, 3, timeout_s=COMPILE_S)[0]
    state = run_ranks(go_on, 1, state, 1, timeout_s=COMPILE_S)[0]
    state = run_ranks(go_on, 2, state, None)[0]
    plain = None
    for _ in range(3):
        plain = copy.deepcopy(go_on(0, 1, plain, None))
    torch.testing.assert_close(numbers(state), numbers(plain))


def accumulate(rank, world):
    settings = {"zero_stage": 2, "accumulate": 2, "precision": "bfloat16"}
    engine = build_deepspeed(rank, world, **settings)
    outputs = engine.forward(share(build_batch(0), rank, world)[0])
    norms = [engine.step(outputs.float().abs().mean())]
    norms.append(take_step(engine, share(build_batch(1), rank, world)))
    return outputs.dtype, norms, engine.steps, engine.full_weights()


@pytest.mark.ranks
@pytest.mark.slow
def test_accumulation_and_bfloat16():
    for dtype, (none, norm), steps, weights in run_ranks(accumulate, timeout_s=COMPILE_S):
        assert dtype == torch.bfloat16
        assert none is None
        assert norm > 0
        assert steps == 1
        assert {value.dtype for value in weights.values()} == {torch.float32}


def write_json(value):
    file = tempfile.NamedTemporaryFile("w", suffix=".json", delete=False)
    with file:
        json.dump(value, file)
    return file.name


def config_of(**settings):
    from tsal_dist.engine.deepspeed import deepspeed_config

    return deepspeed_config(EngineConfig(kind="deepspeed", **settings), OPTIM)


def test_the_config_says_what_ours_says():
    config = config_of(zero_stage=2, accumulate=3, precision="bfloat16")
    assert config["zero_optimization"] == {"stage": 2}
    assert config["gradient_accumulation_steps"] == 3
    assert config["gradient_clipping"] == OPTIM.clip_norm
    assert config["torch_autocast"] == {"enabled": True, "dtype": "bfloat16"}


def test_a_users_file_is_merged_over_it():
    file = write_json({"zero_optimization": {"overlap_comm": True}, "wall_clock_breakdown": True})
    config = config_of(zero_stage=2, deepspeed_file=file)
    assert config["zero_optimization"] == {"stage": 2, "overlap_comm": True}
    assert config["wall_clock_breakdown"] is True


@pytest.mark.parametrize(
    ("own", "message"),
    [
        ({"optimizer": {"type": "Adam"}}, "set by train.optim"),
        ({"fp16": {"enabled": True}}, "precision"),
        ({"zero_optimization": {"stage": 3}}, "stage 3"),
        ([1], "no JSON object"),
    ],
)
def test_a_users_file_that_fights_ours_is_refused(own, message):
    with pytest.raises(ConfigError, match=message):
        config_of(zero_stage=2, deepspeed_file=write_json(own))


def test_a_missing_or_broken_file_is_named(tmp_path):
    with pytest.raises(ConfigError, match="no DeepSpeed file"):
        config_of(deepspeed_file=str(tmp_path / "none.json"))
    (tmp_path / "broken.json").write_text("{")
    with pytest.raises(ConfigError, match="not valid JSON"):
        config_of(deepspeed_file=str(tmp_path / "broken.json"))


def test_without_deepspeed_the_remedy_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "deepspeed", None)
    monkeypatch.setenv("DS_ACCELERATOR", "cpu")
    monkeypatch.setenv("PATH", "/bin")
    from tsal_dist.engine.choose import build_engine

    with pytest.raises(MissingExtra, match=r"pip install 'tsal_dist\[deepspeed\]'"):
        build_engine(build_net(), EngineConfig(kind="deepspeed"), OPTIM, 50, torch.device("cpu"))
