"""A lean is said when it is there, with its side and its size, and not when it is chance or nothing beside the error."""

import numpy as np
import pytest

from tsal_dist.inference.evaluation import Evaluation, FrameScore
from tsal_dist.insight.lean import lean_in_words
from tsal_dist.metrics.face_errors import FaceErrors
from tsal_dist.metrics.jitter import Jitter


def found_with(lean, spread=2.0, faces=200, videos=None, alike=False):
    """Each face a video of its own, unless there are fewer; whose faces are all off by the same, if they are `alike`."""
    rng = np.random.default_rng(1)
    errors = FaceErrors(1, "face_size")
    video_N = np.arange(faces) % (videos or faces)
    truth = np.full((faces, 1, 2), 50.0)
    off = rng.normal(0, spread, truth.shape)
    if alike:
        off = off[video_N]
    boxes = np.tile((0.0, 0.0, 100.0, 100.0), (faces, 1))
    nme_N = errors.add(truth + off + lean, truth, np.ones((faces, 1), bool), boxes)
    lean_N2 = (off + lean)[:, 0] / 100
    scores = [
        FrameScore(f"video {video}", face, nme_N[face], tuple(lean_N2[face]))
        for face, video in enumerate(video_N)
    ]
    return Evaluation(errors, Jitter(), scores=scores)


@pytest.mark.parametrize(
    ("lean", "words"),
    [
        ([-2.0, 0.0], "% left of the truth"),
        ([2.0, 0.0], "% right of the truth"),
        ([2.0, -3.0], "% above the truth"),
        ([0.0, 2.0], "% below the truth"),
    ],
)
def test_a_lean_is_said_with_its_side(lean, words):
    said = lean_in_words(found_with(lean), mirrored=True)
    assert words in said
    assert ("train.mirror_until" in said) == bool(lean[0]), "above and below are the same in a mirror"
    unmirrored = lean_in_words(found_with(lean), mirrored=False)
    assert words in unmirrored
    assert "train.mirror_until" not in unmirrored, "there is nothing to end"


@pytest.mark.parametrize(("lean", "faces"), [([0.0, 0.0], 200), ([1.0, 0.0], 8), ([0.1, 0.0], 10_000)])
def test_chance_and_little_are_not(lean, faces):
    assert lean_in_words(found_with(lean, faces=faces), mirrored=True) == ""


def test_frames_of_few_videos_are_no_proof():
    for videos in (1, 4, 8):
        assert lean_in_words(found_with([1.0, 0.0], videos=videos, alike=True), mirrored=True) == ""
    assert lean_in_words(found_with([1.0, 0.0], spread=0.05, videos=4), mirrored=True) == ""
    assert lean_in_words(found_with([1.0, 0.0], spread=0.05, videos=5), mirrored=True)


def test_what_trembles_within_videos_is_averaged_out_first():
    assert "right of" in lean_in_words(found_with([1.0, 0.0], videos=8), mirrored=True)


def test_a_long_video_is_one_among_others():
    """It leans, and the eight short ones do not."""
    found, long = found_with([0.0, 0.0], faces=9), found_with([2.0, 0.0], spread=0.1, faces=300, videos=1)
    assert (
        lean_in_words(
            Evaluation(found.errors + long.errors, Jitter(), scores=found.scores + long.scores), True
        )
        == ""
    )


def test_nothing_measured_leans_nowhere():
    assert lean_in_words(Evaluation(FaceErrors(1, "face_size"), Jitter()), mirrored=True) == ""
