"""Any clip by name, with its landmarks in the crop."""

import dataclasses

import numpy as np
import pytest
from made_shards import frame_level, points_of

from tsal_dist.config.data import AugmentConfig, DataConfig
from tsal_dist.data.crop import ViewSettings, place_points
from tsal_dist.data.reader import FrameReader
from tsal_dist.data.request import ClipRequest
from tsal_dist.data.shard_set import open_shards
from tsal_dist.errors import ConfigError, DataError
from tsal_dist.geometry import affine
from tsal_dist.geometry.flip import flip_order
from tsal_dist.records import FrameRef
from tsal_dist.shards.frames import FrameRow, encode_frames, read_frames
from tsal_dist.shards.index import decode_index, encode_index


@pytest.fixture
def reader(shards_url):
    with_labels = FrameReader(open_shards([shards_url]), ViewSettings(crop_px=64))
    yield with_labels
    with_labels.close()


def test_a_clip_holds_the_frames_it_names(reader):
    clip = reader.read(ClipRequest(FrameRef(0, 2), 4, 2))
    assert clip.frames_T.tolist() == [2, 4, 6, 8]
    assert clip.video == "video0"
    levels = clip.image_THWC[:, 32, 32].astype(int)
    assert np.abs(levels - np.array([[frame_level(0, frame)] for frame in (2, 4, 6, 8)])).max() <= 2
    assert clip.labelled_T.tolist() == [False, True, False, False]


def test_landmarks_go_through_the_matrix_of_the_image(reader):
    clip = reader.read(ClipRequest(FrameRef(0, 4), 1, 1))
    assert clip.visible_TK.all()
    assert np.allclose(
        affine.apply(affine.invert(clip.to_crop_23), clip.points_TK2[0]), points_of(4), atol=1e-3
    )
    assert clip.face_px == pytest.approx(40 * 64 / (40 * 1.4), rel=1e-6)
    assert clip.box_4.tolist() == [25, 15, 65, 55]


def test_a_clip_ends_where_its_video_ends(reader):
    clip = reader.read(ClipRequest(FrameRef(1, 1), 4, 1))
    assert clip.frames_T.tolist() == [1, 2, 2, 2]
    assert (clip.image_THWC[1] == clip.image_THWC[3]).all()


def test_one_read_serves_a_clip(reader, monkeypatch):
    import os

    reader.shard(0)
    reads = []
    real = os.pread
    monkeypatch.setattr(os, "pread", lambda *words: reads.append(words) or real(*words))
    reader.read(ClipRequest(FrameRef(0, 0), 8, 1))
    assert len(reads) == 1


def test_a_pseudo_label_row_is_cropped_again_with_its_own_box(shards_url):
    """What the student does with a row: frame and box by name, a hard view, the teacher's points."""
    shards = open_shards([shards_url])
    teacher = FrameReader(shards, ViewSettings(crop_px=64, augment=DataConfig().easy, labels=False))
    seen = teacher.read(ClipRequest(FrameRef(0, 4), 2, 1, rng_key=(1, 2, 3)))
    assert not seen.labelled_T.any()
    assert not seen.points_TK2.any()

    hard = AugmentConfig(flip_prob=1.0)
    student = FrameReader(shards, ViewSettings(crop_px=96, augment=hard, mirror=flip_order(68)))
    taken = student.read(ClipRequest(seen.ref, 1, 1, box=tuple(seen.box_4.tolist()), rng_key=(9, 9)))
    points, visible = place_points(points_of(4), np.ones(68, bool), taken.to_crop_23, 96, taken.mirror_K)
    assert affine.determinant(taken.to_crop_23) < 0
    assert np.allclose(points[visible], taken.points_TK2[0][visible], atol=1e-3)
    assert (visible == taken.visible_TK[0]).all()
    teacher.close()
    student.close()


def test_a_mirror_renames_the_landmarks():
    matrix = affine.mirror(100)
    points, visible = place_points(points_of(0), np.arange(68) != 0, matrix, 100, flip_order(68))
    order = list(flip_order(68))
    assert np.allclose(points[0], [99 - points_of(0)[16][0], points_of(0)[16][1]], atol=1e-4)
    assert not visible[order.index(0)]
    assert visible.sum() == 67


def test_a_landmark_outside_of_the_crop_is_not_visible_and_zero():
    points, visible = place_points(
        [[5.0, 5.0], [-3.0, 5.0], [5.0, 63.4], [5, 63.6]], [True] * 4, np.eye(2, 3), 64
    )
    assert visible.tolist() == [True, False, True, False]
    assert points.tolist()[1] == [0, 0]


def test_the_view_depends_on_its_words_alone(shards_url):
    shards = open_shards([shards_url])
    request = ClipRequest(FrameRef(0, 3), 2, 1, rng_key=(4, 5, 6))
    first, second = (
        FrameReader(shards, ViewSettings(crop_px=48, augment=DataConfig().hard, mirror=flip_order(68)))
        for _ in range(2)
    )
    second.read(ClipRequest(FrameRef(1, 0), 1, 1, rng_key=(1, 1)))
    one, two = first.read(request), second.read(request)
    assert (one.image_THWC == two.image_THWC).all()
    other = first.read(dataclasses.replace(request, rng_key=(4, 6, 6)))
    assert (one.to_crop_23 != other.to_crop_23).any()
    assert (
        first.read(dataclasses.replace(request, rng_key=())).to_crop_23 == view_without_chance(shards)
    ).all()


