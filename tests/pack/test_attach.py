"""Whole videos with a few labels in them, in one command."""

import shutil
import subprocess
import sys
import unicodedata
from pathlib import Path

import pytest

from tests.pack.footage import make_image, make_video
from tsal_dist.errors import ConfigError
from tsal_dist.pack.gather import gather_inputs
from tsal_dist.pack.hold_out import hold_out
from tsal_dist.pack.packing_plan import PackOptions, build_plan
from tsal_dist.pack.sources import SOURCES, encode_sources, first_rows
from tsal_dist.pack.video_facts import probe
from tsal_dist.shards.frames import read_frames
from tsal_dist.shards.manifest import open_manifest

ROOT = Path(__file__).parents[2]
HEAD = "path,frame,nose_x,nose_y,tail_x,tail_y\n"


@pytest.fixture
def desk(tmp_path):
    for seed, name in enumerate(("a", "b", "c/d")):
        make_video(tmp_path / "videos" / f"{name}.avi", seed=seed)
    return tmp_path


def labels(folder, *lines, name="labels.csv"):
    (folder / name).write_text(HEAD + "".join(f"{line},20,10,30,40\n" for line in lines))
    return folder / name


def gathered(folder, table, **more):
    found = gather_inputs(videos=[folder / "videos"], labels=[table], **more)
    return {Path(one.path).relative_to(folder).as_posix(): one for one in found}


@pytest.mark.parametrize(
    "spelling",
    ["videos/a.avi", "a.avi", "a", "somewhere/else/a.avi", r"videos\a.avi", r"D:\lab\videos\a.avi"],
)
def test_a_label_finds_its_video_however_it_is_spelt(desk, spelling):
    found = gathered(desk, labels(desk, f"{spelling},3"))
    one = found["videos/a.avi"]
    assert one.whole
    assert list(one.labels) == [2]
    assert one.layout.names == ("nose", "tail")
    assert not found["videos/c/d.avi"].labels


def test_deeplabcuts_pictures_are_frames_of_their_video(desk):
    table = desk / "CollectedData.csv"
    table.write_text("scorer,me,me\nbodyparts,nose,nose\ncoords,x,y\nlabeled-data/d/img0004.png,1,2\n")
    assert list(gathered(desk, table)["videos/c/d.avi"].labels) == [4], "they count from 0"


@pytest.mark.parametrize("picture", ["a/0004.png", "a/img0004.png", "labeled-data/a/photo4.png"])
def test_a_numbered_picture_in_a_folder_named_like_a_video_is_a_picture(desk, picture):
    make_image(desk / picture)
    table = desk / "l.csv"
    table.write_text(f"path,nose_x,nose_y,tail_x,tail_y\n{picture},1,2,3,4\n")
    found = gathered(desk, table)
    assert found[picture].kind == "still"
    assert not found["videos/a.avi"].labels
    (desk / picture).unlink()
    with pytest.raises(ConfigError, match="no file and no frame of a video"):
        gathered(desk, table)


def test_deeplabcuts_pictures_are_frames_though_they_are_there(desk, monkeypatch):
    make_image(desk / "labeled-data/a/img04.png")
    table = desk / "labeled-data/a/CollectedData.csv"
    table.write_text("scorer,me,me\nbodyparts,nose,nose\ncoords,x,y\nimg04.png,1,2\n")
    assert list(gathered(desk, table)["videos/a.avi"].labels) == [4]
    monkeypatch.chdir(table.parent)
    assert list(gathered(desk, Path(table.name))["videos/a.avi"].labels) == [4]


def test_a_picture_that_no_video_holds_is_packed_as_a_picture(desk):
    make_image(desk / "still.png")
    (desk / "l.csv").write_text("path,nose_x,nose_y,tail_x,tail_y\nstill.png,1,2,3,4\n")
    assert gathered(desk, desk / "l.csv")["still.png"].kind == "still"


@pytest.mark.parametrize(
    ("line", "rule"),
    [
        ("z.avi,1", "none of the 3 videos"),
        ("a.avi,", "names no frame"),
        ("nothing.png,", "no file and no frame of a video"),
    ],
)
def test_a_label_without_a_video_is_named(desk, line, rule):
    with pytest.raises(ConfigError, match=rule):
        gathered(desk, labels(desk, line))


@pytest.mark.parametrize("named", ["B.AVI", "b.avi ", "bb"])
def test_the_nearest_name_is_told(desk, named):
    with pytest.raises(ConfigError, match=rf"name '.*{named}', and none .*; the nearest is .*/videos/b\.avi"):
        gathered(desk, labels(desk, f"{named},1"))


