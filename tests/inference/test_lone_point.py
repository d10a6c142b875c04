"""A subject of one landmark: it has no size of its own, so its box keeps the one that it was found in."""

import cv2
import numpy as np
import pytest
import torch
from torch import nn

from tests.inference.squares import SIDE_PX, SQUARE_PX, draw_square, finder_of
from tests.pack.packing import pack_all
from tsal_dist.data.shard_set import open_shards
from tsal_dist.geometry.center import encode_center
from tsal_dist.geometry.heatmap import encode_heatmap
from tsal_dist.inference.overlay import shown_points
from tsal_dist.inference.pictures import Picture
from tsal_dist.inference.prediction import follow
from tsal_dist.inference.trust import measure_trust
from tsal_dist.models.input import MEAN_RGB, STD_RGB
from tsal_dist.models.output import DetectorOutput

STATED_PX = 2.0


class MiddleDetector(nn.Module):
    """One landmark in the middle of what is bright."""

    stride = 4

    def forward(self, image_N3HW):
        mean_3, std_3 = (torch.tensor(value).view(3, 1, 1) for value in (MEAN_RGB, STD_RGB))
        bright_NHW = ((image_N3HW * std_3 + mean_3).mean(1) > 0.5).float()
        axis, size = torch.arange(float(image_N3HW.shape[-1])), image_N3HW.shape[-1]
        count_N = bright_NHW.sum((1, 2)).clamp_min(1)
        point_N2 = torch.stack([bright_NHW.sum(1) @ axis, bright_NHW.sum(2) @ axis], -1) / count_N[:, None]
        seen_N1 = torch.ones(len(point_N2), 1, dtype=torch.bool)
        cells = (size // self.stride, size // self.stride)
        peak_N111 = (0.05 + 0.95 * bright_NHW.amax((1, 2)))[:, None, None, None]
        heat_N2hw = encode_heatmap(point_N2[:, None], seen_N1, cells, self.stride, 3.0) * peak_N111
        center = encode_center(point_N2[:, None], seen_N1, cells, self.stride)
        offset_N2hw = center.offset_NK2.flatten(1)[..., None, None].expand(-1, -1, *cells)
        return DetectorOutput(heat_N2hw.unsqueeze(0), 8 * center.center_N1hw - 4, offset_N2hw)


class Measured:
    """What was measured of it: nothing that tells a subject from none."""

    presence = None

    def expected_px(self, look):
        return np.full(look.score_CK.shape, STATED_PX)


@pytest.fixture
def finder():
    return finder_of(MiddleDetector(), "model.num_points=1")


def film(middles):
    return iter(Picture("film", t, 40.0 * t, draw_square(middle)) for t, middle in enumerate(middles))


def test_it_is_followed_and_good_enough_to_be_a_label(finder):
    """Its box shrank to eight pixels, in which nothing was seen of what is around it, and no error was small beside its size."""
    middles = [(50 + 5 * t, 60 + 3 * t) for t in range(12)]
    for middle, (_, found) in zip(middles, follow(finder, film(middles), trust=Measured()), strict=True):
        np.testing.assert_allclose(found.points_K2, [np.array(middle) - 0.5], atol=2.5)
        assert found.size_px > SQUARE_PX
        assert shown_points(found, 0.15).all()


def test_a_box_that_is_given_keeps_its_size(finder):
    given_4 = np.array([30.0, 40.0, 74.0, 80.0])
    looks = [found for _, found in follow(finder, film([(52, 60)] * 5), first_box=given_4)]
    np.testing.assert_allclose([found.box_4[2:] - found.box_4[:2] for found in looks], [(44, 40)] * 5)


def test_being_cut_up_tells_no_lone_landmark_from_none(finder, tmp_path):
    """It outlives that whole, so that the threshold let none pass, and nothing was ever found."""
    lines = ["path,x1,y1,x2,y2,p0x,p0y"]
    for number in range(6):
        middle = (40 + 12 * number, 80)
        cv2.imwrite(str(tmp_path / f"{number}.png"), draw_square(middle))
        lines.append(f"{number}.png,0,0,{SIDE_PX - 1},{SIDE_PX - 1},{middle[0] - 0.5},{middle[1] - 0.5}")
    (tmp_path / "labels.csv").write_text("\n".join(lines))
    shards = open_shards([pack_all(tmp_path, lists=[tmp_path / "labels.csv"]).manifest.url])
    trust = measure_trust(finder, shards, 64)
    assert trust.presence is None
    ((_, found),) = follow(finder, film([(60, 80)]), trust=trust)
    assert found.found
    assert 0 <= found.expected_px_K[0] < 4
