"""Videos with several subjects: each is packed as a video of its own, with its own boxes and labels."""

import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.pack.footage import make_video
from tests.pack.packing import pack_all, plan_of
from tsal_dist.data.crop import ViewSettings
from tsal_dist.data.once import read_all
from tsal_dist.data.shard_set import open_shards
from tsal_dist.errors import ConfigError
from tsal_dist.geometry import affine
from tsal_dist.label.book import open_book
from tsal_dist.pack.face import name_subject, split_subject
from tsal_dist.pack.formats.table import csv_text, read_csv
from tsal_dist.pack.gather import gather_inputs
from tsal_dist.pack.hold_out import hold_out
from tsal_dist.pack.track_videos import BRIDGED, LEAST_SEEN, track_subjects
from tsal_dist.records import Layout
from tsal_dist.shards.frames import read_frames
from tsal_dist.shards.manifest import open_manifest

ROOT = Path(__file__).parents[2]
HEAD = "path,frame,subject,x1,y1,x2,y2,nose_x,nose_y,tail_x,tail_y\n"


def label(video, frame, subject, x, y):
    return f"{video},{frame},{subject},{x - 8},{y - 8},{x + 8},{y + 8},{x - 3},{y},{x + 4},{y + 2}\n"


@pytest.fixture
def desk(tmp_path):
    """A film of 12 frames, 64 x 48, and a table of two subjects in it, of which one has fewer frames."""
    make_video(tmp_path / "a.avi")
    lines = [label("a.avi", frame, "left", 16, 20 + frame) for frame in range(1, 9)]
    lines += [label("a.avi", frame, "right", 44, 20) for frame in range(3, 6)]
    (tmp_path / "l.csv").write_text(HEAD + "".join(lines))
    return tmp_path


def test_each_subject_of_a_table_is_a_video_of_its_own(desk):
    manifest = pack_all(desk / "out", lists=[desk / "l.csv"], shard_frames=50).manifest
    table = read_frames(manifest.parquet_url(0))
    videos = [table.videos[number] for number in table.video_N]
    assert videos == ["a.avi@left"] * 8 + ["a.avi@right"] * 3
    assert table.frame_N.tolist() == [*range(8), *range(2, 5)]
    assert table.box_N4[-1].tolist() == [36, 12, 52, 28]
    clips = [
        clip
        for batch in read_all(open_shards([manifest.url]), ViewSettings(32, 0.0), "labelled", 1)
        for clip in batch
    ]
    assert [clip.video for clip in clips] == videos
    for clip, frame in zip(clips, table.frame_N, strict=True):
        home_K2 = affine.apply(affine.invert(clip.to_crop_23), clip.points_TK2[0])
        y = 21 + frame if clip.video.endswith("left") else 20
        x = 16 if clip.video.endswith("left") else 44
        np.testing.assert_allclose(home_K2, [(x - 3, y), (x + 4, y + 2)], atol=0.01)


def test_no_clip_goes_from_one_subject_to_the_other(desk):
    manifest = pack_all(desk / "out", lists=[desk / "l.csv"], shard_frames=50).manifest
    assert [(one.video, one.frames, one.first_frame) for one in manifest.shards[0].segments] == [
        ("a.avi@left", 8, 0),
        ("a.avi@right", 3, 2),
    ]


def test_one_subject_alone_keeps_the_videos_name(desk):
    text = (desk / "l.csv").read_text().splitlines(keepends=True)
    (desk / "one.csv").write_text("".join(line for line in text if "right" not in line))
    assert {one.name for one in gather_inputs([desk / "one.csv"])} == {"a.avi"}


def test_two_lines_of_a_frame_that_nothing_tells_apart_are_refused(desk):
    text = (desk / "l.csv").read_text().replace("left", "").replace("right", "")
    (desk / "same.csv").write_text(text)
    with pytest.raises(ConfigError, match=r"Frame 3 of .*a\.avi is labelled twice.*column `subject`"):
        gather_inputs([desk / "same.csv"])


@pytest.mark.parametrize("name", ["a/b", "1.5", "#2", "x" * 61])
def test_a_subjects_name_is_a_word(desk, name):
    (desk / "bad.csv").write_text(HEAD + label("a.avi", 1, name, 20, 20))
    with pytest.raises(ConfigError, match="bad.csv, line 2: subject .* is no name"):
        gather_inputs([desk / "bad.csv"])


def test_a_name_tells_video_and_subject():
    assert split_subject(name_subject("b/a.avi", "nose 2")) == ("b/a.avi", "nose 2")
    assert split_subject(name_subject("b/a.avi", "")) == ("b/a.avi", "")
    assert split_subject("me@home/a@2.avi") == ("me@home/a@2.avi", "")


def test_a_table_with_subjects_comes_back(desk):
    entries = read_csv(desk / "l.csv", Path())
    (desk / "again.csv").write_text(csv_text(entries, 2, Layout(("nose", "tail"))))
    again = read_csv(desk / "again.csv", Path())
    assert [(one.frame, one.subject) for one in again] == [(one.frame, one.subject) for one in entries]
    assert "subject" not in csv_text([], 2, Layout(("nose", "tail")))


