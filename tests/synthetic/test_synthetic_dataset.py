"""A data set on disk: same bytes from anyone's hands, honest lists, clear refusals."""

import hashlib
import json
import math
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tsal_dist.errors import ConfigError
from tsal_dist.synthetic.clip import ClipSpec, render_clip
from tsal_dist.synthetic.dataset import DatasetSpec, write_dataset

ROOT = Path(__file__).parents[2]
SPEC = DatasetSpec(videos=5, frames=6, size_px=64, seed=3, labelled=0.3)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    out = tmp_path_factory.mktemp("made") / "set"
    write_dataset(out, SPEC)
    return out


def digests(folder):
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def read_list(path):
    return [line.split() for line in path.read_text().splitlines()]


def test_the_same_bytes_again_and_with_other_workers(made, tmp_path):
    write_dataset(tmp_path / "again", SPEC)
    write_dataset(tmp_path / "two", SPEC, workers=2)
    assert digests(made) == digests(tmp_path / "again") == digests(tmp_path / "two")


def test_another_seed_gives_other_bytes(made, tmp_path):
    write_dataset(tmp_path, DatasetSpec(**{**vars(SPEC), "seed": 4}))
    assert digests(made)["videos/0001/vid.avi"] != digests(tmp_path)["videos/0001/vid.avi"]


def test_no_video_is_in_both_lists_and_every_frame_in_one(made):
    videos = {}
    frames = []
    for name in ("train", "test"):
        lines = read_list(made / f"{name}.lst")
        frames += [line[0] for line in lines]
        videos[name] = {line[0].split("#")[0] for line in lines}
    assert not videos["train"] & videos["test"]
    assert len(videos["test"]) == SPEC.test_videos == 1
    expected = {f"videos/{v:04d}/vid.avi#{t:06d}" for v in range(1, 6) for t in range(1, 7)}
    assert len(frames) == len(expected)
    assert set(frames) == expected


def test_the_label_share_is_exact(made):
    train = read_list(made / "train.lst")
    labelled = [line for line in train if line[1] != "None"]
    assert len(labelled) == SPEC.labelled_frames == round(0.3 * 24)
    assert all(line[1] != "None" for line in read_list(made / "test.lst"))
    for video, annotation, *_ in labelled:
        assert video.replace("vid.avi#", "annot/") + ".pts" == annotation


@given(
    videos=st.integers(1, 200),
    frames=st.integers(1, 300),
    labelled=st.floats(0, 1),
    test_share=st.floats(0, 1),
)
def test_shares_are_kept_within_half_a_frame(videos, frames, labelled, test_share):
    spec = DatasetSpec(videos=videos, frames=frames, labelled=labelled, test_share=test_share)
    total = (videos - spec.test_videos) * frames
    assert 0 <= spec.test_videos <= videos
    assert 0 <= spec.labelled_frames <= total
    wished = labelled * total
    # one frame at least where labels were asked for at all
    assert abs(spec.labelled_frames - wished) <= 0.5 + 1e-9 or (wished < 0.5 and spec.labelled_frames == 1)
    if 0 < test_share < 1 and videos > 1:
        assert 1 <= spec.test_videos <= videos - 1
        assert abs(spec.test_videos - test_share * videos) <= 1


def test_videos_and_annotations_are_the_clip(made):
    clip = render_clip(ClipSpec(SPEC.seed, 1, SPEC.frames, SPEC.size_px))
    video = cv2.VideoCapture(str(made / "videos/0002/vid.avi"))
    for t in range(SPEC.frames):
        ok, frame = video.read()
        assert ok
        assert np.abs(frame.astype(int) - clip.frames[t]).mean() < 8
        text = (made / f"videos/0002/annot/{t + 1:06d}.pts").read_text().split("\n")
        assert text[:3] == ["version: 1", "n_points: 68", "{"]
        points = np.array([line.split() for line in text[3:71]], float)
        np.testing.assert_allclose(points - 1, clip.points[t], atol=6e-4)
        assert text[71] == "}"
    assert not video.read()[0]


def test_boxes_hold_the_face_but_not_its_answer(made):
    for line in read_list(made / "test.lst") + [x for x in read_list(made / "train.lst") if x[1] != "None"]:
        points = np.array([row.split() for row in (made / line[1]).read_text().split("\n")[3:71]], float)
        low, high = points.min(0), points.max(0)
        box = np.array(line[2:], float)
        tight = np.hstack([low, high])
        assert len(line) == 6
        assert (np.abs(box - tight) <= 0.081 * np.hstack([high - low] * 2) + 0.01).all()
        assert not np.allclose(box, tight, atol=0.02)


def test_the_contact_sheet_and_the_record(made):
    sheet = cv2.imread(str(made / "contact.png"))
    assert sheet.shape == (320, 4 * 320, 3)  # five tiles of two pictures, four in a row
    record = json.loads((made / "synthetic.json").read_text())
    assert {key: record[key] for key in vars(SPEC)} == vars(SPEC)


def test_a_full_folder_is_refused_unless_it_is_ours_and_clean_is_said(made, tmp_path):
    before = digests(made)
    with pytest.raises(ConfigError, match="not empty"):
        write_dataset(made, SPEC)
    write_dataset(made, SPEC, clean=True)
    assert digests(made) == before
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(ConfigError, match=r"thesis\.txt"):
        write_dataset(tmp_path, SPEC, clean=True)
    assert (tmp_path / "thesis.txt").read_text() == "years of work"


@pytest.mark.parametrize(
    "wrong",
    [
        {"videos": 0}, {"frames": 0}, {"size_px": 47}, {"size_px": 65}, {"size_px": 4096}, {"seed": -1},
        {"labelled": 1.5}, {"labelled": math.nan}, {"test_share": -0.1}, {"fps": 0.0}, {"quality": 101},
    ],
)  # fmt: skip
def test_bad_values_are_named(wrong):
    with pytest.raises(ConfigError, match="it must be") as caught:
        DatasetSpec(**wrong)
    assert str(next(iter(wrong.values()))) in str(caught.value)


def command(*words):
    return subprocess.run(
        [sys.executable, "tools/make_synthetic.py", *map(str, words)],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )


def test_the_command_writes_and_reports(tmp_path):
    done = command("--out", tmp_path / "a", "--videos", 2, "--frames", 2, "--size", 64, "--labelled", 0.5)
    assert done.returncode == 0, done.stderr
    assert "1 train and 1 test clips of 2 frames, 1 of 2 train frames labelled" in " ".join(
        done.stdout.split()
    )
    assert (tmp_path / "a/synthetic.json").is_file()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--size", 63), "size is 63"),
        (("--labelled", 2), "labelled is 2"),
        (("--workers", 0), "workers is 0"),
    ],
)
def test_the_command_fails_in_one_line(tmp_path, words, said):
    done = command("--out", tmp_path / "a", *words)
    assert done.returncode == 2
    assert said in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert not (tmp_path / "a").exists()


def test_a_dry_run_writes_nothing(tmp_path):
    done = command("--out", tmp_path / "a", "--dry-run")
    assert done.returncode == 0
    assert "32 train and 8 test clips" in done.stdout
    assert not (tmp_path / "a").exists()
