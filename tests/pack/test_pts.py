import numpy as np
import pytest
from footage import POINTS_K2, pts_text

from tsal_dist.errors import DataError
from tsal_dist.pack.points import load_pts, parse_pts


@pytest.mark.parametrize("version", ["1", "1.0"])
def test_both_spellings_of_300w(version):
    face = parse_pts(pts_text(version=version), "a.pts")
    assert np.array_equal(face.points_K2, POINTS_K2)
    assert face.visible_K.tolist() == [1] * 5


def test_300w_counts_pixels_from_1():
    """The first pixel's centre is at 0 here, whatever an annotation calls it; AFLW's rows are taken as they are."""
    face = parse_pts("version: 1\nn_points: 2\n{\n1 1\n12.5 3.25\n}\n", "a.pts")
    assert face.points_K2.tolist() == [[0.0, 0.0], [11.5, 2.25]]
    assert face.first_pixel == 1
    assert parse_pts("1 10.50 20.25 True\n", "a.pts").first_pixel == 0


def test_aflw_rows_name_the_visible_points():
    face = parse_pts("2 10.50 20.25 True\n19 3 4 True\n5 1 1 False\n", "a.pts")
    assert face.points_K2.shape == (19, 2)
    assert np.flatnonzero(face.visible_K).tolist() == [1, 18]
    assert face.points_K2[1].tolist() == [10.5, 20.25]
    assert not face.points_K2[4].any()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "version: 1\nn_points: 2\n{\n1 2\n}\n",
        "version: 1\nn_points: 1\n{\n1 2\n",
        "version: 1\n{\n1 2\n}\n",
        "version: 1\nn_points: 1\n{\n1 nan\n}\n",
        "version: 1\nn_points: 1\n{\n1 2 3\n}\n",
        "20 1 2 True\n",
        "0 1 2 True\n",
        "1 2 3\n",
        "1 2 3 maybe\n",
    ],
)
def test_what_is_no_pts_is_named(text):
    with pytest.raises(DataError, match=r"a\.pts is not a whole"):
        parse_pts(text, "a.pts")


def test_a_missing_or_binary_file_is_named(tmp_path):
    with pytest.raises(DataError, match=r"x\.pts cannot be read"):
        load_pts(tmp_path / "x.pts")
    (tmp_path / "b.pts").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match=r"b\.pts cannot be read"):
        load_pts(tmp_path / "b.pts")


@pytest.mark.parametrize(
    "text",
    [
        "1 10 20 True\n1 11 21 True\n",  # which of them?
        "1 1_0 20 True\n",
        "version: 1\nn_points: 1\n{\n1e300 2\n}\n",
        "version: 1\nn_points: 1\n{\n1_0 2\n}\n",
    ],
)
def test_numbers_that_are_none_are_refused(text):
    with pytest.raises(DataError, match=r"a\.pts is not a whole \.pts file"):
        parse_pts(text, "a.pts")