def test_two_videos_of_one_name_need_more_of_the_path(desk):
    make_video(desk / "videos/c/a.avi", seed=9)
    with pytest.raises(ConfigError, match="Write more of its path"):
        gathered(desk, labels(desk, "a.avi,1"))
    assert list(gathered(desk, labels(desk, "c/a.avi,1"))["videos/c/a.avi"].labels) == [0]


def test_labels_of_a_file_that_is_not_packed_go_to_no_other(desk):
    for day in ("day1", "day2"):
        make_video(desk / day / "cam.avi")
    table = labels(desk, "day1/cam.avi,1")
    with pytest.raises(ConfigError, match=r"day1/cam\.avi, a file that is none of the 1 videos"):
        gather_inputs(videos=[desk / "day2"], labels=[table])


@pytest.mark.parametrize("spelt", ["NFC", "NFD"])
def test_letters_with_accents_have_two_spellings(desk, spelt):
    """A Mac writes the one where a keyboard writes the other, and a person sees no difference."""
    there = unicodedata.normalize("NFD" if spelt == "NFC" else "NFC", "grün.avi")
    make_video(desk / "videos" / there, seed=9)
    found = gathered(desk, labels(desk, unicodedata.normalize(spelt, "elsewhere/grün.avi,2")))
    assert list(found[f"videos/{there}"].labels) == [1]


@pytest.mark.parametrize("other", ["day2/cam.avi", "away/day2/cam.avi", "day2/cam"])
@pytest.mark.parametrize("turned", [False, True])
def test_labels_of_two_videos_do_not_meet_in_one(desk, other, turned):
    """One of the two is not on this machine: by its name alone its labels would be the other's."""
    make_video(desk / "day2/cam.avi")
    lines = ["day1/cam.avi,1", f"{other},2"]
    with pytest.raises(ConfigError, match=r"day1/cam\.avi.* and both would be of .*/day2/cam\.avi"):
        gather_inputs(videos=[desk / "day2"], labels=[labels(desk, *lines[:: -1 if turned else 1])])


def test_tables_of_one_video_may_spell_it_each_in_its_way(desk):
    """The page's table, in the run's folder, names videos as shards do; another came from another machine."""
    (desk / "run/label").mkdir(parents=True)
    (desk / "more").mkdir()
    (desk / "link").symlink_to(desk / "videos")
    tables = [
        labels(desk, "videos/a.avi,1", "link/a.avi,2", "a.avi,3"),
        labels(desk / "run/label", "a.avi,4", "videos/a,5"),
        labels(desk / "more", "a.avi,6", f"{desk}/videos/a.avi,7"),
    ]
    found = gather_inputs(videos=[desk / "videos"], labels=tables)
    assert sorted({Path(one.path).name: one for one in found}["a.avi"].labels) == list(range(7))
    away = labels(desk / "more", "/far/away/films/a.avi,8", name="away.csv")
    (one, *_) = gather_inputs(videos=[desk / "videos"], labels=[away, labels(desk, "a.avi,9")])
    assert sorted(one.labels) == [7, 8]


def test_a_frame_is_labelled_once(desk):
    with pytest.raises(ConfigError, match="Frame 1 of .* is labelled twice"):
        gathered(desk, labels(desk, "a.avi,1", "a,1"))


@pytest.mark.parametrize(("frame", "stride", "rule"), [(40, 1, "has 12"), (2, 2, "--stride 2 leaves it out")])
def test_no_label_is_dropped_in_silence(desk, frame, stride, rule):
    found = list(gathered(desk, labels(desk, f"a.avi,{frame}")).values())
    with pytest.raises(ConfigError, match=rule):
        build_plan(found, [probe(one) for one in found], PackOptions("train", stride=stride, box="full"))


def test_lines_join_landmarks_by_name(desk):
    found = gathered(desk, labels(desk, "a.avi,1"), skeleton=["tail:nose"])
    assert found["videos/a.avi"].layout.skeleton == ((1, 0),)
    with pytest.raises(ConfigError, match="no landmark is called 'ear'"):
        gathered(desk, labels(desk, "a.avi,1"), skeleton=["ear:nose"])


