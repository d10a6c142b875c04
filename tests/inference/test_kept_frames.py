"""A few frames are chosen first, decoded once and measured often."""

import dataclasses
import math

import pytest
import torch

from tests.roles.short_runs import short_config
from tsal_dist.data.pool import InProcess
from tsal_dist.data.shard_set import open_shards
from tsal_dist.inference.evaluation import build_evaluator, evenly
from tsal_dist.inference.kept_frames import KeptFrames
from tsal_dist.models.detectors import build_detector

CPU = torch.device("cpu")


@pytest.fixture
def decoded(monkeypatch):
    """The samples that were read, in order."""
    found, submit = [], InProcess.submit

    def count(pool, request):
        found.append(request.sample_id)
        return submit(pool, request)

    monkeypatch.setattr(InProcess, "submit", count)
    return found


def few(faces, tmp_path, frames):
    config = short_config(faces, tmp_path)
    return build_evaluator(config, open_shards([faces.held_out]), CPU, most_frames=frames)


def test_only_the_chosen_frames_are_read_and_only_once(faces, tmp_path, decoded):
    evaluator = few(faces, tmp_path, 3)
    torch.manual_seed(3)
    detector, beats = build_detector("lite", 68).eval(), []
    kept = KeptFrames(evaluator, 0, 1)
    first = kept.run(detector, between=lambda: beats.append(1))
    again = kept.run(detector)
    read = list(decoded)
    everything = dataclasses.replace(evaluator, most_frames=0).run(detector).errors.faces
    assert everything > 3, "there are more to choose from"
    assert read == evenly(int(everything), 3)
    assert beats == [1, 1], "after reading and after measuring"
    assert math.isfinite(first.errors.nme)
    assert first.errors.nme == again.errors.nme == evaluator.run(detector).errors.nme


def test_a_net_with_other_cells_is_measured_by_its_own(faces, tmp_path):
    evaluator = few(faces, tmp_path, 3)
    torch.manual_seed(3)
    detector, kept = build_detector("lite", 68).eval(), KeptFrames(evaluator, 0, 1)
    assert kept.at(evaluator.stride) is kept, "frames are decoded once for nets of one kind"
    twice = dataclasses.replace(evaluator, stride=2 * evaluator.stride).run(detector).errors.nme
    assert kept.at(2 * evaluator.stride).run(detector).errors.nme == twice != kept.run(detector).errors.nme


def test_ranks_share_the_frames(faces, tmp_path):
    evaluator = few(faces, tmp_path, 5)
    samples = [
        [clip.sample_id for clips in evaluator.batches(rank, 2) for clip in clips] for rank in range(2)
    ]
    alone = [clip.sample_id for clips in evaluator.batches(0, 1) for clip in clips]
    assert [len(part) for part in samples] == [3, 2]
    assert sorted(sum(samples, [])) == alone


@pytest.mark.parametrize(
    ("samples", "most", "expected"), [(10, 3, [0, 3, 6]), (2, 5, [0, 1]), (320, 64, None)]
)
def test_frames_are_evenly_evenly(samples, most, expected):
    found = evenly(samples, most)
    assert found == (expected or list(range(0, 320, 5)))
