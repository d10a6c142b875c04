"""Landmarks of one frame, carried along a flow to the next, with what speaks for and against each.

Axes: N pairs of frames, K points.
"""

from typing import NamedTuple

from torch import Tensor

from tsal_dist.geometry.warp import sample
from tsal_dist.trackers.flow import Flow


class Carried(NamedTuple):
    """Points of a, in b."""

    points_NK2: Tensor
    error_NK: Tensor
    """Forward-backward error where each point started, in pixels."""
    valid_NK: Tensor


def carry_points(flow: Flow, points_NK2: Tensor, *, max_error_px: float, max_move_px: float) -> Carried:
    """Move the points of a to b; valid where the way is short, undone by the way back, and ends in the frame.

    A landmark moves little from frame to frame: a long way is a lost track, whatever the way back says.
    """
    height, width = flow.forward_N2HW.shape[-2:]
    step_NK2 = sample(flow.forward_N2HW, points_NK2)
    error_NK = sample(flow.error_N1HW, points_NK2).squeeze(-1)
    there_NK2 = points_NK2 + step_NK2
    x_NK, y_NK = there_NK2.unbind(-1)
    inside_NK = (x_NK >= -0.5) & (x_NK <= width - 0.5) & (y_NK >= -0.5) & (y_NK <= height - 0.5)
    short_NK = step_NK2.square().sum(-1) <= max_move_px**2
    return Carried(there_NK2, error_NK, inside_NK & short_NK & (error_NK <= max_error_px))
