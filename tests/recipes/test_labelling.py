"""A teacher's sources, on pictures where the truth is painted."""

import numpy as np
import pytest
import torch

from tests.roles.painted import (
    POINTS,
    SIZE_PX,
    STRIDE,
    ColourDetector,
    ShiftTracker,
    build_clip,
    grid_points,
    unlabelled,
)
from tsal_dist.geometry.flip import flip_order
from tsal_dist.geometry.heatmap import encode_heatmap
from tsal_dist.models.companions import Fitting, learn_companions
from tsal_dist.models.output import DetectorOutput
from tsal_dist.recipes.api import Source
from tsal_dist.recipes.frames import neighbours
from tsal_dist.recipes.labelling import Limits, label
from tsal_dist.roles.batches import stack_frames

ALL = ("heatmap", "center", "track")
LIMITS = Limits(max_error_px=1.5, max_move_px=20.0)
STEP = (2.0, -1.0)
FRAMES = 4
MIRROR = flip_order(POINTS)


def moving(step=STEP):
    return np.stack([grid_points(np.array(step) * t) for t in range(FRAMES)])


def ask(points_TK2, tracker, sources=ALL, views=1, clips=1, limits=LIMITS):
    frames = stack_frames([build_clip(points_TK2)] * clips, torch.device("cpu"))
    detector = ColourDetector()
    asked = [Source(name, reading=name, views=views) for name in sources]
    panel = {"teacher": detector}
    answers = label(panel, tracker, frames, asked, stride=STRIDE, radius=4, limits=limits, mirror_K=MIRROR)
    return answers, torch.from_numpy(np.concatenate([points_TK2] * clips)).float(), detector


def test_every_source_finds_the_dots():
    answers, truth_NK2, detector = ask(moving(), ShiftTracker(*STEP), clips=2)
    for place, source in enumerate(ALL):
        torch.testing.assert_close(
            answers.points_NSK2[:, place],
            truth_NK2,
            rtol=0,
            atol=0.15,
            msg=lambda text, s=source: f"{s}: {text}",
        )
    assert answers.valid_NSK.all()
    assert detector.frames == 2 * FRAMES, "one forward pass per frame"


class CountedDetector(ColourDetector):
    """Which counts its forward passes too."""

    def __init__(self):
        super().__init__()
        self.passes = 0

    def __call__(self, image_N3HW):
        self.passes += 1
        return super().__call__(image_N3HW)


def test_a_panel_of_two_nets_costs_two_forward_passes():
    """However many questions each of them is asked."""
    panel = {"teacher": CountedDetector(), "reviewer": CountedDetector()}
    asked = [
        Source(f"{member} {reading}", reading, member)
        for member in panel
        for reading in ("heatmap", "center", "track")
    ]
    frames = stack_frames([build_clip(moving())], torch.device("cpu"))
    answers = label(panel, ShiftTracker(*STEP), frames, asked, stride=STRIDE, radius=4, limits=LIMITS)
    assert answers.points_NSK2.shape == (FRAMES, 6, POINTS, 2)
    assert [net.passes for net in panel.values()] == [1, 1]
    assert [net.frames for net in panel.values()] == [FRAMES, FRAMES]


@pytest.mark.parametrize("reading", [*ALL, "companions"])
def test_a_source_of_peaks_takes_twelve_bytes_a_point(reading):
    """Two coordinates and a score of four bytes each: 816 for a face, as the page of methods says."""
    assert Source("peaks", reading).bytes_per_point() == 12
    assert 68 * Source("peaks", reading).bytes_per_point() == 816


def test_the_track_of_a_steady_motion_is_the_detection_of_the_neighbours():
    """Exactly: carried by the true flow, what was found beside is what is found here."""
    answers, _, _ = ask(moving(), ShiftTracker(*STEP), sources=("heatmap", "track"))
    found_NK2, track_NK2 = answers.points_NSK2[:, 0], answers.points_NSK2[:, 1]
    step_2 = torch.tensor(STEP)
    torch.testing.assert_close(track_NK2[0], found_NK2[1] - step_2, rtol=0, atol=1e-4)
    torch.testing.assert_close(track_NK2[-1], found_NK2[-2] + step_2, rtol=0, atol=1e-4)
    both = (found_NK2[0] + step_2 + found_NK2[2] - step_2) / 2
    torch.testing.assert_close(track_NK2[1], both, rtol=0, atol=1e-4)
    assert answers.fb_error_NK.max() < 1e-3


def test_a_way_that_is_too_long_ends_the_track():
    short = Limits(max_error_px=1.5, max_move_px=1.0)
    answers, _, _ = ask(moving(), ShiftTracker(*STEP), limits=short)
    assert not answers.valid_NSK[:, 2].any()
    assert answers.valid_NSK[:, :2].all()
    assert torch.isfinite(answers.points_NSK2).all()


