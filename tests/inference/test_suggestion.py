"""Which frames are suggested: doubtful, unlike each other, spread over videos; and the whole way from a run."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from tests.pack.packing import SPOT, pack_spot
from tests.roles.short_runs import pack_faces, train
from tsal_dist.config import RunConfig
from tsal_dist.config.load import override
from tsal_dist.data.crop import ViewSettings
from tsal_dist.data.reader import FrameReader
from tsal_dist.data.shard_set import open_shards
from tsal_dist.errors import ConfigError
from tsal_dist.inference.suggestion import (
    Guess,
    choose,
    doubt,
    explain,
    in_source,
    labelled_since,
    show_guess,
    split_refs,
    suggest,
)
from tsal_dist.inference.trained import Trained
from tsal_dist.label.suggested import read_suggestions
from tsal_dist.models.detectors import build_detector
from tsal_dist.records import FrameRef
from tsal_dist.run_dir import RunDir
from tsal_dist.shards.index import read_index

ROOT = Path(__file__).parents[2]
NONE = np.empty((0, 2))


def guess(score=0.5, apart=0.1):
    return Guess(FrameRef(0, 0), "v", 0, np.zeros((2, 2)), np.array([score, score / 2]), apart, np.zeros(2))


def test_doubt_is_a_place_in_the_order():
    found = doubt([guess(0.9, 0.0), guess(0.1, 0.4), guess(0.5, 0.2)])
    assert found.tolist() == [0.0, 1.0, 0.5]
    assert doubt([guess(), guess()]).tolist() == [0.0, 0.0]


def test_the_most_doubtful_comes_first_and_then_what_is_unlike_it(rng):
    thumb_ND = np.array([[0.0, 0], [0.01, 0], [5, 5], [-5, 5]])
    order = [place for place, _ in choose(np.array([1.0, 0.99, 0.5, 0.4]), thumb_ND, list("aaaa"), NONE, 4)]
    assert order == [0, 2, 3, 1], "the neighbour of a chosen frame waits"


def test_what_looks_like_a_labelled_frame_waits():
    thumb_ND = np.array([[0.0, 0], [5, 5]])
    ((place, novelty),) = choose(np.array([1.0, 0.9]), thumb_ND, ["a", "b"], np.array([[0.0, 0.001]]), 1)
    assert place == 1
    assert novelty == 1.0


def test_videos_take_turns(rng):
    thumb_ND = rng.normal(size=(40, 12))
    doubt_N = np.concatenate([np.linspace(0.9, 1, 30), np.linspace(0.5, 0.6, 10)])
    videos = ["a"] * 30 + ["b"] * 10
    chosen = [videos[place] for place, _ in choose(doubt_N, thumb_ND, videos, NONE, 6)]
    assert chosen.count("b") >= 2
    assert choose(doubt_N, thumb_ND, videos, NONE, 99)[39], "as many as there are"


def test_the_reason_names_the_point():
    guesses = [guess(0.9, 0.0), guess(0.1, 0.0), guess(0.9, 0.4)]
    assert explain(1, guesses, 0.0, ("nose", "tail")).startswith("unsure of tail: peak 0.05")
    assert explain(2, guesses, 0.0, ()) == "its two answers lie 40 % of the crop apart"
    assert explain(0, guesses, 1.0, ()) == "looks like no labelled frame"
    assert explain(0, guesses, 0.1, ()) == "another video's turn"


def test_points_of_crops_are_those_of_the_source_and_are_shown_where_they_were(tmp_path):
    reader = FrameReader(open_shards([pack_spot(tmp_path).url]), ViewSettings(96, labels=False))
    stored_K2 = reader.shard(0).table.points_NK2[0].astype(float)
    home_K2 = in_source(reader, FrameRef(0, 0), stored_K2)
    np.testing.assert_allclose(home_K2, [SPOT, (SPOT[0] + 12, SPOT[1])], atol=0.01)
    clip, shown_K2 = show_guess(reader, replace(guess(), points_K2=home_K2))
    reader.close()
    y_N, x_N = np.nonzero(clip.image_THWC[0].mean(2) > 128)
    np.testing.assert_allclose(shown_K2[0], [x_N.mean(), y_N.mean()], atol=0.5)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("suggest")
    faces = pack_faces(folder / "faces")
    return faces, train(faces, folder / "run", "method.name=supervised")


@pytest.mark.slow
def test_from_a_run_to_a_sheet(run, tmp_path):
    faces, folder = run
    done = subprocess.run(
        [sys.executable, "tools/suggest.py", folder, "--frames", "5", "--out", tmp_path, "--shards", faces.train],
        cwd=ROOT, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "tsal label" not in done.stdout, "a page would not show what lies elsewhere"
    own = subprocess.run(
        [sys.executable, "tools/suggest.py", folder, "--frames", "1", "--shards", faces.train],
        cwd=ROOT, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert f"tsal label {folder} --shards {faces.train}\n" in own.stdout, (
        "without --shards other frames would be shown"
    )
    shards = open_shards([faces.train])
    kept = read_suggestions(tmp_path, shards.fingerprint)
    assert len(kept) == 5
    assert {one.ref for one in kept} <= set(split_refs(shards)[0]), "none of them is labelled"
    assert len({one.video for one in kept}) >= 3
    assert all(one.reason and len(one.points) == 68 for one in kept)
    sheet = cv2.imread(str(tmp_path / "suggested.jpg"))
    assert sheet.shape[1] == 4 * 288
    assert sheet.std() > 20
    assert read_suggestions(tmp_path, "other shards") == []


def test_what_a_page_has_kept_is_not_suggested_again(tmp_path):
    """It is in no shards before they are packed again; a frame that was looked at and shows nothing is kept, too."""
    table = RunDir(tmp_path / "run").labels
    assert labelled_since(table) == set(), "nobody has labelled yet"
    table.parent.mkdir(parents=True)
    table.write_text("path,frame,subject,p0x,p0y\na.avi,3,,1,2\na.avi,4,,,\nb.avi,1,2,1,2\ne.png,,,5,6\n")
    assert labelled_since(table) == {("a.avi", 2), ("a.avi", 3), ("b.avi@2", 0), ("e.png", 0)}
    shards = open_shards([pack_spot(tmp_path).url])
    config = override(RunConfig(), "model.detector=lite", "model.num_points=2", "model.crop_px=32")
    trained = Trained(build_detector("lite", 2), config, "fresh")
    every = suggest(trained, shards, 99, torch.device("cpu"))
    assert len(every) == 3
    table.write_text(f"path,frame,p0x,p0y\n{every[0].guess.video},{every[0].guess.frame + 1},1,2\n")
    since = labelled_since(table)
    again = suggest(trained, shards, 99, torch.device("cpu"), since=since)
    assert {one.guess.ref for one in again} == {one.guess.ref for one in every[1:]}
    with pytest.raises(ConfigError, match="Every frame of these shards is labelled"):
        suggest(trained, shards, 1, torch.device("cpu"), since={("clip.avi", frame) for frame in range(4)})


def test_damaged_frames_are_left_out_as_they_are_in_training(tmp_path, caplog):
    """One of them had neither a suggestion nor a report be made."""
    manifest = pack_spot(tmp_path)
    data = bytearray(Path(manifest.tar_url(0)).read_bytes())
    for number in (0, 2):  # one with a label and one without
        data[int(read_index(manifest.idx_url(0))[number]["jpg_offset"]) + 300] ^= 255
    Path(manifest.tar_url(0)).write_bytes(data)
    config = override(RunConfig(), "model.detector=lite", "model.num_points=2", "model.crop_px=32")
    trained = Trained(build_detector("lite", 2), config, "fresh")
    found = suggest(trained, open_shards([manifest.url]), 99, torch.device("cpu"))
    assert sorted(one.guess.frame for one in found) == [1, 3]
    assert caplog.text.count("fails its checksum") == 2


def test_a_damaged_file_of_suggestions_is_named(tmp_path):
    (tmp_path / "suggested.json").write_text(json.dumps({"shards": "x", "frames": [{"shard": 0}]}))
    with pytest.raises(ConfigError, match="is damaged"):
        read_suggestions(tmp_path, "x")
    assert read_suggestions(tmp_path / "none", "x") == []
