"""Held-out footage that is trained on is found by its pictures, and other footage is not."""

import logging

import cv2
import numpy as np
import pytest

from tests.pack.packing import pack_all
from tsal_dist.data.shard_set import open_shards
from tsal_dist.errors import ConfigError
from tsal_dist.runs.same_footage import blocks_of, look_into, refuse_same_footage

FRAMES = 12


def film(path, seed, subject=True):
    """A disc wanders over a texture; the texture is the rig, and `seed` decides the walk alone."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rig = cv2.GaussianBlur(
        np.random.default_rng(7).integers(0, 256, (96, 128, 3)).astype(np.uint8), (0, 0), 3
    )
    rig = cv2.normalize(rig, None, 0, 255, cv2.NORM_MINMAX)
    random = np.random.default_rng(seed)
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 25, (128, 96))
    middle = random.uniform(30, 70, 2)
    for _ in range(FRAMES):
        middle = np.clip(middle + random.normal(0, 9, 2), 20, 75)
        image = rig.copy()
        if subject:
            cv2.circle(image, tuple(int(each) for each in middle), 12, (255, 255, 255), -1)
        writer.write(image)
    writer.release()
    return path


def pack(folder, name, *films, **options):
    """All frames labelled, with whatever points."""
    lines = ["path,frame,x1,y1,x2,y2,p0x,p0y,p1x,p1y"]
    lines += [f"{path},{t + 1},10,10,90,90,20,20,60,60" for path in films for t in range(FRAMES)]
    folder.mkdir(exist_ok=True)
    table = folder / f"{name}.csv"
    table.write_text("\n".join(lines))
    pack_all(folder, lists=[table], split=name, **options)
    return open_shards([str(folder / name)])


@pytest.fixture
def training(tmp_path):
    return pack(tmp_path, "train", film(tmp_path / "a" / "one.avi", 1), film(tmp_path / "a" / "two.avi", 2))


def copied(path, target):
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(path.read_bytes())
    return target


@pytest.mark.parametrize("options", [{}, {"quality": 60}, {"size_px": 96}])
def test_the_same_footage_under_another_name_is_refused(tmp_path, training, options):
    """Also recompressed, and smaller."""
    other = copied(tmp_path / "a" / "two.avi", tmp_path / "b" / "unheard_of.avi")
    held_out = pack(tmp_path / "elsewhere", "val", other, **options)
    with pytest.raises(
        ConfigError, match=r"1[012] of 12 held-out frames .* are also in data\.labelled, .*unheard_of"
    ):
        refuse_same_footage(training, held_out, "data.labelled")


def test_other_footage_of_the_same_rig_is_not(tmp_path, training, caplog):
    held_out = pack(tmp_path, "val", film(tmp_path / "b" / "three.avi", 3))
    with caplog.at_level(logging.WARNING):
        refuse_same_footage(training, held_out, "data.labelled")
    assert not caplog.records


def test_one_picture_among_many_is_named_and_not_refused(tmp_path, training, caplog):
    """Published sets hold a few pictures twice."""
    image = next(iter_frames(tmp_path / "a" / "one.avi"))
    others = [film(tmp_path / "b" / f"{seed}.avi", seed) for seed in range(3, 9)]
    cv2.imwrite(str(tmp_path / "b" / "still.png"), image)
    lines = ["path,frame,x1,y1,x2,y2,p0x,p0y,p1x,p1y", f"{tmp_path}/b/still.png,,10,10,90,90,20,20,60,60"]
    lines += [f"{path},{t + 1},10,10,90,90,20,20,60,60" for path in others for t in range(FRAMES)]
    (tmp_path / "val.csv").write_text("\n".join(lines))
    pack_all(tmp_path, lists=[tmp_path / "val.csv"], split="val")
    with caplog.at_level(logging.WARNING):
        refuse_same_footage(training, open_shards([str(tmp_path / "val")]), "data.labelled")
    assert "1 of 73 held-out frames" in caplog.text


def iter_frames(path):
    capture = cv2.VideoCapture(str(path))
    while True:
        fine, image = capture.read()
        if not fine:
            return
        yield image


def test_a_sample_is_spread_and_flat_pictures_are_left_out(training):
    assert len(look_into(training, 6).video_N) == 6
    assert {"one.avi", "two.avi"} == {name.rpartition("/")[2] for name in look_into(training, 6).video_N}
    black = cv2.imencode(".jpg", np.zeros((64, 64, 3), np.uint8))[1].tobytes()
    assert blocks_of(black) is None
    assert blocks_of(b"no picture") is None
