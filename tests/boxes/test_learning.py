"""A short training learns to find, and measures itself on what it did not see."""

import dataclasses
from contextlib import contextmanager

import numpy as np
import pytest
import torch

from tests.boxes.shown import random_boxes, shown
from tsal_dist.boxes.judging import FITS, judge
from tsal_dist.boxes.learning import Lesson, learn
from tsal_dist.boxes.making import Split, make_box_model
from tsal_dist.errors import DataError
from tsal_dist.models.box_net import BoxNet, open_box_net
from tsal_dist.pack.boxes import overlap
from tsal_dist.pack.subject_models import load_detector

pytestmark = pytest.mark.slow  # trains

LESSON = Lesson("lite", 96, steps=160, lr=4e-3, seed=1)
CPU = torch.device("cpu")


def unwatched(done, loss):
    """Nobody watches."""


@contextmanager
def nobody_watches(name):
    yield unwatched


@pytest.fixture(scope="module")
def frames():
    """To learn from, and others."""
    return [shown(seed) for seed in range(60)], [shown(seed) for seed in range(100, 130)]


@pytest.fixture(scope="module")
def made(frames, tmp_path_factory):
    """A box model by the whole way; its file and what was noted."""
    file = tmp_path_factory.mktemp("boxes") / "boxes.safetensors"
    return file, make_box_model(file, Split([], []), frames, LESSON, nobody_watches)


def test_it_finds_what_an_untrained_net_and_the_mean_box_do_not(frames, made):
    train, held = frames
    file, note = made
    net, _ = open_box_net(file)
    found = judge(net, LESSON.side_px, held)
    untrained = judge(BoxNet("lite").eval(), LESSON.side_px, held)
    mean_4 = np.concatenate([one.boxes_B4 for one in train]).mean(0)
    subjects = np.concatenate([one.boxes_B4 for one in held])
    by_mean = float((overlap(subjects, mean_4) >= FITS).mean())
    assert found.recall(note.threshold) > 0.9
    assert found.precision(note.threshold) > 0.9
    assert (untrained.recall(0.0) or 0.0) < 0.3
    assert by_mean < 0.3
    assert (note.recall, note.precision) == (found.recall(note.threshold), found.precision(note.threshold))
    assert note.judged == "30 held-out videos"
    assert (note.frames, note.subjects) == (30, len(subjects))


def test_frames_without_a_subject_are_said_to_have_none(made):
    detect = load_detector(str(made[0]))
    empty = [shown(seed, []) for seed in range(200, 260)]
    assert sum(len(detect(one.image_HWC)) == 0 for one in empty) >= 0.95 * len(empty)


def test_the_same_seed_gives_the_same_net(frames):
    brief = dataclasses.replace(LESSON, steps=3)
    one, same = (learn(frames[0], brief, CPU, unwatched).state_dict() for _ in range(2))
    other = learn(frames[0], dataclasses.replace(brief, seed=2), CPU, unwatched).state_dict()
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert any(not torch.equal(one[name], other[name]) for name in one)


def test_training_leaves_torchs_random_numbers_alone(frames):
    torch.manual_seed(5)
    before = torch.get_rng_state()
    learn(frames[0], dataclasses.replace(LESSON, steps=1), CPU, unwatched)
    assert torch.equal(before, torch.get_rng_state())


def test_without_another_video_halves_are_measured(frames, tmp_path):
    """Each by a net that learnt from the other half; what is written learnt from all."""
    lessons = []

    @contextmanager
    def watch(name):
        lessons.append(name)
        yield unwatched

    brief = dataclasses.replace(LESSON, steps=2)
    note = make_box_model(tmp_path / "b.safetensors", Split([], []), (frames[0][:10], []), brief, watch)
    assert lessons == ["half 1 of 2, to measure", "half 2 of 2, to measure", "box net"]
    assert note.judged.startswith("the halves of the labelled frames")
    assert note.frames == 10
    assert note.subjects == sum(len(random_boxes(seed)) for seed in range(10))
    whole = learn(frames[0][:10], brief, CPU, unwatched).state_dict()
    written = open_box_net(tmp_path / "b.safetensors")[0].state_dict()
    assert all(torch.equal(whole[name], written[name]) for name in whole)


def test_one_frame_is_measured_on_nothing_and_none_is_refused(frames, tmp_path):
    brief, file = dataclasses.replace(LESSON, steps=1), tmp_path / "b.safetensors"
    note = make_box_model(file, Split([], []), ([shown(0, [[5, 5, 30, 30]])], []), brief, nobody_watches)
    assert (note.frames, note.recall, note.judged) == (0, None, "")
    with pytest.raises(DataError, match="No frame that could be read holds a subject"):
        make_box_model(file, Split([], []), ([shown(0, [])], []), brief, nobody_watches)
