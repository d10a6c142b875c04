import subprocess
import sys

import pytest

from tsal_dist.errors import ConfigError
from tsal_dist.geometry.flip import FLIP_19, FLIP_68, FLIP_98, flip_order


@pytest.mark.parametrize("order", [FLIP_68, FLIP_98, FLIP_19])
def test_flipping_twice_is_not_flipping(order):
    assert sorted(order) == list(range(len(order)))
    assert [order[order[index]] for index in range(len(order))] == list(range(len(order)))


@pytest.mark.parametrize(
    ("order", "pairs"),
    [
        (
            FLIP_68,
            [
                (36, 45),
                (39, 42),
                (37, 44),
                (41, 46),
                (40, 47),
                (17, 26),
                (31, 35),
                (48, 54),
                (59, 55),
                (60, 64),
            ],
        ),
        (
            FLIP_98,
            [
                (60, 72),
                (64, 68),
                (63, 69),
                (66, 74),
                (33, 46),
                (38, 50),
                (55, 59),
                (76, 82),
                (87, 83),
                (96, 97),
            ],
        ),
        (FLIP_19, [(0, 5), (6, 11), (12, 14), (15, 17)]),
    ],
)
def test_known_pairs(order, pairs):
    for left, right in pairs:
        assert (order[left], order[right]) == (right, left)


@pytest.mark.parametrize(
    ("order", "middle"),
    [
        (FLIP_68, {8, 27, 28, 29, 30, 33, 51, 57, 62, 66}),
        (FLIP_98, {16, 51, 52, 53, 54, 57, 79, 85, 90, 94}),
        (FLIP_19, {13, 16, 18}),
    ],
)
def test_only_the_points_on_the_middle_line_stay(order, middle):
    assert {index for index, partner in enumerate(order) if index == partner} == middle


def test_unknown_layout_is_refused():
    with pytest.raises(ConfigError, match="29 landmarks"):
        flip_order(29)


def test_reading_data_needs_no_torch():
    code = "import sys, tsal_dist.geometry.affine, tsal_dist.geometry.flip; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
