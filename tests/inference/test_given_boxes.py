"""One table of boxes for `tsal pack` and `tsal predict` is not taken in silence where the two read it differently."""

import numpy as np
import pytest

from tests.inference.squares import SQUARE_PX, SquareDetector, draw_square, finder_of, write_film
from tsal_dist import predict
from tsal_dist.inference.detector import Detector
from tsal_dist.inference.given_boxes import GivenBoxes
from tsal_dist.inference.pictures import Picture
from tsal_dist.inference.prediction import follow

MIDDLES = [(60 + 4 * t, 70) for t in range(6)]


def box(middle, times):
    """Around a square, so many times as large as it is."""
    half = times * (SQUARE_PX - 1) / 2
    return np.array([*(np.array(middle) - 0.5 - half), *(np.array(middle) - 0.5 + half)])


@pytest.mark.parametrize(
    ("times", "told"), [(1.0, ""), (1.15, ""), (1.6, "1.6 times as large"), (2.4, "2.4 times")]
)
def test_boxes_that_are_larger_than_the_points_in_them_are_told(tmp_path, monkeypatch, capsys, times, told):
    film = write_film(tmp_path / "film.avi", MIDDLES)
    rows = [",".join(map(str, ["film.avi", at + 1, *box(MIDDLES[at], times)])) for at in range(len(MIDDLES))]
    (tmp_path / "boxes.csv").write_text("\n".join(["path,frame,x1,y1,x2,y2", *rows]))
    made = Detector(finder_of(SquareDetector()), None, "made")
    monkeypatch.setattr(predict, "_open", lambda opening: made)
    words = (
        "--run",
        "made",
        "--video",
        film,
        "--boxes",
        tmp_path / "boxes.csv",
        "--table",
        tmp_path / "t.csv",
    )
    assert predict.main([str(word) for word in words]) == 0
    said = capsys.readouterr().err
    assert told in said
    assert ("tsal pack --boxes" in said) == bool(told)
    assert "match no frame" not in said


def looked_at(boxes):
    """The doubts about these boxes of a film."""
    film = [Picture("film", at, 40.0 * at, draw_square(middle)) for at, middle in enumerate(MIDDLES)]
    given = GivenBoxes(boxes)
    given.compare([row for _, row in follow(finder_of(SquareDetector()), iter(film), boxes=boxes)])
    return list(given.doubts())


def test_boxes_of_no_frame_are_told():
    (told,) = looked_at({("film", 0): box(MIDDLES[0], 1), ("film", 9): box(MIDDLES[0], 3)})
    assert told.startswith("1 boxes match no frame, such as frame 10 of film.")


def test_one_large_box_among_many_is_an_accident():
    assert not looked_at({("film", at): box(MIDDLES[at], 3.0 if at == 2 else 1.0) for at in range(6)})
    assert not looked_at({})
