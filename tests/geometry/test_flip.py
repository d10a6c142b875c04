import subprocess
import sys

import pytest

from tsal_dist.errors import ConfigError
from tsal_dist.geometry.flip import FLIP_19, FLIP_68, FLIP_98, flip_order, mirror_order, names_order


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


@pytest.mark.parametrize(
    ("names", "order"),
    [
        (["left_ear", "right_ear", "nose"], (1, 0, 2)),
        (["nose", "L_paw", "R_paw", "L_eye", "R_eye"], (0, 2, 1, 4, 3)),
        (["earLeft", "earRight"], (1, 0)),
        (["LEar", "REar", "Lip"], (1, 0, 2)),
        (["eye.l", "eye.r"], (1, 0)),
        (["Left Hip", "Right Hip", "neck"], (1, 0, 2)),
    ],
)
def test_names_tell_who_changes_places(names, order):
    assert names_order(names) == order


@pytest.mark.parametrize(
    "names",
    [
        ["nose", "tail"],  # no sides: the mirror image may be another subject
        ["left_ear", "nose"],  # a side without a partner
        ["paw1LH_top", "paw4RH_top"],  # abbreviations that are not read
        ["lip", "rim"],
        [],
    ],
)
def test_names_that_do_not_tell_give_no_mirror(names):
    assert names_order(names) == ()


def test_a_layout_says_where_its_mirror_comes_from():
    assert mirror_order("faces", (), 68) == FLIP_68
    assert mirror_order("faces", (), 17) == ()
    assert mirror_order("names", ("left", "right"), 2) == (1, 0)
    assert mirror_order("none", (), 68) == (), "68 points of another subject are no face"
