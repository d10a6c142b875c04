"""What became of each input is said, and one that is broken does not cost the others."""

from dataclasses import replace

import cv2
import numpy as np
import pytest

from tests.inference.squares import SquareDetector, draw_square, finder_of, write_film
from tests.pack.footage import cut
from tsal_dist.errors import ConfigError, DataError
from tsal_dist.inference.detector import Detector
from tsal_dist.inference.fates import find_fate, summarise
from tsal_dist.inference.pictures import Source

MIDDLES = [(60 + t, 70) for t in range(12)]


@pytest.fixture
def detector():
    """Without anything measured of it: what is bright is a subject."""
    return Detector(finder_of(SquareDetector()), None, "made")


@pytest.fixture
def folder(tmp_path):
    """Good and bad in turn."""
    here = tmp_path / "clips"
    write_film(here / "a.avi", MIDDLES)
    (here / "b.mp4").write_bytes(b"no video at all")
    write_film(here / "c.avi", MIDDLES)
    cut(here / "c.avi", 0.7)
    write_film(here / "d.avi", [None] * 12)
    cv2.imwrite(str(here / "e.png"), draw_square((60, 60)))
    write_film(here / "f.mp4", MIDDLES[:9])
    return here


def test_each_input_has_a_line(detector, folder):
    found = detector.predict(str(folder))
    a, b, c, d, e, f = found.fates()
    assert a == f"{folder}/a.avi: a subject in 12 of 12 frames"
    assert b.startswith(f"{folder}/b.mp4: left out. ")
    assert "holds no frame that OpenCV can decode" in b
    shown = len([row for row in found.rows if row.path.endswith("c.avi")])
    assert 5 < shown < 12
    assert (
        c
        == f"{folder}/c.avi: a subject in {shown} of {shown} frames; it breaks off after {shown} of its 12 frames"
    )
    assert d == f"{folder}/d.avi: a subject in 0 of 12 frames"
    assert e == f"{folder}/e.png: a subject"
    assert f == f"{folder}/f.mp4: a subject in 9 of 9 frames"


@pytest.mark.parametrize("name", ["g.mp4", "g.png"])
def test_what_cannot_be_opened_is_not_called_broken(detector, folder, name):
    (folder / name).symlink_to(folder / "a disk that is not there" / name)
    *_, line = detector.predict(str(folder)).fates()
    assert line.startswith(f"{folder}/{name}: left out. ")
    assert "cannot be read: No such file or directory. Check that it is there" in line


def test_points_that_are_not_drawn_are_told(detector, folder):
    """Of two points 40 px apart one is expected to be off by a tenth of that: whoever sees one of them is told why."""
    rows = detector.predict(f"{folder}/a.avi").rows
    source = Source("video", f"{folder}/a.avi")
    points_K2 = np.array([(0.0, 0.0), (40.0, 0.0)])
    found = [replace(row, points_K2=points_K2, expected_px_K=np.array([1.0, 4.0])) for row in rows]
    size_px = found[0].size_px
    told = summarise([find_fate(source, found, 3.9 / size_px)], many=False, most_error=3.9 / size_px)
    assert told.endswith(
        f"; 12 of 24 points by more than {390 / size_px:g} %: these are not drawn (--max-error)"
    )
    assert "drawn" not in summarise([find_fate(source, found, 0.5)], many=False, most_error=0.5)


def test_frames_that_were_not_asked_for_are_not_missed(detector, folder):
    fates = detector.predict([f"{folder}/a.avi", f"{folder}/f.mp4"], frames=range_of("3:7")).fates()
    assert [fate.partition(": ")[2] for fate in fates] == ["a subject in 5 of 5 frames"] * 2


def test_a_video_that_ends_before_the_frames_that_were_asked_for_is_named(detector, folder):
    found = detector.predict([f"{folder}/f.mp4", f"{folder}/a.avi"], frames=range_of("10:"))
    assert "has 9 frames and --frames begins at 10" in found.fates()[0]
    assert len(found.rows) == 3
    with pytest.raises(ConfigError, match="begins at 13"):
        detector.predict(str(folder / "a.avi"), frames=range_of("13:"))


def test_where_nothing_can_be_read_that_is_an_error(detector, folder):
    (folder / "g.mp4").write_bytes(b"")
    with pytest.raises(DataError, match=r"g\.mp4 holds no frame"):
        detector.predict([f"{folder}/b.mp4", f"{folder}/g.mp4"])


def test_what_could_be_read_is_drawn(detector, folder, tmp_path):
    detector.predict(str(folder)).draw(str(tmp_path / "drawn"))
    assert sorted(path.stem for path in (tmp_path / "drawn").iterdir()) == ["a", "c", "d", "e", "f"]


def test_the_command_goes_on_and_ends_with_an_error(detector, folder, tmp_path, monkeypatch, capsys):
    from tsal_dist import predict

    monkeypatch.setattr(predict, "_open", lambda args: detector)
    words = ["--run", "none", "--video", str(folder), "--table", str(tmp_path / "t.csv")]
    with pytest.raises(DataError, match=r"1 of 6 inputs are left out of what was written, such as .*b\.mp4"):
        predict.main([*words, "--out", str(tmp_path / "drawn")])
    said = capsys.readouterr().err
    assert [name for name in "abcdef" if f"{folder}/{name}." not in said] == []
    lines = (tmp_path / "t.csv").read_text().splitlines()
    assert len(lines) > 12 + 12 + 9
    assert not [line for line in lines if "b.mp4" in line]
    assert (tmp_path / "drawn" / "f.mp4").stat().st_size > 0
    assert not list((tmp_path / "drawn").glob("b*"))


def range_of(words):
    from tsal_dist.inference.pictures import FrameRange

    return FrameRange.parse(words)
