"""A lean is said when it is there, with its side and its size, and not when it is chance or nothing beside the error."""

import numpy as np
import pytest

from tsal_dist.inference.evaluation import Evaluation, FrameScore
from tsal_dist.insight.lean import lean_in_words
from tsal_dist.metrics.face_errors import FaceErrors
from tsal_dist.metrics.jitter import Jitter


def found_with(lean, spread=2.0, faces=200, videos=None):
    """Each face a video of its own, unless there are fewer."""
    rng = np.random.default_rng(1)
    errors = FaceErrors(1, "face_size")
    truth = np.full((faces, 1, 2), 50.0)
    predicted = truth + rng.normal(0, spread, truth.shape) + lean
    nme_N = errors.add(
        predicted, truth, np.ones((faces, 1), bool), np.tile((0.0, 0.0, 100.0, 100.0), (faces, 1))
    )
    names = [f"video {face % (videos or faces)}" for face in range(faces)]
    scores = [FrameScore(name, face, nme_N[face]) for face, name in enumerate(names)]
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
    assert lean_in_words(found_with([1.0, 0.0], faces=200, videos=8), mirrored=True) == ""
    assert lean_in_words(found_with([1.0, 0.0], faces=200), mirrored=True)


def test_nothing_measured_leans_nowhere():
    assert lean_in_words(Evaluation(FaceErrors(1, "face_size"), Jitter()), mirrored=True) == ""
