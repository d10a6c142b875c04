"""Numbers of subjects over time: boxes whose truth is known."""

import numpy as np
import pytest

from tsal_dist.pack.box_tracker import MEMORY_FRAMES, BoxTracker, colors_in

GRAY_HWC = np.full((200, 400, 3), 128, np.uint8)


def box(x, y=50.0, side=20.0):
    return np.array([x - side / 2, y - side / 2, x + side / 2, y + side / 2])


def numbers(frames):
    """For each frame the subject of each box."""
    tracker = BoxTracker()
    return [tracker.update(GRAY_HWC, boxes) for boxes in frames]


def test_each_keeps_its_number_whatever_the_order_of_the_boxes():
    random = np.random.default_rng(0)
    tracker, told = BoxTracker(), []
    for t in range(40):
        boxes = [box(20 + 3 * t), box(60 + 3 * t), box(200 - 2 * t, 120)]
        order = random.permutation(3) if t else np.arange(3)
        told.append(
            dict(zip(order.tolist(), tracker.update(GRAY_HWC, [boxes[k] for k in order]), strict=True))
        )
    assert told == [{0: 1, 1: 2, 2: 3}] * 40


def test_two_that_cross_each_other_keep_their_numbers():
    """They meet at one place for a moment, and both boxes are there."""
    frames = [[box(20 + 4 * t), box(180 - 4 * t, 53)] for t in range(41)]
    assert numbers(frames) == [[1, 2]] * 41


def test_one_that_is_hidden_while_they_cross_is_found_again():
    """From the left to the right behind the other, unseen for nine frames."""
    frames = []
    for t in range(41):
        hidden = 16 <= t <= 24
        frames.append([box(180 - 4 * t)] if hidden else [box(180 - 4 * t), box(20 + 4 * t)])
    told = numbers(frames)
    assert all(one == [1, 2] for one in told[:16])
    assert all(one == [1] for one in told[16:25])
    assert all(one == [1, 2] for one in told[25:])


def test_who_left_on_one_side_is_not_who_comes_on_the_other():
    frames = [[box(20)]] * 5 + [[]] * 5 + [[box(300)]] * 3
    assert numbers(frames)[-1] == [2]


def test_who_comes_back_soon_to_the_same_place_is_the_same_and_late_is_another():
    soon = [[box(20)]] * 5 + [[]] * (MEMORY_FRAMES - 1) + [[box(25)]]
    late = [[box(20)]] * 5 + [[]] * MEMORY_FRAMES + [[box(25)]]
    assert numbers(soon)[-1] == [1]
    assert numbers(late)[-1] == [2]


def test_who_was_never_lost_comes_first():
    """The lost one's place is nearer to the box, but the other was seen a frame ago."""
    frames = [[box(50), box(90)]] * 4 + [[box(90)]] * 4 + [[box(81)]]
    assert numbers(frames)[-2:] == [[2], [2]]


def test_a_box_of_quite_another_size_is_another_subject():
    assert numbers([[box(50)], [box(50, side=60)]]) == [[1], [2]]


def test_no_box_is_no_subject():
    assert numbers([[], [box(10)], []]) == [[], [1], []]


def painted(boxes, colors):
    image_HWC = GRAY_HWC.copy()
    for box_4, color in zip(boxes, colors, strict=True):
        x1, y1, x2, y2 = box_4.astype(int)
        image_HWC[y1 : y2 + 1, x1 : x2 + 1] = color
    return image_HWC


@pytest.mark.parametrize("swapped", [False, True])
def test_of_two_that_were_lost_together_colours_tell_who_is_who(swapped):
    """One comes back between where both were, nearer to where the first was."""
    red, blue = (30, 30, 220), (220, 30, 30)
    tracker = BoxTracker()
    boxes = [box(100), box(140)]
    for _ in range(3):
        assert tracker.update(painted(boxes, [red, blue]), boxes) == [1, 2]
    for _ in range(8):
        tracker.update(GRAY_HWC, [])
    back = [box(116)]
    assert tracker.update(painted(back, [blue if swapped else red]), back) == [2 if swapped else 1]


def test_a_box_beyond_the_picture_has_colours_too():
    assert colors_in(GRAY_HWC, np.array([-50.0, -50, -20, -20])).sum() == pytest.approx(1)
    assert colors_in(GRAY_HWC, np.array([390.0, 190, 500, 300])).sum() == pytest.approx(1)