def test_what_is_labelled_of_a_subject_goes_back_to_it(tmp_path):
    book = open_book(tmp_path / "l.csv", Layout(("nose",)))
    book.put("a.avi@2", 4, [(1.0, 2.0, 1)])
    book.put("b.avi", 4, [(1.0, 2.0, 1)])
    told = [(one.path, one.subject) for one in read_csv(tmp_path / "l.csv", Path())]
    assert told == [("a.avi", "2"), ("b.avi", "")]
    again = open_book(tmp_path / "l.csv", Layout(("nose",)))
    assert again.marks("a.avi@2", 4) == again.marks("b.avi", 4) == [(1.0, 2.0, 1)]
    assert again.marks("a.avi", 4) is None


def test_all_subjects_of_a_video_are_held_out_together(desk):
    make_video(desk / "b.avi", seed=2)
    with open(desk / "l.csv", "a") as file:
        file.write(label("b.avi", 1, "left", 20, 20) + label("b.avi", 1, "right", 40, 20))
    inputs = gather_inputs([desk / "l.csv"])
    assert len(inputs) == 4
    for seed in range(6):
        train, held_out = hold_out(inputs, 0.5, seed)
        assert len(train) == len(held_out) == 2
        assert {one.path for one in train}.isdisjoint({one.path for one in held_out})


def test_whole_videos_of_several_need_somebody_who_follows_them(desk):
    """A frame without a label has no box that says whose it is, and the whole frame is nobody's."""
    for how in ({"box": "full"}, {"box": "detector", "subject_model": "x"}, {}):
        with pytest.raises(ConfigError, match=r"has 2 subjects.*--subjects many"):
            plan_of([desk / "a.avi"], gather={"labels": [desk / "l.csv"]}, **how)


def test_boxes_name_their_subject(desk):
    (desk / "b.csv").write_text("path,frame,subject,x1,y1,x2,y2\na.avi,3,right,1,2,30,40\n")
    inputs = gather_inputs([desk / "l.csv"], boxes=desk / "b.csv")
    found = {one.subject: one.labels[2].face.box for one in inputs}
    assert found == {"left": (8, 15, 24, 31), "right": (1, 2, 30, 40)}
    (desk / "b.csv").write_text("path,frame,subject,x1,y1,x2,y2\na.avi,3,up,1,2,30,40\n")
    with pytest.raises(ConfigError, match=r"a\.avi, subject 'up', which is no input"):
        gather_inputs([desk / "l.csv"], boxes=desk / "b.csv")


# Found in whole videos.

BLACK_WIDTH, BLACK_HEIGHT = 128, 64


def film(path, paths):
    """White squares of 16 px on black."""
    writer = cv2.VideoWriter(
        str(path), cv2.CAP_OPENCV_MJPEG, cv2.VideoWriter_fourcc(*"MJPG"), 25, (BLACK_WIDTH, BLACK_HEIGHT)
    )
    for middles in zip(*paths, strict=True):
        image_HWC = np.zeros((BLACK_HEIGHT, BLACK_WIDTH, 3), np.uint8)
        for middle in middles:
            if middle is not None:
                x, y = middle
                image_HWC[y - 8 : y + 8, x - 8 : x + 8] = 255
        writer.write(image_HWC)
    writer.release()
    return path


def squares(image_HWC):
    """A detector of what is bright."""
    count, _, stats_N5, _ = cv2.connectedComponentsWithStats((image_HWC.mean(2) > 128).astype(np.uint8))
    boxes = [[x, y, x + w - 1, y + h - 1, 0.9] for x, y, w, h, area in stats_N5[1:] if area > 60]
    return np.array(boxes, np.float32).reshape(-1, 5)


def gather(folder, detect=squares, stride=1, **more):
    return gather_inputs(
        videos=[folder / "a.avi"], track=lambda inputs: track_subjects(inputs, detect, stride), **more
    )


def walk(start, step, frames):
    return [(start[0] + step[0] * t, start[1] + step[1] * t) for t in range(frames)]


def test_subjects_of_a_whole_video_are_followed(tmp_path):
    """One passes through, the other leaves half way."""
    film(tmp_path / "a.avi", [walk((20, 20), (3, 0), 20), [*walk((100, 44), (-2, 0), 10), *[None] * 10]])
    one, other = gather(tmp_path)
    assert (one.name, other.name) == ("a.avi@1", "a.avi@2")
    assert sorted(one.labels) == list(range(20))
    assert sorted(other.labels) == list(range(10))
    for t in (0, 12, 19):
        x1, y1, x2, y2 = one.labels[t].face.box
        assert abs((x1 + x2) / 2 - (20 + 3 * t)) <= 1.5
        assert abs((y1 + y2) / 2 - 20) <= 1.5


def test_a_short_gap_is_bridged_and_a_long_one_is_not(tmp_path):
    missed = {4, 5, 6, 12, 13, 14, 15}
    assert len(missed) == 2 * BRIDGED + 1
    path = [None if t in missed else middle for t, middle in enumerate(walk((20, 20), (2, 1), 24))]
    film(tmp_path / "a.avi", [path])
    (one,) = gather(tmp_path)
    assert one.name == "a.avi", "a single subject needs no number"
    assert set(range(24)) - set(one.labels) == {12, 13, 14, 15}
    x1, _, x2, _ = one.labels[5].face.box
    assert abs((x1 + x2) / 2 - 30) <= 1.5


