"""Broken and odd videos: each becomes a row that says what is wrong, and none stops the run."""

import numpy as np
import pytest
from footage import cut, make_300vw, make_audio_only, make_variable_rate, make_video, rotate_quarter
from packing import pack_all, plan_of

from tsal_dist.errors import DataError
from tsal_dist.pack.lint import lint_folder
from tsal_dist.shards.frames import read_frames


@pytest.fixture(scope="module")
def zoo(tmp_path_factory):
    root = tmp_path_factory.mktemp("zoo")
    make_video(root / "good.mp4", 12)
    make_video(root / "odd.avi", 12, (67, 43))
    rotate_quarter(make_video(root / "rotated.mp4", 12, (64, 32)))
    make_variable_rate(make_video(root / "variable.mp4", 12))
    make_video(root / "wrong.mp4", 12).rename(root / "wrong.avi")
    cut(make_video(root / "cut.avi", 12), 0.5)
    cut(make_video(root / "cut.mp4", 12), 0.5)
    cut(make_video(root / "header.avi", 12), 0.02)
    (root / "empty.mp4").touch()
    (root / "text.mp4").write_text("this is not a video\n" * 50)
    make_audio_only(root / "audio.avi")
    make_300vw(root, "001", 12)
    make_300vw(root, "002", 12, annotated=9)
    make_300vw(root, "003", 12)
    (root / "003/annot/000005.pts").write_text("version: 1\nn_points: 5\n{\n1 2\n}\n")
    (root / "boxes.csv").write_text(
        "path,x1,y1,x2,y2\n" + "".join(f"{video.name},4,4,30,30\n" for video in sorted(root.glob("*.*4")))
        + "".join(f"{video.name},4,4,30,30\n" for video in sorted(root.glob("*.avi")))
    )  # fmt: skip
    return root


@pytest.fixture(scope="module")
def packed(zoo, tmp_path_factory):
    out = tmp_path_factory.mktemp("out")
    return pack_all(out, [zoo], gather={"boxes": zoo / "boxes.csv"}, shard_frames=30)


def test_every_input_has_its_status(packed):
    status = {row.name: (row.status, row.stored) for row in packed.sources}
    partial = status.pop("cut.avi")
    assert partial[0] == "truncated"
    assert 0 < partial[1] < 12
    assert status == {
        "001/vid.avi": ("ok", 12),
        "002/vid.avi": ("annotation_mismatch", 0),
        "003/vid.avi": ("annotation", 11),
        "audio.avi": ("open_failed", 0),
        "cut.mp4": ("open_failed", 0),
        "empty.mp4": ("empty", 0),
        "good.mp4": ("ok", 12),
        "header.avi": ("open_failed", 0),
        "odd.avi": ("ok", 12),
        "rotated.mp4": ("ok", 12),
        "text.mp4": ("open_failed", 0),
        "variable.mp4": ("ok", 12),
        "wrong.avi": ("ok", 12),
    }


def frames_of(packed, video):
    for number in range(len(packed.manifest.shards)):
        table = read_frames(packed.manifest.parquet_url(number))
        if video in table.videos:
            return table, np.flatnonzero(table.video_N == table.videos.index(video))
    raise AssertionError(video)


def test_rotation_is_applied(packed):
    table, rows = frames_of(packed, "rotated.mp4")
    assert table.size_N2[rows].tolist() == [[32, 64]] * 12


def test_odd_sizes_are_kept(packed):
    table, rows = frames_of(packed, "odd.avi")
    assert table.size_N2[rows].tolist() == [[67, 43]] * 12


def test_variable_rate_is_in_the_time_stamps_not_in_the_numbers(packed):
    table, rows = frames_of(packed, "variable.mp4")
    assert table.frame_N[rows].tolist() == list(range(12))
    steps = np.diff(table.pts_ms_N[rows]).round()
    assert steps.tolist() == [40] * 6 + [20] * 5


def test_one_broken_annotation_costs_one_frame_and_splits_the_segment(packed):
    segments = [s for shard in packed.manifest.shards for s in shard.segments if s.video == "003/vid.avi"]
    assert [(s.first_frame, s.frames, s.frame_step) for s in segments] == [(0, 4, 1), (5, 7, 1)]


def test_what_was_packed_lints_clean(packed):
    assert lint_folder(packed.manifest.url) == []


def test_strict_refuses_and_keeps_what_is_packed(zoo, tmp_path):
    gather = {"boxes": zoo / "boxes.csv"}
    with pytest.raises(DataError, match="8 of 14 inputs failed, more than the 0%"):
        pack_all(tmp_path, [zoo], gather=gather, run={"max_fail": 0.0})
    assert not (tmp_path / "train/manifest.json").exists()
    assert not (tmp_path / "train/.packing").exists()
    kept = pack_all(tmp_path, [zoo], gather=gather, run={"max_fail": 0.6})
    assert kept.progress.frames_before == kept.progress.frames


def test_a_folder_with_nothing_usable_is_one_clear_error(zoo):
    with pytest.raises(DataError, match="None of the 2 inputs"):
        plan_of([zoo / "empty.mp4", zoo / "text.mp4"])


def test_videos_without_any_box_are_an_error_that_says_so(zoo, tmp_path):
    with pytest.raises(DataError, match="Not one frame .* no annotation"):
        pack_all(tmp_path, [zoo / "good.mp4"])
