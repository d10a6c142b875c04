import numpy as np
import pytest

from tsal_dist.errors import ConfigError
from tsal_dist.metrics.normalizer import lengths


def face(num_points):
    points = np.zeros((1, num_points, 2), np.float32)
    return points, np.ones((1, num_points), bool)


def test_inter_ocular_is_outer_eye_corner_to_outer_eye_corner():
    points, visible = face(68)
    points[0, 36], points[0, 45] = (10, 20), (13, 24)
    assert lengths("inter_ocular", points, visible) == [5.0]


def test_inter_pupil_is_between_the_means_of_the_eyes():
    points, visible = face(68)
    points[0, 36:42] = [[0, 0], [1, 1], [2, 1], [3, 0], [2, -1], [1, -1]]
    points[0, 42:48] = points[0, 36:42] + [7.0, 24.0]
    assert lengths("inter_pupil", points, visible) == pytest.approx([25.0])


def test_wflw_is_60_to_72():
    points, visible = face(98)
    points[0, 60], points[0, 72] = (1, 1), (9, 7)
    assert lengths("wflw", points, visible) == [10.0]
    assert lengths("inter_ocular", points, visible) == [10.0]


def test_box_lengths():
    points, visible = face(19)
    box = np.array([[10, 10, 40, 50]])
    assert lengths("box_diagonal", points, visible, box) == [50.0]
    assert lengths("face_size", points, visible, box) == pytest.approx([np.sqrt(1200)])


@pytest.mark.parametrize("name", ["box_diagonal", "face_size"])
@pytest.mark.parametrize("box", [(10, 10, 5, 20), (10, 10, 5, 5), (0, 0, 0, 9)])
def test_a_box_without_area_has_no_length(name, box):
    points, visible = face(19)
    assert np.isnan(lengths(name, points, visible, np.array([box])))


def test_a_hidden_eye_corner_defines_no_length():
    points, visible = face(68)
    points[0, 45] = 10
    visible[0, 36] = False
    assert np.isnan(lengths("inter_ocular", points, visible))


def test_unfit_names_are_refused_with_those_that_fit():
    points, visible = face(19)
    with pytest.raises(ConfigError, match="box_diagonal, face_size"):
        lengths("inter_ocular", points, visible)
    with pytest.raises(ConfigError, match="needs the boxes of the test set"):
        lengths("face_size", points, visible)
