"""Memory of a step: counted as a real backward pass keeps it, and refused where it cannot be had."""

import pytest
import torch
from torch.autograd.graph import saved_tensors_hooks

from tsal_dist.config import load_config
from tsal_dist.errors import ConfigError
from tsal_dist.models.detectors import build_detector
from tsal_dist.planning.memory import need_of, refuse_too_much


def config(*overrides):
    return load_config([], ["model.detector=lite", "model.crop_px=64", "model.num_points=5", *overrides])


def test_what_is_foretold_is_what_a_real_pass_keeps():
    settings = config("train.labelled_batch=6", "train.unlabelled_batch=4", "data.clip_frames=2")
    model = build_detector("lite", 5)
    own = {value.untyped_storage().data_ptr() for value in (*model.parameters(), *model.buffers())}
    kept = {}

    def count(value):
        if value.untyped_storage().data_ptr() not in own:
            kept[value.untyped_storage().data_ptr()] = (value.untyped_storage().nbytes(), value)
        return value

    with saved_tensors_hooks(count, lambda value: value):
        output = model(torch.zeros(10, 3, 64, 64))
    assert need_of(settings).kept == pytest.approx(sum(size for size, _ in kept.values()), rel=0.05)
    del output


def test_a_larger_batch_needs_in_proportion_more():
    small, large = (need_of(config(f"train.labelled_batch={n}", "train.unlabelled_batch=0")) for n in (8, 80))
    assert large.kept == 10 * small.kept
    assert large.weights == small.weights


def test_a_batch_in_pieces_needs_no_more_than_one_of_them():
    whole, pieces = (need_of(config(f"runtime.student.accumulate={n}")) for n in (1, 4))
    assert pieces.kept == whole.kept / 4
    assert pieces.weights == whole.weights
    refuse_too_much(config("runtime.student.accumulate=4"), 100, have_bytes=whole.total - 1)


def test_a_method_without_clips_has_labelled_frames_alone():
    alone, tsal = (
        need_of(config(f"method.name={name}", "train.unlabelled_batch=16")) for name in ("supervised", "tsal")
    )
    assert tsal.kept == 2 * alone.kept


def test_a_batch_that_shows_each_frame_many_times_is_refused():
    with pytest.raises(
        ConfigError, match=r"labelled_batch is 100000 and data\.labelled holds 72 labelled frames"
    ):
        refuse_too_much(config("train.labelled_batch=100000"), 72)
    refuse_too_much(config("train.labelled_batch=16"), 10)
    refuse_too_much(config("train.labelled_batch=64"), 1)


def test_a_step_that_does_not_fit_is_refused_with_numbers():
    settings = config("train.labelled_batch=1000")
    with pytest.raises(
        ConfigError, match=r"needs about .* GB \(weights .*this machine has 0\.1 GB\. Lower train"
    ):
        refuse_too_much(settings, 100_000, have_bytes=100_000_000)
    refuse_too_much(settings, 100_000, have_bytes=need_of(settings).total)
