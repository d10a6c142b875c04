"""What may be a mistake is said, and packed: a video under two names, and labels of smaller copies."""

import shutil

import numpy as np
import pytest

from tests.pack.footage import make_image, make_video, rotate_quarter
from tools.shard_videos import main
from tsal_dist.errors import ConfigError
from tsal_dist.pack.doubts import LEAST_FRAMES, tell_copies, tell_scaled_labels
from tsal_dist.pack.gather import gather_inputs
from tsal_dist.pack.hold_out import hold_out
from tsal_dist.pack.video_facts import probe

HEAD = "path,frame,nose_x,nose_y,tail_x,tail_y\n"


def labels(folder, lines, head=HEAD):
    (folder / "labels.csv").write_text(head + "".join(f"{line}\n" for line in lines))
    return folder / "labels.csv"


@pytest.fixture
def videos(tmp_path):
    """Three, of which the last is the first once more."""
    for seed, name in enumerate(("a", "b")):
        make_video(tmp_path / f"videos/{name}.avi", seed=seed)
    shutil.copy(tmp_path / "videos/a.avi", tmp_path / "videos/copy.avi")
    return tmp_path / "videos"


def pack(videos, *words):
    return main([*map(str, ("--videos", videos, "--out", videos.parent / "out", "--workers", 1)), *words])


def test_a_video_under_two_names_is_told(videos, caplog):
    assert pack(videos, "--box", "full") == 0
    (told,) = [record.getMessage() for record in caplog.records]
    assert f"{videos}/a.avi and {videos}/copy.avi have the same content: it is packed twice" in told
    assert (videos.parent / "out/train/manifest.json").exists()
    shutil.copy(videos / "a.avi", videos / "more.avi")
    caplog.clear()
    pack(videos, "--box", "full", "--dry-run")
    assert "have the same content (2 files are copies of others)" in caplog.text


def test_subjects_of_a_video_and_files_without_a_byte_are_no_copies(tmp_path, caplog):
    make_video(tmp_path / "two.avi")
    for name in ("empty", "void"):
        (tmp_path / f"{name}.avi").touch()
    lines = [f"two.avi,1,{who},1,1,40,40" for who in ("left", "right")]
    found = gather_inputs([labels(tmp_path, lines, "path,frame,subject,x1,y1,x2,y2\n")])
    found += gather_inputs(videos=[tmp_path / "empty.avi", tmp_path / "void.avi"])
    assert len(found) == 4
    tell_copies([(one, probe(one)) for one in found])
    assert not caplog.records


@pytest.mark.parametrize("seed", range(3))
def test_a_copy_of_what_is_held_out_is_not_trained_on(videos, seed):
    """Whichever of the two is drawn. The second part was refused before as well, with the first one packed."""
    table = labels(videos.parent, [f"{name}.avi,1,20,10,60,40" for name in ("a", "copy")])
    with pytest.raises(ConfigError, match="have the same content, and one would be trained on") as refused:
        pack(videos, "--labels", str(table), "--seed", str(seed))
    assert {f"{videos}/a.avi", f"{videos}/copy.avi"} <= set(str(refused.value).split())
    assert not (videos.parent / "out").exists()


def test_a_copy_without_labels_is_not_trained_on_either(videos):
    table = labels(videos.parent, [f"{name}.avi,1,20,10,60,40" for name in ("a", "b")])
    inputs = gather_inputs(videos=[videos], labels=[table])
    held, refused = set(), 0
    for seed in range(6):
        try:
            held |= {one.name for one in hold_out(inputs, 0.2, seed)[1]}
        except ConfigError:
            refused += 1
    assert held == {"b.avi"}
    assert refused


def test_files_without_a_byte_are_no_copies_of_what_is_held_out(videos):
    for name in ("a", "b", "copy"):
        (videos / f"{name}.avi").write_bytes(b"")
    make_video(videos / "whole.avi")
    table = labels(videos.parent, [f"{name}.avi,1,20,10,60,40" for name in ("a", "whole")])
    inputs = gather_inputs(videos=[videos], labels=[table])
    assert {hold_out(inputs, 0.2, seed)[1][0].name for seed in range(6)} == {"a.avi", "whole.avi"}


def scaled(folder, caplog, lines):
    """What is said of labels in videos of 64 x 48 pixels."""
    caplog.clear()
    tell_scaled_labels(gather_inputs(videos=[folder / "videos"], labels=[labels(folder, lines)]))
    return caplog.text


def halves(frames, x=31, y=23):
    """Labels on so many frames, in turns of two videos."""
    return [f"{'ab'[frame % 2]}.avi,{frame // 2 + 1},{x},5,8,{y}" for frame in range(frames)]


def test_labels_of_smaller_copies_are_told(videos, caplog):
    told = scaled(videos.parent, caplog, halves(LEAST_FRAMES))
    assert f"All points of {LEAST_FRAMES} labelled frames lie in the upper left quarter" in told
    assert "b.avi the largest x is 31 and the largest y 23, and its pictures have 64 x 48 pixels" in told
    caplog.clear()
    assert pack(videos, "--labels", str(videos.parent / "labels.csv"), "--validation", "0", "--dry-run") == 0
    assert "upper left quarter" in caplog.text


def test_few_labels_or_one_elsewhere_say_nothing(videos, caplog):
    assert not scaled(videos.parent, caplog, halves(LEAST_FRAMES - 1))
    for x, y in ((32, 23), (31, 24)):
        assert not scaled(videos.parent, caplog, [*halves(LEAST_FRAMES), f"b.avi,9,{x},{y},8,8"])


def test_a_turned_video_has_the_size_that_is_seen(tmp_path, caplog):
    rotate_quarter(make_video(tmp_path / "videos/a.mp4"))
    on_its_side = [f"a.mp4,{frame + 1},28,5,8,20" for frame in range(LEAST_FRAMES)]
    assert not scaled(tmp_path, caplog, on_its_side), "it is 48 pixels wide"
    assert scaled(tmp_path, caplog, [line.replace(",28,", ",23,") for line in on_its_side])


def test_pictures_of_their_own_say_nothing(tmp_path, caplog):
    """Whoever crops faces labels the crops."""
    rows = []
    for number in range(LEAST_FRAMES):
        make_image(tmp_path / f"{number}.png")
        rows.append(f"{number}.png,,5,5,9,9")
    tell_scaled_labels(gather_inputs([labels(tmp_path, rows)]))
    assert not caplog.records


def test_most_labels_are_known_to_be_right_by_the_first_video(videos, caplog, monkeypatch):
    opened = []
    monkeypatch.setattr(
        "tsal_dist.pack.doubts._size_px", lambda path: opened.append(path) or np.array([64.0, 48])
    )
    assert not scaled(videos.parent, caplog, halves(LEAST_FRAMES, x=60))
    assert len(opened) == 1
