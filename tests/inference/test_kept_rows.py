"""Rows that are kept come back as they were, or not at all: another film, question or detector, damage, a change on the way."""

import json

import pyarrow.parquet as pq
import pytest
import torch

from tests.inference.squares import SquareDetector, finder_of, write_film
from tsal_dist.config import load_config
from tsal_dist.errors import DataError
from tsal_dist.inference.decoding import PLAIN, Decoding
from tsal_dist.inference.detector import Detector, Options
from tsal_dist.inference.finder import Finder
from tsal_dist.inference.kept_rows import KeptRows, parts_folder
from tsal_dist.inference.opening import describe_looks
from tsal_dist.inference.pictures import FrameRange, find_sources
from tsal_dist.inference.session import identify
from tsal_dist.inference.trained import Trained
from tsal_dist.models.detectors import build_detector


@pytest.fixture
def film(tmp_path):
    return find_sources([str(write_film(tmp_path / "film.avi", [(60 + t, 70) for t in range(6)]))])


@pytest.fixture
def keep(tmp_path):
    """`keep(detector=..., sources=...)` opens the parts of one table in this test's folder."""

    def open_parts(sources, by="a", **options):
        looks = describe_looks(by, Options(**options), sources)
        return KeptRows(tmp_path / "t.csv", looks, finder_of(SquareDetector()).layout)

    return open_parts


def same(one, other):
    return repr([vars(row) for row in one]) == repr([vars(row) for row in other])


def test_rows_come_back_as_they_were(film, keep):
    detector = Detector(finder_of(SquareDetector()), None, "made")
    kept = keep(film)
    assert kept.load(film[0]) is None
    rows = kept.find(film[0], lambda source: detector.look_at(source, Options()))
    assert len(rows) == 6
    assert same(kept.load(film[0]), rows)
    assert kept.are_complete(film)


def test_a_film_that_is_changed_while_it_is_looked_at_is_looked_at_again(film, keep, tmp_path):
    detector = Detector(finder_of(SquareDetector()), None, "made")

    def look(source):
        rows = detector.look_at(source, Options())
        write_film(tmp_path / "film.avi", [(60, 70)])
        return rows

    keep(film).find(film[0], look)
    assert not keep(film).holds(film[0])


def test_what_is_damaged_foreign_or_unread_is_looked_at_again(film, keep, tmp_path, caplog):
    def unreadable(source):
        raise DataError("cannot be decoded")

    detector = Detector(finder_of(SquareDetector()), None, "made")
    with pytest.raises(DataError, match="cannot be decoded"):
        keep(film).find(film[0], unreadable)
    assert keep(film).are_complete(film), "there is nothing to wait for"
    assert keep(film).load(film[0]) is None
    keep(film).find(film[0], lambda source: detector.look_at(source, Options()))
    assert keep(film).holds(film[0])
    for other in (keep(film, by="b"), keep(film, frames=FrameRange(2, 3))):
        assert other.load(film[0]) is None
        assert not other.are_complete(film)
    (part,) = parts_folder(tmp_path / "t.csv").iterdir()
    metadata = pq.read_schema(part).metadata
    assert json.loads(metadata[b"tsal_dist"])["detector"] == "a"
    data = bytearray(part.read_bytes())
    data[pq.read_metadata(part).row_group(0).column(8).data_page_offset + 60] ^= 1
    part.write_bytes(data)
    caplog.clear()
    assert keep(film).load(film[0]) is None
    assert "is damaged" in caplog.text
    part.write_bytes(b"")
    assert keep(film).load(film[0]) is None
    assert not keep(film).are_complete(film)


def test_a_detector_is_told_from_any_other(flag_trust):
    def digest(detector, trust=flag_trust, *settings, decoding=PLAIN):
        config = load_config([], ["model.num_points=4", "model.crop_px=64", "model.detector=lite", *settings])
        finder = Finder(Trained(detector, config, "any name"), torch.device("cpu"), decoding)
        return identify(Detector(finder, trust, "any name"))

    def net(change=0.0):
        torch.manual_seed(0)
        made = build_detector("lite", 4).eval()
        with torch.no_grad():
            next(made.parameters()).view(-1)[0] += change
        return made

    others = [
        digest(net(1e-6)),
        digest(net(), None),
        digest(net(), flag_trust, "model.decode_radius=2"),
        digest(net(), flag_trust, "data.beyond_points=0.1"),
        digest(net(), decoding=Decoding(views=2)),
        digest(net(), decoding=Decoding(companions=True)),
    ]
    assert digest(net()) == digest(net())
    assert len({digest(net()), *others}) == 7
