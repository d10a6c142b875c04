"""Sets whose boxes are of two kinds are told apart when a run begins."""

import logging

import pytest

from tests.pack.packing import pack_all
from tests.roles.short_runs import short_config
from tsal_dist.runs.open_data import open_checked


@pytest.fixture(scope="module")
def whole(faces, tmp_path_factory):
    """The training videos once more, each box the whole picture."""
    out = tmp_path_factory.mktemp("whole")
    pack_all(out, lists=[faces.videos.parent / "train.lst"], split="all", box="full")
    return str(out / "all")


def said(caplog, faces, folder, *words):
    with caplog.at_level(logging.WARNING, "tsal_dist.runs.same_boxes"):
        open_checked(short_config(faces, folder, *words), first=True)
    return caplog.text


def test_unlabelled_footage_with_other_boxes_is_told(faces, whole, tmp_path, caplog):
    text = said(caplog, faces, tmp_path, f"data.unlabelled={whole}")
    assert "Boxes of data.labelled are around the subject, those of data.unlabelled whole pictures" in text
    assert "data.validation" not in text


def test_boxes_that_are_alike_are_not(faces, whole, tmp_path, caplog):
    assert said(caplog, faces, tmp_path) == ""
    assert said(caplog, faces, tmp_path, f"data.unlabelled=[{faces.train!r},{whole!r}]") == "", "some are"
