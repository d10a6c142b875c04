"""Names that files may have: with a colon, long and not Latin, or bytes that are no text."""

import os

import pytest

from tests.inference.squares import SquareDetector, finder_of, write_film
from tsal_dist.errors import ConfigError
from tsal_dist.inference.detector import Detector, Options, draw_rows
from tsal_dist.inference.fates import find_fate, tell_fate
from tsal_dist.inference.kept_rows import KeptRows
from tsal_dist.inference.overlay import MOST_ERROR
from tsal_dist.inference.pictures import FrameRange, count_pictures, find_sources, frame_rate, read_pictures
from tsal_dist.inference.table import build_table
from tsal_dist.predict import main
from tsal_dist.records import UNNAMED

AT_NOON = "2024-05-01T12:00:00.avi"
NO_TEXT = os.fsdecode(b"caf\xe9.avi")
MIDDLES = [(50 + 3 * t, 60) for t in range(5)]


@pytest.fixture
def films(tmp_path, monkeypatch):
    """A folder with one film, which one stands in."""
    monkeypatch.chdir(tmp_path)
    return write_film(tmp_path / "film.avi", MIDDLES)


@pytest.fixture
def detector():
    return Detector(finder_of(SquareDetector()), None, "made")


def test_a_name_with_a_colon_is_no_address(films, detector, tmp_path):
    os.rename(films, AT_NOON)
    (source,) = find_sources([AT_NOON])
    assert (source.kind, source.path) == ("video", AT_NOON)
    assert [picture.path for picture in read_pictures(source)] == [AT_NOON] * 5
    assert (count_pictures(source), frame_rate(source)) == (5, 25)
    rows = detector.look_at(source, Options())
    assert set(build_table(rows, tmp_path)["path"].to_pylist()) == {AT_NOON}
    assert tell_fate(find_fate(source, rows[:3], MOST_ERROR), FrameRange()).endswith(
        "it breaks off after 3 of its 5 frames"
    )


@pytest.mark.parametrize("name", ["a:b.mp4", "12:30.avi"])
def test_an_overlay_may_have_a_colon_in_its_name(films, detector, tmp_path, name):
    (source,) = find_sources([str(films)])
    draw_rows(type(films)(name), source, detector.look_at(source, Options()), Options())
    assert (tmp_path / name).stat().st_size > 0


@pytest.mark.parametrize("named", [NO_TEXT, "."])
def test_a_name_that_is_no_text_is_refused_before_any_work(films, named):
    """As a file and as one of a folder: OpenCV crashes on it, and no table can say it."""
    os.rename(films, NO_TEXT)
    with pytest.raises(ConfigError, match=r"--video: the name /.*/caf\\xe9\.avi is not UTF-8, .*\. Rename"):
        find_sources([named])


def test_outputs_whose_folder_is_no_text_are_refused_before_any_work(films, tmp_path):
    place = tmp_path / os.fsdecode(b"\xe9")
    for flag, path in (("--table", place / "t.csv"), ("--out", place / "o.mp4")):
        with pytest.raises(ConfigError, match=rf"{flag}: the name /.*/\\xe9/.* is not UTF-8"):
            main(["--run", "runs/none", "--video", str(films), flag, str(path)])


def test_a_part_is_kept_of_an_input_with_a_long_name(films, detector, tmp_path):
    """84 characters of three bytes are as long as a name may be; the part adds a digest to it."""
    name = "\N{CJK UNIFIED IDEOGRAPH-8C93}" * 83 + ".avi"
    os.rename(films, name)
    (source,) = find_sources([name])
    kept = KeptRows(tmp_path / "t.csv", {source.path: {"detector": "a"}}, UNNAMED)
    rows = kept.find(source, lambda source: detector.look_at(source, Options()))
    assert len(kept.load(source)) == len(rows) == 5
