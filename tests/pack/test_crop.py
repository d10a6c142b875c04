"""Shards of face crops: the same picture of a face as from whole frames, in fewer bytes."""

import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from footage import make_image
from hypothesis import given, settings
from hypothesis import strategies as st
from packing import pack_all, plan_of

from tsal_dist.data.clips import build_clips
from tsal_dist.data.crop import ViewSettings
from tsal_dist.data.reader import FrameReader
from tsal_dist.data.request import ClipRequest
from tsal_dist.data.shard_set import open_shards
from tsal_dist.errors import ConfigError
from tsal_dist.pack.lint import lint_folder
from tsal_dist.pack.window import WindowFollower
from tsal_dist.shards.frames import read_frames
from tsal_dist.shards.manifest import FaceCrops, build_manifest, encode_manifest, open_manifest

SIZE = (320, 240)
FACE_PX = 50


def make_moving_face(folder, frames=24, step_px=8.0):
    """A textured blob that walks to the right over a ground with some texture, with a list of its boxes and landmarks."""
    texture = cv2.resize(
        np.random.default_rng(0).integers(40, 255, (12, 12, 3), np.uint8), (FACE_PX, FACE_PX)
    )
    coarse = np.random.default_rng(1).integers(60, 120, (SIZE[1] // 8, SIZE[0] // 8, 3), np.uint8)
    ground = cv2.resize(coarse, SIZE)
    path = folder / "walk.avi"
    writer = cv2.VideoWriter(str(path), cv2.CAP_OPENCV_MJPEG, cv2.VideoWriter_fourcc(*"MJPG"), 25, SIZE)
    rows = ["path,frame,x1,y1,x2,y2," + ",".join(f"p{k}{axis}" for k in range(3) for axis in "xyv")]
    for number in range(frames):
        left = round(20 + step_px * number)
        image = ground.copy()
        image[80 : 80 + FACE_PX, left : left + FACE_PX] = texture
        writer.write(image)
        points = [(left + 10, 90), (left + 40, 90), (left + 25, 120)]
        marks = ",".join(f"{x},{y},1" for x, y in points)
        rows.append(f"walk.avi,{number + 1},{left},80,{left + FACE_PX},{80 + FACE_PX},{marks}")
    writer.release()
    table = folder / "faces.csv"
    table.write_text("\n".join(rows) + "\n")
    return table


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("crops")
    table = make_moving_face(root)
    whole = pack_all(root / "whole", lists=[table], shard_frames=16, quality=98).manifest
    cut = pack_all(root / "cut", lists=[table], shard_frames=16, quality=98, crop_px=256).manifest
    return whole, cut


def read_all(manifest, crop_px=64, frames=1):
    shards = open_shards([manifest.url])
    clips, reader = build_clips(shards, "all", frames), FrameReader(shards, ViewSettings(crop_px))
    return [reader.read(ClipRequest(clips.ref(n), frames, 1)) for n in range(len(clips))]


def test_a_reader_sees_the_same_face(folders):
    for whole, cut in zip(*map(read_all, folders), strict=True):
        assert (whole.video, whole.frames_T) == (cut.video, cut.frames_T)
        assert np.abs(whole.points_TK2 - cut.points_TK2).max() < 0.01
        assert cut.visible_TK.all()
        assert cut.labelled_T.all()
        assert whole.face_px == pytest.approx(cut.face_px, abs=0.01)
        # Two compressions of one picture, on grids of blocks that lie differently.
        assert np.abs(whole.image_THWC.astype(int) - cut.image_THWC).mean() < 2


def test_the_folder_says_what_it_is_and_is_smaller(folders):
    whole, cut = folders
    assert (whole.crop, cut.crop.side_px, cut.crop.margin) == (None, 256, 0.8)
    assert open_manifest(cut.url).crop == cut.crop
    assert '"crop"' not in Path(whole.url, "manifest.json").read_text()
    assert sum(s.tar_bytes for s in cut.shards) < 0.7 * sum(s.tar_bytes for s in whole.shards)
    assert lint_folder(cut.url) == []


def test_stored_places_lead_back_to_the_source(folders):
    whole, cut = folders
    for number in range(len(cut.shards)):
        table, there = read_frames(cut.parquet_url(number)), read_frames(whole.parquet_url(number))
        scale_N2 = table.source_size_N2 / table.size_N2
        home_NK2 = (table.points_NK2 + 0.5) * scale_N2[:, None] - 0.5 + table.origin_N2[:, None]
        assert np.abs(home_NK2 - there.points_NK2).max() < 0.01
        assert there.origin_N2 is None


def test_no_clip_crosses_the_place_where_the_window_moves(folders):
    """A window that jumped within a clip would look like motion."""
    _, cut = folders
    segments = [segment for shard in cut.shards for segment in shard.segments]
    assert len(segments) > len(cut.shards)  # the face walks further than one window reaches
    for clip in read_all(cut, frames=4):
        assert clip.frames_T[-1] - clip.frames_T[0] <= 3
        step_T2 = np.diff(clip.points_TK2[:, 0], axis=0)
        assert np.abs(step_T2[:, 1]).max() < 0.1
        assert (step_T2[:, 0] >= -0.1).all()


def test_large_faces_are_shrunk_and_small_ones_stay(tmp_path):
    table = make_moving_face(tmp_path, frames=3)
    for side_px, stored_px in ((64, 64), (2000, 131)):
        cut = pack_all(tmp_path / str(side_px), lists=[table], crop_px=side_px, crop_margin=0.8).manifest
        assert read_frames(cut.parquet_url(0)).size_N2.max() == stored_px
        assert lint_folder(cut.url) == []


def test_every_face_of_a_still_has_a_window_of_its_own(tmp_path):
    make_image(tmp_path / "two.png", (200, 100))
    (tmp_path / "two.csv").write_text("path,x1,y1,x2,y2\ntwo.png,10,10,40,40\ntwo.png,12,12,42,42\n")
    cut = pack_all(tmp_path, lists=[tmp_path / "two.csv"], crop_px=64).manifest
    table = read_frames(cut.parquet_url(0))
    assert table.origin_N2.tolist() == [[0, 0], [0, 0]]
    assert table.size_N2.tolist() == [[64, 64], [64, 64]]
    assert table.source_size_N2.tolist() == [[65, 65], [67, 67]]
    assert lint_folder(cut.url) == []


def test_a_box_outside_of_the_picture_is_a_failed_frame(tmp_path):
    make_image(tmp_path / "a.png", (64, 48))
    make_image(tmp_path / "b.png", (64, 48), seed=1)
    (tmp_path / "a.csv").write_text("path,x1,y1,x2,y2\na.png,500,500,520,520\nb.png,5,5,20,20\n")
    outcome = pack_all(tmp_path, lists=[tmp_path / "a.csv"], crop_px=64)
    assert outcome.causes == {"no_box": 1}
    assert outcome.manifest.frames == 1


@pytest.mark.parametrize(
    ("said", "words"), [(FaceCrops(side_px=32, margin=0.8), "at most 32"), (None, "says otherwise")]
)
def test_lint_finds_pictures_that_are_not_what_the_manifest_says(tmp_path, folders, said, words):
    _, cut = folders
    folder = Path(shutil.copytree(cut.url, tmp_path / "other"))
    wrong = build_manifest(cut.split, cut.plan, cut.scheme, cut.points, cut.shards, crop=said)
    (folder / "manifest.json").write_bytes(encode_manifest(wrong))
    found = lint_folder(str(folder))
    assert {finding.check for finding in found} == {"crop"}
    assert words in found[0].detail


@pytest.mark.parametrize("options", [{"size_px": 64}, {"box": "full"}, {"crop_margin": -1.0}])
def test_contradictions_are_refused(tmp_path, options):
    table = make_moving_face(tmp_path, frames=2)
    with pytest.raises(ConfigError, match="--crop"):
        plan_of(lists=[table], crop_px=64, **options)


def test_whole_pictures_keep_the_plan_that_they_had(tmp_path):
    table = make_moving_face(tmp_path, frames=2)
    assert not [key for key in plan_of(lists=[table]).summary if "crop" in key]
    cut = plan_of(lists=[table], crop_px=64)
    assert cut.summary["option crop_px"] == 64
    assert cut.fingerprint != plan_of(lists=[table], crop_px=64, crop_margin=0.5).fingerprint


@settings(deadline=None)
@given(st.lists(st.tuples(st.floats(0, 600), st.floats(0, 440), st.floats(8, 200)), min_size=1, max_size=20))
def test_the_region_always_lies_in_its_window(regions):
    follower = WindowFollower(0.8)
    for x, y, side in regions:
        region = (x, y, min(639.0, x + side), min(479.0, y + side))
        window = follower.follow("v", region, (640, 480), still=False)
        assert window.left <= region[0] + 0.5
        assert window.top <= region[1] + 0.5
        assert window.right >= region[2] + 0.5
        assert window.bottom >= region[3] + 0.5
