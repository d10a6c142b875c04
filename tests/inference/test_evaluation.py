"""Evaluation: every held-out frame once, on any number of ranks; jitter over runs; groups by attribute."""

import dataclasses

import numpy as np
import pytest
import torch

from tests.ranks import run_ranks
from tests.roles.painted import ColourDetector, build_clip, grid_points
from tests.roles.short_runs import short_config
from tsal_dist.data.shard_set import open_shards
from tsal_dist.errors import ConfigError
from tsal_dist.inference.decoding import Decoding
from tsal_dist.inference.evaluation import Evaluator, build_evaluator, to_device
from tsal_dist.models.detectors import build_detector
from tsal_dist.records import FrameRef
from tsal_dist.runs.open_data import open_data

CPU = torch.device("cpu")


@pytest.fixture
def evaluator(faces, tmp_path):
    return build_evaluator(short_config(faces, tmp_path), open_shards([faces.held_out]), CPU)


@pytest.fixture
def detector():
    torch.manual_seed(3)
    return build_detector("lite", 68).eval()


class Served(Evaluator):
    """An evaluator of given clips instead of a set's."""

    def batches(self, rank, world):
        yield from self.clips


def judge(faces, tmp_path, *batches, shift=(0.0, 0.0), keep=4):
    """What the evaluation says of a detector that is off by `shift`."""
    plain = build_evaluator(short_config(faces, tmp_path), open_shards([faces.held_out]), CPU)
    served = Served(**{field.name: getattr(plain, field.name) for field in dataclasses.fields(plain)})
    object.__setattr__(served, "clips", batches)

    class Off(ColourDetector):
        def find(self, image_N3HW):
            points_NK2, seen_NK = super().find(image_N3HW)
            return points_NK2 + torch.tensor(shift), seen_NK

    return served.run(Off(), keep=keep)


def frame(number, video="one", step=(1.0, 0.0), **settings):
    points = grid_points(np.array(step) * number)[None]
    settings.setdefault("ref", FrameRef(0, number))
    return build_clip(points, video=video, frames_T=np.array([number], np.int32), **settings)


def test_a_perfect_detector_has_no_error(faces, tmp_path):
    found = judge(faces, tmp_path, [frame(0), frame(1), frame(2), frame(3)])
    assert found.errors.faces == 4
    assert found.errors.nme < 0.005
    assert found.jitter.mean < 0.005


def test_an_error_is_measured_in_pixels_of_the_source(faces, tmp_path):
    """The crop shows the source enlarged twice: four pixels there are two at home."""
    settings = {"to_crop_23": np.array([[2.0, 0, 0], [0, 2.0, 0]])}
    found = judge(faces, tmp_path, [frame(0, **settings)], shift=(4.0, 0.0))
    points_K2 = grid_points() / 2
    eyes = np.linalg.norm(points_K2[36] - points_K2[45])
    assert found.errors.nme == pytest.approx(2.0 / eyes, rel=0.02)


def test_jitter_runs_over_neighbours_of_one_video_only(faces, tmp_path):
    """A cut, a gap or another video is no tremble."""
    smooth = [frame(t) for t in range(4)]
    elsewhere = [frame(t, "two", step=(0.0, 2.0)) for t in range(3)]
    gap = [frame(8), frame(9)]
    found = judge(faces, tmp_path, [*smooth, *gap, *elsewhere])
    assert found.jitter.mean < 0.005
    assert found.jitter.count == 68 * (2 + 1), (
        "four frames bend twice, three once, the pair after the gap never"
    )


