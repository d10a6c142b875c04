"""What a teacher learns of its own scores: by how much peaks of each height were off on frames with a truth."""

import math

import pytest
import torch

from tsal_dist.models.output import DetectorOutput
from tsal_dist.recipes.api import Task
from tsal_dist.recipes.frames import Frames
from tsal_dist.roles.score_meter import ScoreMeter

TASK = Task(points=4, crop_px=96, stride=4, radius=4, sigma_px=6.0, clip_frames=1)
POINTS, SIDE, CELLS = TASK.points, TASK.crop_px, TASK.crop_px // TASK.stride
"""The truth lies in the middle of every frame."""


def frames(count=40, visible=True):
    shape = (count, POINTS)
    return Frames(
        image_NHWC=torch.zeros(count, SIDE, SIDE, 3, dtype=torch.uint8),
        points_NK2=torch.full((*shape, 2), SIDE / 2),
        visible_NK=torch.full(shape, visible),
        labelled_N=torch.ones(count, dtype=torch.bool),
        face_px_B=torch.full((count,), 10.0),
        clip_frames=1,
    )


def seeing(height, off_px):
    """A net that sees every point so far to the right of the middle, at this height."""

    def infer(image_N3HW):
        heat = torch.zeros(1, len(image_N3HW), POINTS + 1, CELLS, CELLS)
        column = int((SIDE / 2 + off_px) // TASK.stride)
        heat[..., CELLS // 2, column] = height
        empty = torch.zeros(len(image_N3HW), 2 * POINTS, CELLS, CELLS)
        return DetectorOutput(heat, empty[:, :1], empty)

    return infer


def stated(meter, score):
    return meter.known.expected_px(torch.full((1, POINTS), score))[0]


def test_a_score_states_the_error_that_was_seen_at_it():
    meter = ScoreMeter(TASK)
    assert meter.known is None
    meter.look(seeing(0.9, 0), frames())
    meter.look(seeing(0.4, 8), frames())
    beside = (
        TASK.stride - 1
    ) / 2  # from the middle of the frame to the middle of its cell, in both directions
    for score, error_px in ((0.9, math.hypot(beside, beside)), (0.4, math.hypot(8 + beside, beside))):
        expected = torch.full((POINTS,), error_px).double()
        torch.testing.assert_close(stated(meter, score), expected, atol=0.5, rtol=0)


def test_what_nobody_sees_is_as_far_off_as_chance():
    meter = ScoreMeter(TASK)
    meter.look(seeing(0.9, 0), frames())
    torch.testing.assert_close(stated(meter, 0.0), torch.full((POINTS,), SIDE / 2).double())


def test_a_net_that_became_better_is_believed_after_some_versions():
    meter = ScoreMeter(TASK)
    meter.look(seeing(0.6, 12), frames())
    before = stated(meter, 0.6)
    for _ in range(30):
        meter.look(seeing(0.6, 0), frames())
    assert (stated(meter, 0.6) < before / 2).all()


def test_points_without_a_truth_tell_nothing():
    meter = ScoreMeter(TASK)
    meter.look(seeing(0.6, 12), frames(visible=False))
    assert meter.known is None


def test_it_goes_on_where_it_stood():
    one, two = ScoreMeter(TASK), ScoreMeter(TASK)
    one.look(seeing(0.6, 8), frames())
    two.load_state_dict({name: value.clone() for name, value in one.state_dict().items()})
    for meter in (one, two):
        meter.look(seeing(0.8, 0), frames())
    for score in (0.1, 0.6, 0.8):
        assert torch.equal(stated(one, score), stated(two, score))


@pytest.mark.parametrize("count", [1, 3])
def test_few_frames_are_enough_to_begin_with(count):
    meter = ScoreMeter(TASK)
    meter.look(seeing(0.9, 0), frames(count))
    assert torch.isfinite(stated(meter, 0.5)).all()
