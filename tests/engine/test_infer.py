"""Inference under the engine's settings: the numbers of `forward`, another mode, no graph, offsets kept exact."""

import pytest
import torch
from torch import nn

from tests.engine.tiny import OPTIM, build_batch, build_ddp, build_net, take_step
from tests.ranks import run_ranks
from tsal_dist.config.runtime import EngineConfig, NumericsConfig
from tsal_dist.engine.batch_norms import prepare_batch_norms
from tsal_dist.engine.ddp import DDPEngine
from tsal_dist.engine.inference import Inference
from tsal_dist.engine.numerics import set_numerics
from tsal_dist.engine.optim import build_optimizer
from tsal_dist.errors import ConfigError
from tsal_dist.models.detectors import build_detector
from tsal_dist.models.layers import CenterHead

CPU = torch.device("cpu")


@pytest.mark.parametrize("settings", [{}, {"precision": "bfloat16"}, {"channels_last": True}])
def test_it_gives_what_forward_gives_without_a_graph(settings):
    engine = build_ddp(**settings)
    images, _ = build_batch(0)
    trained, inferred = engine.forward(images), engine.infer(images)
    assert torch.equal(trained, inferred)
    assert trained.requires_grad
    assert not inferred.requires_grad


def test_the_model_is_left_in_the_mode_it_was_in():
    engine = build_ddp("batch")
    before = engine.full_weights()
    seen = []
    engine.model.norm.register_forward_hook(lambda norm, *_: seen.append(norm.training))
    for mode in (True, False):
        engine.model.train(mode)
        engine.infer(build_batch(0)[0])
        assert engine.model.training is mode
    assert seen == [False, False]
    assert torch.equal(engine.full_weights()["norm.running_mean"], before["norm.running_mean"])


def test_a_model_that_fails_is_left_in_its_mode_too():
    engine = build_ddp()
    with pytest.raises(RuntimeError):
        engine.infer(torch.zeros(1, 2))
    assert engine.model.training