def test_a_tracker_that_contradicts_itself_is_not_believed():
    class Contradicting(ShiftTracker):
        def __call__(self, a_NHWC, b_NHWC):
            from tsal_dist.trackers.flow import Flow

            flow = super().__call__(a_NHWC, b_NHWC)
            return Flow(flow.forward_N2HW, flow.forward_N2HW)

    answers, _, _ = ask(moving(), Contradicting(*STEP))
    assert not answers.valid_NSK[:, 2].any()


def test_nothing_is_tracked_from_one_clip_to_the_next():
    frames = unlabelled(torch.zeros(6, 8, 8, 3, dtype=torch.uint8), clip_frames=3)
    pairs = neighbours(frames)
    assert list(zip(pairs.before_P.tolist(), pairs.after_P.tolist(), strict=True)) == [
        (0, 1),
        (1, 2),
        (3, 4),
        (4, 5),
    ]
    tracker = ShiftTracker(*STEP)
    ask(moving(), tracker, clips=2)
    assert tracker.pairs == 2 * (FRAMES - 1), "one flow per pair of neighbours, both ways from one call"


def test_a_still_picture_does_not_vouch_for_itself():
    """Its flow is none and its own peak is where it was: without this a track agrees with whatever the heatmap said."""
    still = np.stack([grid_points(np.zeros(2))] * FRAMES)
    clip = build_clip(still, frames_T=np.full(FRAMES, 7, np.int32))
    short = build_clip(moving(), frames_T=np.minimum(np.arange(FRAMES, dtype=np.int32), FRAMES - 2))
    frames = stack_frames([clip, short], torch.device("cpu"))
    tracker = ShiftTracker(0.0, 0.0)
    asked = [Source(name, reading=name) for name in ALL]
    answers = label(
        {"teacher": ColourDetector()}, tracker, frames, asked, stride=STRIDE, radius=4, limits=LIMITS
    )
    valid_NS = answers.valid_NSK.all(-1)
    assert not valid_NS[:FRAMES, ALL.index("track")].any()
    assert valid_NS[:FRAMES, ALL.index("heatmap")].all()
    assert tracker.pairs == FRAMES - 2, "those of the video, without its last frame's repeat"
    assert not valid_NS[-1, ALL.index("track")]


@pytest.mark.parametrize("sources", [("heatmap",), ("center", "heatmap"), ("track", "heatmap")])
def test_only_what_was_asked_for_is_computed(sources):
    tracker = ShiftTracker(*STEP)
    answers, _, _ = ask(moving(), tracker, sources=sources)
    assert answers.points_NSK2.shape == (FRAMES, len(sources), POINTS, 2)
    assert (tracker.pairs > 0) == ("track" in sources)


def test_further_views_are_averaged_and_counted():
    answers, truth_NK2, detector = ask(moving(), ShiftTracker(*STEP), sources=("heatmap",), views=4)
    torch.testing.assert_close(answers.points_NSK2[:, 0], truth_NK2, rtol=0, atol=0.3)
    assert detector.frames == 4 * FRAMES


@pytest.mark.parametrize("reading", ["heatmap", "companions", "patch"])
def test_every_reading_is_of_the_averaged_maps(reading):
    """Two views that disagree do not meet in the middle: each peak is half as high, and the surer one is taken."""
    here, there = (torch.full((1, 4, 2), at) for at in (30.0, 90.0))

    def detector(image_N3HW):
        mirrored = len(seen) == 1
        seen.append(mirrored)
        at, high = (SIZE_PX - 1 - there, 0.6) if mirrored else (here, 0.8)
        heat_NKhw = encode_heatmap(at, torch.ones(1, 4), (SIZE_PX // STRIDE,) * 2, STRIDE, 6.0) * high
        return DetectorOutput(heat_NKhw.unsqueeze(0), heat_NKhw[:, :1], heat_NKhw[:, :2])

    seen = []
    known = learn_companions(np.full((6, 4, 2), 30.0), np.ones((6, 4), bool), 6.0)
    frames = stack_frames([build_clip(moving()[:1])], torch.device("cpu"))
    source = Source("seen", reading, views=2, size=3 if reading == "patch" else 0)
    answers = label(
        {"teacher": detector},
        None,
        frames,
        [source],
        stride=STRIDE,
        radius=4,
        limits=LIMITS,
        fitting=Fitting(known, 6.0),
        mirror_K=(1, 0, 3, 2),
    )
    assert len(seen) == 2
    assert (answers.points_NSK2[:, 0] - here).abs().max() < 0.5
    assert answers.score_NSK.tolist() == [[pytest.approx([0.4] * 4, abs=0.02)]]
    if reading == "patch":
        assert answers.more["seen"][..., 1, 1].float().mean() == pytest.approx(0.4 * 255, abs=5)