def view_without_chance(shards):
    return FrameReader(shards, ViewSettings(crop_px=48)).read(ClipRequest(FrameRef(0, 3), 2, 1)).to_crop_23


def test_damage_is_found(write_shards):
    from pathlib import Path

    url = write_shards([[(3, {0}, "video")]])
    tar = Path(url) / "shard-00000.tar"
    data = bytearray(tar.read_bytes())
    data[700] ^= 0xFF
    tar.write_bytes(data)
    reader = FrameReader(open_shards([url]), ViewSettings(crop_px=32))
    with pytest.raises(DataError, match="position 0 fails its checksum"):
        reader.read(ClipRequest(FrameRef(0, 0), 1, 1))
    assert reader.read(ClipRequest(FrameRef(0, 1), 2, 1)).frames_T.tolist() == [1, 2]
    reader.close()

    tar.write_bytes(data[:-512])
    with pytest.raises(DataError, match="describes a tar of"):
        FrameReader(open_shards([url]), ViewSettings(crop_px=32)).read(ClipRequest(FrameRef(0, 1), 1, 1))


@pytest.mark.parametrize("kind", ["idx", "parquet"])
def test_tables_are_those_of_the_manifest_or_nothing_is_read(write_shards, kind):
    """All landmarks moved by 25 px, in a file that is as whole as before: it would be trained on without a word."""
    from pathlib import Path

    url = write_shards([[(3, {0, 1, 2}, "video")], [(4, {0}, "video")]])
    path = Path(url) / f"shard-00000.{kind}"
    if kind == "parquet":
        table = read_frames(str(path))
        rows = [
            FrameRow(
                table.videos[0],
                int(frame),
                at,
                40.0 * at,
                (96, 72),
                (96, 72),
                box=(25.0, 15.0, 65.0, 55.0),
                face_px=40.0,
                points_K2=table.points_NK2[at] + 25,
                visible_K=table.visible_NK[at],
            )
            for at, frame in enumerate(table.frame_N)
        ]
        path.write_bytes(encode_frames(rows, 68))
    else:
        index, size = decode_index(path.read_bytes())
        path.write_bytes(encode_index(index[[1, 0, 2]], size))  # each picture whole, and under another's name
    reader = FrameReader(open_shards([url]), ViewSettings(crop_px=32))
    with pytest.raises(DataError, match=rf"{kind} has the digest .*changed or damaged after it was packed"):
        reader.read(ClipRequest(FrameRef(0, 0), 1, 1))
    assert reader.read(ClipRequest(FrameRef(1, 0), 1, 1)).labelled_T.all()
    reader.close()


def test_what_is_not_there_is_said(reader):
    with pytest.raises(DataError, match="no shard 7 in a set of 3"):
        reader.read(ClipRequest(FrameRef(7, 0), 1, 1))
    with pytest.raises(DataError, match="none at position 17"):
        reader.read(ClipRequest(FrameRef(0, 17), 1, 1))
    with pytest.raises(DataError, match="no area"):
        reader.read(ClipRequest(FrameRef(0, 0), 1, 1, box=(5, 5, 5, 9)))


def test_only_so_many_shards_stay_open(shards_url):
    import os

    before = len(os.listdir("/proc/self/fd"))
    reader = FrameReader(open_shards([shards_url] * 4), ViewSettings(crop_px=16), most_open=3)
    for shard in range(12):
        reader.read(ClipRequest(FrameRef(shard, 0), 1, 1))
    assert len(os.listdir("/proc/self/fd")) == before + 3
    reader.close()
    assert len(os.listdir("/proc/self/fd")) == before


def test_clips_without_labels_still_have_their_number_of_landmarks(shards_url):
    settings = ViewSettings(crop_px=16, labels=False, points=98)
    clip = FrameReader(open_shards([shards_url]), settings).read(ClipRequest(FrameRef(0, 0), 2, 1))
    assert clip.points_TK2.shape == (2, 98, 2)
    with pytest.raises(ConfigError, match="68 landmarks where 98"):
        FrameReader(open_shards([shards_url]), ViewSettings(crop_px=16, points=98))


def test_a_mirror_that_nobody_knows_is_refused_before_an_epoch_begins(shards_url):
    """In unlabelled clips too: they carry the landmarks of a teacher."""
    settings = ViewSettings(48, augment=AugmentConfig(flip_prob=0.5), labels=False, points=17, mirror=())
    with pytest.raises(ConfigError, match="nobody knows which of these 17 landmarks"):
        settings.check(0)
    ViewSettings(48, augment=AugmentConfig(flip_prob=0.0), labels=False, points=17, mirror=()).check(0)


def test_points_of_another_subject_change_places_by_their_own_order(shards_url):
    order = (1, 0, *range(2, 68))
    settings = ViewSettings(64, augment=AugmentConfig(flip_prob=1.0), mirror=order)
    clip = FrameReader(open_shards([shards_url]), settings).read(
        ClipRequest(FrameRef(0, 4), 1, 1, rng_key=(9, 9))
    )
    assert clip.mirror_K == order
    assert (
        FrameReader(open_shards([shards_url]), ViewSettings(64))
        .read(ClipRequest(FrameRef(0, 4), 1, 1))
        .mirror_K
        == ()
    )