class Spy(nn.Module):
    """Notes what reaches it."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.seen = []

    def forward(self, images):
        self.seen.append((images.is_contiguous(memory_format=torch.channels_last), self.conv(images).dtype))
        return images


def test_pictures_come_in_the_format_of_the_weights_and_under_the_precision():
    spy = Spy()
    engine = DDPEngine(spy, EngineConfig(channels_last=True, precision="bfloat16"), OPTIM, 50, CPU)
    engine.infer(torch.zeros(2, 3, 8, 8))
    engine.forward(torch.zeros(2, 3, 8, 8))
    assert spy.seen == [(True, torch.bfloat16)] * 2


@pytest.mark.parametrize("name", ["lite", "hrnet_w18"])
def test_offsets_stay_float32_under_bfloat16(name):
    """25.3 cells in bfloat16 are 25.25 or 25.375: .4 px at stride 8."""
    torch.manual_seed(0)
    model = build_detector(name, 5)
    (head,) = (module for module in model.modules() if isinstance(module, CenterHead))
    with torch.no_grad():
        head.offset.bias.fill_(25.3 / 8)
    images = torch.randn(1, 3, 64, 64)
    engines = [
        DDPEngine(model, EngineConfig(precision=how), OPTIM, 50, CPU) for how in ("float32", "bfloat16")
    ]
    exact, low = (engine.infer(images) for engine in engines)
    assert low.offset_N2Khw.dtype == torch.float32
    assert low.points_heat_NKhw.dtype == torch.bfloat16
    off_px = (exact.offset_N2Khw - low.offset_N2Khw).abs().max() * model.stride
    assert off_px < 0.05


def test_the_fused_optimiser_takes_the_same_steps():
    nets = [build_net(), build_net()]
    fused, plain = build_optimizer(nets[0], OPTIM), build_optimizer(nets[1], OPTIM)
    assert all(group["fused"] for group in fused.param_groups)
    for group in plain.param_groups:
        group["fused"] = False
    for step in range(5):
        images, wanted = build_batch(step)
        for net, optimizer in zip(nets, (fused, plain), strict=True):
            optimizer.zero_grad()
            ((net(images) - wanted) ** 2).mean().backward()
            optimizer.step()
    for one, other in zip(nets[0].parameters(), nets[1].parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6)


@pytest.fixture
def kept_numerics():
    with torch.backends.cudnn.flags(enabled=True):
        before = torch.backends.cuda.matmul.allow_tf32
        yield
    torch.backends.cuda.matmul.allow_tf32 = before
    torch.use_deterministic_algorithms(False)


@pytest.mark.usefixtures("kept_numerics")
@pytest.mark.parametrize("allowed", [True, False])
def test_numerics_are_a_policy_of_the_process(allowed):
    set_numerics(NumericsConfig(tf32=allowed, deterministic=not allowed))
    assert torch.backends.cudnn.benchmark is False, (
        "a step may be of any size, and each would be tried out anew"
    )
    assert torch.backends.cudnn.deterministic is not allowed
    assert torch.are_deterministic_algorithms_enabled() is not allowed
    assert torch.backends.cudnn.allow_tf32 is allowed
    assert torch.backends.cuda.matmul.allow_tf32 is False, "points go through matrices"


@pytest.mark.usefixtures("kept_numerics")
@pytest.mark.parametrize("rounding", [True, False])
def test_a_process_exports_whatever_it_rounds(rounding):
    """torch.export asks for all of these settings at once, and is refused where two of them contradict each other."""
    set_numerics(NumericsConfig(tf32=rounding))
    exported = torch.export.export(torch.nn.Conv2d(1, 1, 1), (torch.zeros(1, 1, 2, 2),))
    assert exported.module()(torch.ones(1, 1, 2, 2)).shape == (1, 1, 2, 2)


def test_it_knows_the_weights_that_it_holds():
    judged = Inference(nn.Conv2d(1, 1, 1), EngineConfig(), CPU)
    mine = {name: value.clone() for name, value in judged.net.state_dict().items()}
    assert judged.holds(mine)
    assert not judged.holds({"weight": mine["weight"]})
    mine["bias"] += 1
    assert not judged.holds(mine)
    judged.load(mine)
    assert judged.holds(mine)


def test_frozen_norms_learn_nothing_from_their_batches():
    engine = build_ddp("batch", batch_norm="frozen")
    before = engine.full_weights()
    for step in range(2):
        engine.model.train()
        take_step(engine, build_batch(step))
    after = engine.full_weights()
    assert torch.equal(before["norm.running_mean"], after["norm.running_mean"])
    assert not torch.equal(before["norm.weight"], after["norm.weight"])


def test_synchronised_norms_are_for_gpus_with_ranks():
    synced = EngineConfig(batch_norm="sync")
    assert prepare_batch_norms(build_net("group"), synced, CPU, world=2)
    assert isinstance(prepare_batch_norms(build_net("batch"), synced, CPU, world=1).norm, nn.BatchNorm2d)
    with pytest.raises(ConfigError, match="no synchronised batch norm"):
        prepare_batch_norms(build_net("batch"), synced, CPU, world=2)
    there = prepare_batch_norms(build_net("batch"), synced, torch.device("cuda"), world=2)
    assert isinstance(there.norm, nn.SyncBatchNorm)


def infer_alone(rank, world):
    """A rank that labels while the other does something else: no collective may be in it."""
    engine = build_ddp()
    return engine.infer(build_batch(0)[0]) if rank == 0 else None


@pytest.mark.ranks
def test_ranks_infer_without_each_other():
    first, _ = run_ranks(infer_alone, 2)
    assert torch.equal(first, build_ddp().infer(build_batch(0)[0]))


def test_compilation_is_of_what_is_called(monkeypatch):
    """DDP is compiled as a whole, or its buckets would not overlap with the backward pass; the model apart from it."""
    compiled = []
    monkeypatch.setattr(torch, "compile", lambda model: compiled.append(model) or model)
    engine = build_ddp(compile=True)
    assert compiled == [engine.model]
    assert engine.forward(build_batch(0)[0]).shape == (8, 5)