def test_what_is_seen_seldom_is_an_error_of_the_detector(tmp_path):
    flash = [(100, 40) if 3 <= t < 3 + LEAST_SEEN - 1 else None for t in range(12)]
    film(tmp_path / "a.avi", [flash, walk((20, 20), (1, 0), 12)])
    (one,) = gather(tmp_path)
    assert one.name == "a.avi"
    assert one.labels[11].face.box is not None


def test_every_other_frame_is_followed_where_every_other_is_packed(tmp_path):
    film(tmp_path / "a.avi", [walk((20, 20), (2, 0), 20)])
    (one,) = gather(tmp_path, stride=2)
    assert sorted(one.labels) == list(range(0, 20, 2))


def test_labels_go_to_whose_box_they_lie_in(tmp_path):
    film(tmp_path / "a.avi", [walk((20, 20), (2, 0), 12), walk((100, 44), (-2, 0), 12)])
    lines = [label("a.avi", 3, "", 24, 20), label("a.avi", 5, "", 92, 44), label("a.avi", 8, "", 60, 55)]
    lines += [label("a.avi", 10, "", 82, 44), label("a.avi", 10, "", 38, 20)]  # nothing says whose they are
    (tmp_path / "l.csv").write_text(HEAD + "".join(lines))
    found = gather(tmp_path, labels=[tmp_path / "l.csv"])
    labelled = {
        one.name: [frame for frame, each in sorted(one.labels.items()) if each.face.points_K2 is not None]
        for one in found
    }
    assert labelled == {"a.avi@1": [2, 9], "a.avi@2": [4, 9], "a.avi@unseen": [7]}
    of = {one.name: one for one in found}
    x1, _, x2, _ = of["a.avi@1"].labels[2].face.box
    assert abs((x1 + x2) / 2 - 24) <= 1.5, "its box is the subject's, as in all frames"
    assert of["a.avi@unseen"].labels[7].face.box == (52, 47, 68, 63)
    assert all(one.layout.names == ("nose", "tail") for one in found)


def test_a_video_without_a_subject_is_told_of(tmp_path):
    film(tmp_path / "a.avi", [[None] * 6])
    film(tmp_path / "b.avi", [walk((20, 20), (2, 0), 12)])
    inputs = gather_inputs(
        videos=[tmp_path / "a.avi", tmp_path / "b.avi"], track=lambda found: track_subjects(found, squares)
    )
    assert [one.problem and one.problem[0] for one in inputs] == ["no_box", None]
    (tmp_path / "a.avi").write_bytes(b"no video")
    (one,) = gather(tmp_path)
    assert one.problem is None, "what is wrong with it is found out when it is opened"


def test_two_rendered_faces_are_packed_from_the_command_line(tmp_path):
    """BlazeFace follows two faces of which one goes away. They are rendered: this measures nothing."""
    from tsal_dist.synthetic.clip import ClipSpec, render_clip

    first, second = (render_clip(ClipSpec(7, number, 12, 160)) for number in (0, 1))
    writer = cv2.VideoWriter(str(tmp_path / "two.avi"), cv2.VideoWriter_fourcc(*"MJPG"), 25, (320, 160))
    for t in range(12):
        gone_HWC = np.full_like(second.frames[t], 90)
        writer.write(np.hstack([first.frames[t], second.frames[t] if t < 7 else gone_HWC]))
    writer.release()
    command = ["tools/shard_videos.py", "--videos", tmp_path / "two.avi", "--subjects", "many"]
    command += ["--face-model", "blazeface", "--out", tmp_path / "out", "--workers", "1"]
    done = subprocess.run(
        [sys.executable, *map(str, command)], cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    manifest = open_manifest(str(tmp_path / "out" / "train"))
    table = read_frames(manifest.parquet_url(0))
    frames = {}
    for video, frame, box_4 in zip(table.video_N, table.frame_N, table.box_N4, strict=True):
        frames.setdefault(table.videos[video], []).append(int(frame))
        left = (box_4[0] + box_4[2]) / 2 < 160
        clip, shift = (first, 0) if left else (second, 160)
        x, y = clip.points[frame].mean(0) + [shift, 0]
        assert box_4[0] < x < box_4[2]
        assert box_4[1] < y < box_4[3]
    assert sorted(map(tuple, frames.values())) == sorted([tuple(range(7)), tuple(range(12))])


@pytest.mark.parametrize(
    ("flags", "rule"),
    [
        (["--videos", "x"], "Name both"),
        (["--videos", "x", "--face-model", "blazeface", "--machine", "1/2"], "let one machine pack"),
    ],
)
def test_what_cannot_be_followed_is_refused(flags, rule, tmp_path):
    command = ["tools/shard_videos.py", "--subjects", "many", *flags, "--out", str(tmp_path)]
    done = subprocess.run([sys.executable, *command], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert rule in done.stderr
