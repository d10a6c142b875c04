"""Labels that are written elsewhere still name the same files."""

import os
from pathlib import Path

import cv2
import numpy as np
import pytest

from tools.convert_labels import main
from tsal_dist.cli import run_entry
from tsal_dist.pack.formats.formats import FORMATS
from tsal_dist.pack.lists import read_list

SUFFIX = {"coco": ".json", "label-studio": ".json", "cvat": ".xml", "sleap": ".slp"}


@pytest.fixture
def lab(tmp_path, monkeypatch):
    """Pictures below a folder, a table in it, and a shell that stands beside."""
    for name in ("lab/pictures/a.png", "lab/labeled-data/v/img3.png"):
        (tmp_path / name).parent.mkdir(parents=True)
        cv2.imwrite(str(tmp_path / name), np.zeros((48, 64, 3), np.uint8))
    text = "path,nose_x,nose_y\npictures/a.png,1,2\nlabeled-data/v/img3.png,3,4\n"
    (tmp_path / "lab/l.csv").write_text(text)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def files(entries):
    return [os.path.abspath(entry.path) for entry in entries]


@pytest.mark.parametrize("target", ["lab/new", "lab/deeper/still/new", "elsewhere/new", "new"])
@pytest.mark.parametrize("kind", sorted(FORMATS))
def test_relative_paths_lead_from_the_new_file_to_the_same_pictures(lab, kind, target):
    if kind == "sleap":
        pytest.importorskip("h5py")
    file = Path(f"{target}{SUFFIX.get(kind, '.csv')}")
    assert run_entry(main, ["lab/l.csv", str(file), "--to", kind]) == 0
    found = read_list(file)
    assert files(found) == [str(lab / "lab/pictures/a.png"), str(lab / "lab/labeled-data/v/img3.png")]
    assert str(lab).encode() not in file.read_bytes(), "whoever moves both together still finds them"
    np.testing.assert_allclose([one.face.points_K2[0] for one in found], [[1, 2], [3, 4]], atol=1e-3)


def test_a_root_of_its_own_counts(lab):
    (lab / "lists").mkdir()
    (lab / "lab/l.csv").rename(lab / "lists/l.csv")
    assert run_entry(main, ["lists/l.csv", "out/l.json", "--to", "coco", "--root", "lab"]) == 0
    assert all(map(os.path.exists, files(read_list(Path("out/l.json")))))


def test_a_video_s_frames_keep_their_video(lab):
    (lab / "lab/v.csv").write_text("path,frame,nose_x,nose_y\nclips/v.mp4,12,1,2\n")
    assert run_entry(main, ["lab/v.csv", "out/v.xml", "--to", "cvat"]) == 0
    (one,) = read_list(Path("out/v.xml"))
    assert (os.path.abspath(one.path), one.frame) == (str(lab / "lab/clips/v.mp4"), 11)
