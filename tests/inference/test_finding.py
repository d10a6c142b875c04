"""Views of a crop: their maps come home to the cell, mirrored points under their own names, errors cancel."""

import argparse

import numpy as np
import pytest
import torch

from tsal_dist.config import load_config
from tsal_dist.errors import ConfigError
from tsal_dist.geometry.flip import flip_order
from tsal_dist.geometry.heatmap import decode_heatmap, encode_heatmap
from tsal_dist.inference import session
from tsal_dist.inference.decoding import PLAIN, Decoding, add_decoding, read_decoding
from tsal_dist.inference.finding import check_views, find_points
from tsal_dist.inference.trained import Trained
from tsal_dist.inference.trust import Trust
from tsal_dist.models.detectors import build_detector
from tsal_dist.models.output import DetectorOutput
from tsal_dist.models.views import View, seen_in, views_of

SIZE_PX, STRIDE, POINTS, SIGMA_PX = 64, 4, 19, 4.0
MIRROR = flip_order(POINTS)


class Seeing:
    """Finds landmarks in a picture whose pixels tell where in the plain crop they come from.

    In a mirror image it takes the left eye for the right one, as every detector must.
    """

    def __init__(self, points_K2, error_px=0.0):
        self.points_K2, self.error_px = points_K2, error_px
        self.asked = []

    def __call__(self, image_N3HW):
        self.asked.append(image_N3HW)
        origin_2HW = image_N3HW[0, :2]
        far_KHW = (origin_2HW.unsqueeze(0) - self.points_K2[:, :, None, None]).norm(dim=1)
        index_K = far_KHW.flatten(1).argmin(1)
        now_K2 = torch.stack([index_K % SIZE_PX, index_K // SIZE_PX], dim=-1).float()
        mirrored = origin_2HW[0, 0, 0] > origin_2HW[0, 0, -1]
        if mirrored:
            now_K2 = now_K2[list(MIRROR)]
        now_K2 = now_K2 + torch.tensor([self.error_px, 0.0])
        seen_1K = torch.ones(1, len(now_K2))
        heat = encode_heatmap(now_K2.unsqueeze(0), seen_1K, (SIZE_PX // STRIDE,) * 2, STRIDE, SIGMA_PX)
        return DetectorOutput(heat.unsqueeze(0), heat[:, :1], heat.repeat(1, 2, 1, 1))


@pytest.fixture
def points_K2():
    torch.manual_seed(0)
    return torch.randint(18, 46, (POINTS, 2)).float()


def ramps():
    axis = torch.arange(float(SIZE_PX))
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    return torch.stack([x, y, torch.zeros_like(x)]).unsqueeze(0)


def find(detector, look):
    return find_points(detector, ramps(), STRIDE, 4, look)


@pytest.mark.parametrize(
    "view",
    [
        View(mirrored=True),
        View(zoom=0.92),
        View(zoom=1.08, mirrored=True),
        View(degrees=6.0),
        View(degrees=-6.0, mirrored=True),
    ],
)
def test_each_views_maps_come_home(points_K2, view):
    """To a half pixel, which is what the toy detector's whole pixels leave."""
    detector = Seeing(points_K2)
    straight = find(detector, PLAIN)[0]
    heat_NKhw = seen_in(detector, ramps(), STRIDE, view, MIRROR)
    found, _ = decode_heatmap(heat_NKhw, STRIDE)
    torch.testing.assert_close(found, straight, atol=0.8, rtol=0)
    assert (found - straight).mean().abs() < 0.2


def test_a_mirrored_view_is_exact(points_K2):
    detector = Seeing(points_K2)
    plain = detector(ramps()).points_heat_NKhw
    assert torch.allclose(seen_in(detector, ramps(), STRIDE, View(mirrored=True), MIRROR), plain, atol=1e-6)


def test_a_leaning_to_one_side_cancels(points_K2):
    """A detector that errs to the right in any picture errs to the left in the mirrored one."""
    true = find(Seeing(points_K2), PLAIN)[0]
    leaning = Seeing(points_K2, error_px=2.0)
    assert (find(leaning, PLAIN)[0] - true)[..., 0].mean() == pytest.approx(2.0, abs=0.2)
    assert (find(leaning, Decoding(2, mirror=MIRROR))[0] - true)[..., 0].abs().max() < 0.3


@pytest.mark.parametrize("count", [1, 2, 5, 8])
def test_a_view_costs_one_forward_pass(points_K2, count):
    detector = Seeing(points_K2)
    find(detector, Decoding(count, mirror=MIRROR))
    assert len(detector.asked) == count
    assert torch.equal(detector.asked[0], ramps())


def test_center_and_offsets_are_the_plain_views(points_K2):
    detector = Seeing(points_K2)
    _, _, output = find(detector, Decoding(4, mirror=MIRROR))
    assert torch.equal(output.center_N1hw, detector(ramps()).center_N1hw)


@pytest.mark.parametrize(("mirror", "most"), [(MIRROR, 8), ((), 5)])
def test_only_known_layouts_are_mirrored(mirror, most):
    views = views_of(mirror)
    check_views(Decoding(most, mirror=mirror))
    assert len(set(views)) == most
    assert any(view.mirrored for view in views) == bool(mirror)
    assert views[0] == View()
    for wrong in (0, most + 1):
        with pytest.raises(ConfigError, match=rf"--views is {wrong}; it must be 1 to {most}"):
            check_views(Decoding(wrong, mirror=mirror))


def test_left_and_right_are_those_of_the_detectors_layout():
    faces = load_config([], ["model.num_points=68", "model.layout.flip=faces"]).model
    assert Decoding(2).of(faces).mirror == flip_order(68)
    names = ["model.num_points=2", "model.layout.names=['left_ear','right_ear']", "model.layout.flip=names"]
    assert Decoding(2).of(load_config([], names).model).mirror == (1, 0)
    unknown = load_config([], ["model.num_points=17", "model.layout.flip=none"]).model
    assert Decoding(2).of(unknown).mirror == ()


def test_words_of_a_command_line():
    parser = argparse.ArgumentParser()
    add_decoding(parser)
    assert read_decoding(parser.parse_args([])) == PLAIN
    assert read_decoding(parser.parse_args(["--views", "2", "--companions"])) == Decoding(2, companions=True)


def test_how_far_several_views_can_be_trusted_is_measured_anew_and_not_kept(tmp_path, monkeypatch):
    """Their scores are lower than those of one view: what was measured of one would be wrong of the other."""
    settings = [
        "model.detector=lite",
        "model.num_points=19",
        "model.crop_px=32",
        f"data.validation={tmp_path}",
    ]
    trained = Trained(build_detector("lite", POINTS).eval(), load_config([], settings), "run", 1)
    asked, kept, measured = [], {}, Trust(None, None)
    monkeypatch.setattr(session, "load_trained", lambda *words: trained)
    monkeypatch.setattr(session, "open_cached", lambda *words: None)
    monkeypatch.setattr(
        session, "measure_trust", lambda finder, *words: asked.append(finder.decoding) or measured
    )
    monkeypatch.setattr(session, "save_trust", lambda trust, path: kept.update({path: trust}))
    monkeypatch.setattr(session, "load_trust", kept.get)
    assert session.open_detector(run=str(tmp_path), threads=1).trust is measured
    session.open_detector(run=str(tmp_path), threads=1)
    assert [decoding.views for decoding in asked] == [1], "once"
    session.open_detector(run=str(tmp_path), threads=1, decoding=Decoding(2))
    session.open_detector(run=str(tmp_path), threads=1, decoding=Decoding(2))
    assert [decoding.views for decoding in asked] == [1, 2, 2]
    assert len(kept) == 1


def test_peaks_that_fit_each_other_are_taken_where_it_is_asked_for():
    """Point 1 has the x of point 0 in all labels; the detector is surer of a place across."""
    from tests.models.test_companions import mirrored_pair
    from tsal_dist.models.companions import Fitting, learn_companions
    from tsal_dist.models.output import DetectorOutput

    truth = torch.tensor(mirrored_pair(2, seed=9), dtype=torch.float32)
    wrong = truth.clone()
    wrong[:, 1, 0] = 96 - truth[:, 1, 0]
    seen, cells = torch.ones(2, 4), (24, 24)
    heat = encode_heatmap(truth, seen, cells, 4, 4.0)
    heat[:, 1] = 0.5 * heat[:, 1] + 0.7 * encode_heatmap(wrong, seen, cells, 4, 4.0)[:, 1]
    output = DetectorOutput(heat.unsqueeze(0), heat[:, :1], heat[:, :2])
    labels = learn_companions(mirrored_pair(12), np.ones((12, 4), bool), 4.0)
    for decoding, most_px in ((PLAIN, None), (Decoding(companions=True, fitting=Fitting(labels, 4.0)), 2.5)):
        points, _, _ = find_points(lambda image: output, torch.zeros(2, 3, 96, 96), 4, 4, decoding)
        off_px = (points - truth).norm(dim=-1)[:, 1]
        assert (off_px < most_px).all() if most_px else (off_px > 8).all()