@pytest.mark.parametrize(
    ("every", "packed_every", "bends"),
    [(1, 1, 2), (3, 3, 2), (2, 1, 0), (100, 1, 0), (100, 100, 0)],
)
def test_jitter_is_of_frames_that_are_neighbours_as_packed(faces, tmp_path, every, packed_every, bends):
    """Labels on every second frame of a video, or frames that were packed four seconds apart, show how a subject moves."""
    numbers = [every * place for place in range(4)]
    refs = [FrameRef(0, number // packed_every) for number in numbers]
    clips = [frame(number, step=(0.1, 0.0), ref=ref) for number, ref in zip(numbers, refs, strict=True)]
    found = judge(faces, tmp_path, clips)
    assert found.errors.faces == 4
    assert found.jitter.count == 68 * bends
    assert np.isnan(found.summary()["jitter"]) == (bends == 0)


def test_frames_of_two_shards_are_no_neighbours(faces, tmp_path):
    clips = [frame(number, ref=FrameRef(number // 2, number % 2)) for number in range(4)]
    assert judge(faces, tmp_path, clips, keep=0).jitter.count == 0, "none is looked up: there is one shard"


def test_jitter_sees_a_tremble(faces, tmp_path):
    trembling = [frame(t) for t in range(4)]
    trembling[2] = dataclasses.replace(trembling[2], image_THWC=trembling[0].image_THWC)
    assert judge(faces, tmp_path, trembling).jitter.mean > 0.01


def test_each_frame_says_where_its_points_lean(faces, tmp_path):
    found = judge(faces, tmp_path, [frame(0), frame(1, "two"), frame(2, "two")], shift=(4.0, -2.0))
    lean_N2 = np.array([score.lean for score in found.scores])
    assert [score.video for score in found.scores] == ["one", "two", "two"]
    assert lean_N2.mean(0) == pytest.approx(found.errors.lean_2)
    assert lean_N2[:, 0] == pytest.approx(-2 * lean_N2[:, 1], rel=0.05)
    assert (lean_N2[:, 0] > 0).all()


def test_frames_are_grouped_by_their_attributes(faces, tmp_path):
    clips = [frame(0, attributes=("blur", "pose")), frame(1, attributes=("pose",)), frame(2)]
    found = judge(faces, tmp_path, clips, shift=(3.0, 0.0))
    assert {name: errors.faces for name, errors in found.by_group.items()} == {"blur": 1, "pose": 2}
    assert found.by_group["pose"].nme == pytest.approx(found.errors.nme, rel=0.05)


def test_the_worst_frames_are_kept(faces, tmp_path):
    clips = [frame(t) for t in range(6)]
    moved = clips[4].points_TK2 + 10
    clips[4] = dataclasses.replace(clips[4], points_TK2=moved)
    found = judge(faces, tmp_path, clips)
    assert found.worst[0].name == "one frame 5", "counted from 1, as in tables of labels"
    assert len(found.worst) == len(found.best) == 4
    assert found.best[0].nme < found.worst[0].nme


def test_every_labelled_frame_is_measured_once(evaluator, detector):
    found = evaluator.run(detector)
    assert found.errors.faces == 2 * 8
    assert found.jitter.count == 68 * 2 * 6


def test_a_sample_is_spread_over_the_set(evaluator, detector):
    some = dataclasses.replace(evaluator, most_frames=4)
    assert some.run(detector).errors.faces == 4


def measure_share(rank, world, url, argv):
    """A rank's part, and the whole."""
    from tsal_dist.config import load_config
    from tsal_dist.inference.evaluation import sum_over_ranks

    torch.manual_seed(3)
    model = build_detector("lite", 68).eval()
    plain = build_evaluator(load_config([], argv), open_shards([url]), CPU)
    found = dataclasses.replace(plain, batch=4).run(model, rank, world)
    whole = sum_over_ranks(found)
    return found.errors.faces, whole.vectors()["jitter"], whole.summary()


@pytest.mark.ranks
def test_ranks_together_measure_what_one_measures(faces, tmp_path, evaluator, detector):
    from tests.roles.short_runs import words

    alone = dataclasses.replace(evaluator, batch=4).run(detector)
    shares = run_ranks(measure_share, 2, faces.held_out, words(faces, tmp_path))
    assert sum(faces_here for faces_here, _, _ in shares) == alone.errors.faces == 16
    for _, jitter, summary in shares:
        np.testing.assert_allclose(jitter, [alone.jitter.total, alone.jitter.count], rtol=1e-5)
        for name, value in alone.summary().items():
            assert summary[name] == (value if isinstance(value, str) else pytest.approx(value, rel=1e-3)), (
                name
            )
    assert shares[0][2] == shares[1][2], "every rank hears the same"


def merge_groups(rank, world):
    """Rank 0 has seen a group that rank 1 has not."""
    from tsal_dist.inference.evaluation import Evaluation, sum_over_ranks
    from tsal_dist.metrics.face_errors import FaceErrors
    from tsal_dist.metrics.jitter import Jitter

    mine = Evaluation(FaceErrors(68, "face_size"), Jitter())
    points_NK2 = np.repeat(grid_points()[None], 2, 0)
    seen_NK = np.ones((2, 68), np.bool_)
    for errors in [mine.errors] + (
        [mine.by_group.setdefault("blur", FaceErrors(68, "face_size"))] if rank == 0 else []
    ):
        errors.add(points_NK2 + 1, points_NK2, seen_NK, np.repeat([[0.0, 0, 100, 100]], 2, 0))
    whole = sum_over_ranks(mine)
    return whole.errors.faces, {name: errors.faces for name, errors in whole.by_group.items()}


@pytest.mark.ranks
def test_a_group_that_one_rank_never_saw_is_still_whole():
    assert run_ranks(merge_groups, 2) == [(4.0, {"blur": 2.0})] * 2


def test_training_footage_in_the_held_out_set_is_refused(faces, tmp_path):
    """Also where the folder has another name."""
    import shutil

    shutil.copytree(faces.train, tmp_path / "renamed")
    config = short_config(faces, tmp_path / "run", f"data.validation={tmp_path / 'renamed'}")
    with pytest.raises(ConfigError, match=r"data\.validation .* and data\.labelled both hold"):
        open_data(config)


def test_the_same_video_packed_again_is_refused(faces, tmp_path):
    """Other bytes, the same footage: another quality does not make it held out."""
    from tests.pack.packing import pack_all

    pack_all(tmp_path, lists=[faces.videos.parent / "train.lst"], split="again", quality=60)
    config = short_config(faces, tmp_path / "run", f"data.validation={tmp_path / 'again'}")
    with pytest.raises(ConfigError, match=r"both hold the video .*other footage of the same name.*--root"):
        open_data(config)


def test_another_number_of_landmarks_is_refused(faces, tmp_path):
    with pytest.raises(
        ConfigError, match=r"68 landmarks and model\.num_points is 19\. Set model\.num_points=68"
    ):
        open_data(short_config(faces, tmp_path, "model.num_points=19"))


def test_a_method_that_needs_clips_says_so(faces, tmp_path):
    config = short_config(faces, tmp_path, "data.unlabelled=[]")
    with pytest.raises(ConfigError, match=r"data\.unlabelled is empty.*method\.name=supervised"):
        open_data(config)
    supervised = short_config(faces, tmp_path, "data.unlabelled=[]", "method.name=supervised")
    assert open_data(supervised).unlabelled is None


def test_predictions_are_in_pixels_of_the_crop(evaluator):
    points_TK2 = grid_points((1.0, 2.0))[None]
    found_NK2, score_NK = evaluator.find(ColourDetector(), to_device([build_clip(points_TK2)], CPU))
    np.testing.assert_allclose(found_NK2[0], points_TK2[0], atol=0.15)
    assert (score_NK > 0.5).all()


def test_an_evaluator_asks_as_it_is_told(evaluator, detector):
    """As many forward passes as views, for the batches that are judged."""
    asked = []

    def forward(image_N3HW):
        asked.append(len(image_N3HW))
        return detector(image_N3HW)

    plain = evaluator.run(forward)
    once = len(asked)
    thrice = dataclasses.replace(evaluator, decoding=Decoding(views=3)).run(forward)
    assert len(asked) == 4 * once
    assert thrice.errors.faces == plain.errors.faces
    assert thrice.errors.nme != plain.errors.nme
