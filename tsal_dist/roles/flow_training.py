"""Training the flow net beside the detector, on the teacher's clips: no labels, three pieces of evidence.

    census       what the flow rebuilds has the same order of brightness as what was there
    smoothness   a flow breaks only where the picture has an edge
    heat         the frozen detector's heatmaps of two neighbours agree once one is moved along the flow

The heatmaps are warped instead of the pictures, so the detector runs once per frame and needs no graph.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tsal_dist.dist.collectives import sum_tensors
from tsal_dist.engine.optim import read_optimizer, write_optimizer
from tsal_dist.errors import ConfigError
from tsal_dist.geometry.warp import warp
from tsal_dist.losses.term import Term
from tsal_dist.losses.tracking import census_loss, smoothness_loss
from tsal_dist.models.input import normalize
from tsal_dist.models.output import Forward
from tsal_dist.recipes.api import Terms
from tsal_dist.recipes.frames import Frames, Pairs
from tsal_dist.recipes.steps import add_terms, total_loss
from tsal_dist.recipes.study import find_flow
from tsal_dist.trackers.flow import Flow, Tracker

SMOOTHNESS = 0.05
HEAT = 1.0
CLIP_NORM = 1.0


class FlowTrainer:
    """Takes steps for a tracker that is a module; every rank of the role takes them together."""

    def __init__(self, tracker: Tracker, lr: float, stride: int, world: int) -> None:
        assert isinstance(tracker, nn.Module), "only a network has something to train"
        self._net: nn.Module = tracker
        self._tracker = tracker
        self._stride = stride
        self._world = world
        # On a GPU as one kernel, which counts its steps there: any other, resumed, would ask the device for the count of
        # each parameter. On a CPU nobody waits, and a fused step rounds otherwise.
        self._on_gpu = all(parameter.is_cuda for parameter in self._net.parameters())
        self._optimizer = torch.optim.AdamW(
            self._net.parameters(), lr=lr, weight_decay=1e-4, fused=self._on_gpu
        )

    def step(self, frames: Frames, pairs: Pairs, detector: Forward) -> dict[str, float]:
        """One step on the clips of a batch; the loss terms. Collective."""
        if self._on_gpu and torch.are_deterministic_algorithms_enabled():
            raise ConfigError(
                "runtime.numerics.deterministic is true, and model.tracker.kind 'pwc' is to learn on a GPU, where torch has no "
                "way back through a warp that gives the same bits again. Set it to false, or "
                "model.tracker.steps_per_version = 0."
            )
        with torch.no_grad():
            heat_NKhw = detector(normalize(frames.image_NHWC)).points_heat_NKhw
        flow = find_flow(self._tracker, frames, pairs)
        before, after = frames.image_NHWC[pairs.before_P], frames.image_NHWC[pairs.after_P]
        heat = (heat_NKhw[pairs.before_P], heat_NKhw[pairs.after_P])
        terms = flow_terms(flow, _floats(before), _floats(after), heat, self._stride)
        counts = sum_tensors({name: term.count for name, term in terms.items()})
        weights = {"census": 1.0, "smoothness": SMOOTHNESS, "heat": HEAT}
        self._optimizer.zero_grad()
        total_loss(terms, counts, weights, self._world).backward()  # type: ignore[no-untyped-call]
        self._share_gradients()
        nn.utils.clip_grad_norm_(self._net.parameters(), CLIP_NORM)
        self._optimizer.step()
        return {f"flow/{name}": float(term.mean().detach()) for name, term in terms.items()}

    def state_dict(self) -> dict[str, Any]:
        return {
            "weights": dict(self._net.state_dict()),
            "optimizer": read_optimizer(self._optimizer, self._net),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """The inverse of `state_dict`."""
        self._net.load_state_dict(state["weights"])
        write_optimizer(self._optimizer, self._net, state["optimizer"])

    def _share_gradients(self) -> None:
        """The mean over ranks, as DDP would give: this net steps seldom and is small."""
        if self._world == 1:
            return
        gradients = {name: p.grad for name, p in self._net.named_parameters() if p.grad is not None}
        for name, total in sum_tensors(gradients).items():
            gradients[name].copy_(total / self._world)


def flow_terms(
    flow: Flow, before_N3HW: Tensor, after_N3HW: Tensor, heat: tuple[Tensor, Tensor], stride: int
) -> Terms:
    """The three losses over both directions. Pictures in [0, 1]; heat of the frames before and after, cells of
    `stride` pixels."""
    ways = (
        (flow.forward_N2HW, flow.valid_N1HW, before_N3HW, after_N3HW, heat[0], heat[1]),
        (flow.backward_N2HW, flow.reverse.valid_N1HW, after_N3HW, before_N3HW, heat[1], heat[0]),
    )
    found: list[Terms] = []
    for way_N2HW, valid_N1HW, here_N3HW, there_N3HW, heat_here, heat_there in ways:
        rebuilt_N3HW, inside_N1HW = warp(there_N3HW, way_N2HW)
        # Until the two directions have learnt to undo each other, nearly nothing is valid, and nothing would be learnt.
        seen_N1HW = inside_N1HW & (valid_N1HW | (valid_N1HW.float().mean() < 0.5))
        found.append(
            {
                "census": census_loss(here_N3HW, rebuilt_N3HW, seen_N1HW),
                "smoothness": smoothness_loss(way_N2HW, here_N3HW),
                "heat": _heat_term(heat_here, heat_there, way_N2HW, stride),
            }
        )
    return add_terms(found)


def _heat_term(here_NKhw: Tensor, there_NKhw: Tensor, flow_N2HW: Tensor, stride: int) -> Term:
    """Sum over maps and cells of (H(a) - H(b) moved along the flow)^2; count: frames."""
    flow_N2hw = F.avg_pool2d(flow_N2HW, stride) / stride
    moved_NKhw, inside_N1hw = warp(there_NKhw, flow_N2hw)
    error = ((here_NKhw.float() - moved_NKhw).square() * inside_N1hw).sum()
    return Term(error, torch.full((), float(len(here_NKhw)), device=error.device))


def _floats(image_NHWC: Tensor) -> Tensor:
    return image_NHWC.permute(0, 3, 1, 2).float() / 255