def test_whole_videos_are_held_out(desk):
    found = list(gathered(desk, labels(desk, "a.avi,1", "a.avi,2", "b.avi,1")).values())
    train, held_out = hold_out(found, 0.2, seed=0)
    (one,) = held_out
    assert one.name in ("a.avi", "b.avi")
    assert not one.whole, "of it, frames without a label measure nothing"
    assert {each.name for each in train} == {"a.avi", "b.avi", "c/d.avi"} - {one.name}
    assert hold_out(found, 0.2, seed=0) == (train, held_out)
    assert {hold_out(found, 0.2, seed)[1][0].name for seed in range(9)} == {"a.avi", "b.avi"}


def test_what_was_held_out_is_held_out_again(desk, caplog):
    """More labels, and more footage beside it, which gives every video another name: the draw is another, and content is not."""
    before = list(gathered(desk, labels(desk, "a.avi,1", "b.avi,1")).values())
    train, held_out = hold_out(before, 0.2, seed=0)
    for folder, inputs in (("val", held_out), ("train", train)):
        (desk / folder).mkdir()
        rows = first_rows([(one, probe(one)) for one in inputs])
        (desk / folder / SOURCES).write_bytes(encode_sources(rows))
    make_video(desk / "more.avi", seed=9)
    table = labels(desk, "a.avi,1", "b.avi,1", "c/d.avi,1", "more.avi,1", f"{held_out[0].name},2")
    now = gather_inputs(videos=[desk / "videos", desk / "more.avi"], labels=[table])
    for seed in range(9):
        train, again = hold_out(now, 0.2, seed, str(desk / "val"))
        assert [one.path for one in again] == [held_out[0].path]
        assert sorted(again[0].labels) == [0, 1], "what is labelled of it now"
        assert len(train) == 3
    with pytest.raises(ConfigError, match="names no packed video or picture. Name the folder"):
        hold_out(now, 0.2, 0, str(desk))
    with pytest.raises(ConfigError, match="none of the 1 inputs there is among those"):
        hold_out([one for one in now if one.path != held_out[0].path], 0.2, 0, str(desk / "val"))
    shutil.copy(desk / "train" / SOURCES, desk / "val")
    hold_out([one for one in now if "/c/" not in one.path], 0.2, 0, str(desk / "val"))
    assert "1 of the 2 held out in" in caplog.text


def test_the_only_labelled_video_is_not_held_out(desk):
    found = list(gathered(desk, labels(desk, "a.avi,1")).values())
    assert hold_out(found, 0.5, seed=0) == (found, [])
    assert hold_out(found, 0.0, seed=0) == (found, [])
    with pytest.raises(ConfigError, match="--validation is 1"):
        hold_out(found, 1.0, seed=0)


def test_the_last_video_without_labels_everywhere_stays_in_training(desk):
    """Labelled frames of the only footage, beside labelled pictures: held out, nothing would be left to learn from unlabelled."""
    for number in range(4):
        make_image(desk / f"{number}.png", seed=number)
    table = labels(desk, "a.avi,1", *(f"{number}.png," for number in range(4)))
    found = gather_inputs(videos=[desk / "videos/a.avi"], labels=[table])
    for seed in range(9):
        train, held_out = hold_out(found, 0.4, seed)
        assert any(one.whole for one in train), seed
        assert len(held_out) == 2


def test_pictures_of_one_folder_stay_together(tmp_path):
    lines = []
    for folder in ("one", "two", "three"):
        for number in range(3):
            make_image(tmp_path / folder / f"{number}.png", seed=len(lines))
            lines.append(f"{folder}/{number}.png,1,2\n")
    (tmp_path / "l.csv").write_text("path,nose_x,nose_y\n" + "".join(lines))
    _, held_out = hold_out(gather_inputs([tmp_path / "l.csv"]), 0.2, seed=0)
    assert len(held_out) == 3
    assert len({one.name.split("/")[0] for one in held_out}) == 1


def test_one_command_gives_both_folders(desk):
    table = labels(desk, "a.avi,1", "a.avi,5", "b.avi,7")
    command = ["tools/shard_videos.py", "--videos", desk / "videos", "--labels", table, "--out", desk / "out"]
    for _ in range(2):  # and again, when all is there
        done = subprocess.run(
            [sys.executable, *map(str, command), "--workers", "1"],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == 0, done.stderr
    train, held_out = (open_manifest(str(desk / "out" / split)) for split in ("train", "val"))
    assert (train.frames, train.labelled + held_out.labelled) == (24, 3)
    assert held_out.frames == held_out.labelled > 0
    assert train.names == held_out.names == ("nose", "tail")
    boxes = {tuple(box) for box in read_frames(train.parquet_url(0)).box_N4.tolist()}
    assert len(boxes) == 1, "all frames are cropped alike"
