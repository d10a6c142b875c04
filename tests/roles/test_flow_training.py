"""A flow net learns to follow what moves, from clips alone, and goes on alike after a resume."""

import cv2
import numpy as np
import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from tsal_dist.errors import ConfigError
from tsal_dist.models.output import DetectorOutput
from tsal_dist.recipes.frames import Frames, neighbours
from tsal_dist.recipes.study import find_flow
from tsal_dist.roles.flow_training import FlowTrainer
from tsal_dist.trackers.pwc import PwcTracker

SIZE = 64


def clip(seed, step_px):
    """Two frames of a texture that moves to the right by `step_px`."""
    noise = np.random.default_rng(seed).uniform(0, 255, (SIZE, SIZE + 16, 3)).astype(np.float32)
    wide = cv2.normalize(cv2.GaussianBlur(noise, (0, 0), 2.0), None, 0, 255, cv2.NORM_MINMAX)
    image = np.stack([wide[:, 8 : 8 + SIZE], wide[:, 8 - step_px : 8 - step_px + SIZE]]).astype(np.uint8)
    return Frames(
        image_NHWC=torch.from_numpy(image),
        points_NK2=torch.zeros(2, 1, 2),
        visible_NK=torch.zeros(2, 1, dtype=torch.bool),
        labelled_N=torch.zeros(2, dtype=torch.bool),
        face_px_B=torch.tensor([40.0]),
        clip_frames=2,
    )


def detector(image_N3HW):
    """Heatmaps that move with the picture: its own brightness."""
    gray = torch.nn.functional.avg_pool2d(image_N3HW.mean(1, keepdim=True), 4)
    heat = torch.cat([gray, 1 - gray], 1)
    return DetectorOutput(heat.unsqueeze(0), gray, gray.repeat(1, 2, 1, 1))


def error_px(net, frames, step_px):
    with torch.no_grad():
        flow = find_flow(net, frames, neighbours(frames)).forward_N2HW[..., 8:-8, 8:-8]
    return (flow - torch.tensor([float(step_px), 0.0]).view(1, 2, 1, 1)).norm(dim=1).mean().item()


@pytest.mark.slow
def test_a_net_learns_to_follow_from_clips_alone():
    torch.manual_seed(0)
    net = PwcTracker()
    trainer = FlowTrainer(net, lr=1e-3, stride=4, world=1)
    frames = clip(0, 3)
    before = error_px(net, frames, 3)
    for _ in range(40):
        found = trainer.step(frames, neighbours(frames), detector)
    assert error_px(net, frames, 3) < 0.5 * before
    assert set(found) == {"flow/census", "flow/smoothness", "flow/heat"}


def test_a_resumed_trainer_takes_the_same_step():
    torch.manual_seed(0)
    first = PwcTracker()
    trainer = FlowTrainer(first, lr=1e-3, stride=4, world=1)
    frames = clip(1, 2)
    trainer.step(frames, neighbours(frames), detector)
    second = PwcTracker()
    again = FlowTrainer(second, lr=1e-3, stride=4, world=1)
    again.load_state_dict(trainer.state_dict())
    for each in (trainer, again):
        each.step(frames, neighbours(frames), detector)
    nets = [first.state_dict(), second.state_dict()]
    assert all(torch.equal(value, nets[1][name]) for name, value in nets[0].items())


def on_a_gpu():
    """A net as it would be on a GPU; of sizes alone."""
    net = torch.nn.Module()
    with FakeTensorMode():
        net.weight = torch.nn.Parameter(torch.empty(2, device="cuda"))
    return FlowTrainer(net, lr=1e-3, stride=4, world=1)


def test_a_gpu_counts_the_steps_itself():
    """A step that is not fused, resumed, asks the device for the count of every parameter."""
    assert all(group["fused"] for group in on_a_gpu()._optimizer.param_groups)


def test_what_no_gpu_can_repeat_is_refused_in_a_sentence():
    torch.use_deterministic_algorithms(True)
    try:
        with pytest.raises(ConfigError, match=r"runtime\.numerics\.deterministic is true"):
            on_a_gpu().step(clip(0, 3), neighbours(clip(0, 3)), detector)
    finally:
        torch.use_deterministic_algorithms(False)
