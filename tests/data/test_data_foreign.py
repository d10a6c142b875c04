"""Foreign WebDataset tars become clips, and our stream feeds a webdataset pipeline."""

import io
import json
import tarfile
from itertools import islice

import cv2
import numpy as np
import pytest
import webdataset as wds

from tsal_dist.data.crop import ViewSettings
from tsal_dist.data.foreign import ForeignStream, as_webdataset
from tsal_dist.data.request import ReadAhead
from tsal_dist.data.shard_set import open_shards
from tsal_dist.data.stream import ClipStream
from tsal_dist.errors import ConfigError, DataError, TopologyError
from tsal_dist.geometry import affine

POINTS = np.array([[10.0, 12.0], [40.0, 14.0], [25.0, 40.0]], np.float32)
PLAIN = ViewSettings(crop_px=32, expand=0.0, points=3)


def encode(level, extension=".jpg"):
    return cv2.imencode(extension, np.full((48, 64, 3), level, np.uint8))[1].tobytes()


def npy(array):
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


@pytest.fixture
def write_tar(tmp_path):
    def write(name, members):
        with tarfile.open(tmp_path / name, "w") as tar:
            for member, data in members:
                info = tarfile.TarInfo(member)
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))
        return str(tmp_path / name)

    return write


def read(urls, settings=PLAIN, **words):
    words = {"rank": 0, "world": 1, "seed": 0, "epochs": 1, **words}
    return list(ForeignStream([urls] if isinstance(urls, str) else urls, settings, **words))


def test_json_and_npy_labels_and_none(write_tar):
    page = {"points": POINTS.tolist(), "visible": [1, 0, 2], "box": [5, 5, 45, 45]}
    url = write_tar(
        "a.tar",
        [
            ("one.jpg", encode(50)),
            ("one.json", json.dumps(page).encode()),
            ("two.png", encode(100, ".png")),
            ("two.npy", npy(POINTS)),
            ("two.cls", b"7"),
            ("three.jpeg", encode(150)),
        ],
    )
    one, two, three = read(url)
    assert one.visible_TK.tolist() == [[True, False, True]]
    assert one.box_4.tolist() == [5, 5, 45, 45]
    assert np.allclose(
        affine.apply(affine.invert(one.to_crop_23), one.points_TK2[0, 0]), POINTS[0], atol=1e-3
    )
    assert two.box_4.tolist() == [10, 12, 40, 40]
    assert two.labelled_T.all()
    assert int(two.image_THWC[0, 16, 16, 0]) == 100
    assert not three.labelled_T.any()
    assert three.box_4.tolist() == [0, 0, 63, 47]


def test_numbered_keys_are_frames_of_a_video(write_tar):
    members = [(f"{video}-{n:04d}.jpg", encode(20 * n + 20)) for video in ("x/a", "x/b") for n in range(5)]
    clips = read(write_tar("v.tar", members), clip_frames=3)
    assert [(clip.video, clip.frames_T.tolist()) for clip in clips] == [
        ("x/a", [0, 1, 2]),
        ("x/a", [3, 4, 4]),
        ("x/b", [0, 1, 2]),
        ("x/b", [3, 4, 4]),
    ]
    assert np.abs(clips[1].image_THWC[:, 16, 16, 0].astype(int) - [80, 100, 100]).max() <= 2


def test_what_cannot_be_used_is_counted_and_left_out(write_tar):
    members = [
        ("a.jpg", encode(9)),
        ("b.txt", b"no image"),
        ("c.jpg", encode(9)),
        ("c.json", b'{"points": [[1, 2]]}'),
    ]
    made = ForeignStream([write_tar("bad.tar", members)], PLAIN, rank=0, world=1, seed=0, epochs=1)
    assert [clip.video for clip in made] == ["a"]
    assert set(made.bad) == {"b", "c"}
    hopeless = write_tar("none.tar", [(f"t{n}.txt", b"") for n in range(120)])
    with pytest.raises(DataError, match="100 samples in a row"):
        read(hopeless)


def test_a_pickle_in_an_npy_is_not_opened(write_tar):
    url = write_tar("p.tar", [("a.jpg", encode(9)), ("a.npy", npy(np.array([{"a": 1}], dtype=object)))])
    assert read(url) == []


def test_ranks_share_the_tars_and_the_environment_does_not_matter(write_tar, monkeypatch):
    urls = [write_tar(f"{n}.tar", [(f"only{n}_{n}.jpg", encode(9))]) for n in range(5)]
    monkeypatch.setenv("RANK", "3")
    monkeypatch.setenv("WORLD_SIZE", "8")
    seen = [clip.frames_T[0] for rank in range(2) for clip in read(urls, rank=rank, world=2)]
    assert sorted(seen) == list(range(5))
    with pytest.raises(TopologyError, match="5 tars cannot be dealt to rank 0 of 6"):
        read(urls, world=6)


def test_a_command_is_not_a_tar():
    with pytest.raises(ConfigError, match="is a command"):
        read("pipe:touch /tmp/x")


def test_our_shards_are_read_as_foreign_ones(shards_url):
    clips = read(f"{shards_url}/shard-00000.tar", ViewSettings(crop_px=16), clip_frames=11)
    assert [clip.video for clip in clips] == ["video0", "video1"]


def test_our_stream_is_a_webdataset_source(shards_url):
    stream = ClipStream(
        open_shards([shards_url]),
        ViewSettings(crop_px=16),
        select="labelled",
        batch=4,
        rank=0,
        world=1,
        seed=0,
        epochs=1,
        read_ahead=ReadAhead(workers=0),
    )
    pipeline = wds.DataPipeline(as_webdataset(stream), wds.to_tuple("__key__", "jpg", "json"), wds.batched(4))
    batches = list(pipeline)
    assert sum(len(batch[0]) for batch in batches) == 11
    assert batches[0][1].shape == (4, 16, 16, 3)
    assert "video0-00000004" in {key for batch in batches for key in batch[0]}
    assert batches[0][2][0]["points"].shape == (1, 68, 2)


def test_an_endless_source_ends_with_the_pipelines_epoch(shards_url):
    stream = ClipStream(
        open_shards([shards_url]),
        ViewSettings(crop_px=16),
        select="all",
        batch=4,
        rank=0,
        world=1,
        seed=0,
        read_ahead=ReadAhead(workers=0),
    )
    pipeline = wds.DataPipeline(as_webdataset(stream)).with_epoch(50)
    assert len(list(islice(pipeline, 100))) == 50


def test_a_picture_that_cannot_be_decoded_costs_its_clip_alone(write_tar):
    torn = encode(50)[:40]
    url = write_tar("a.tar", [("one.jpg", encode(50)), ("two.jpg", torn), ("three.jpg", encode(70))])
    stream = ForeignStream([url], ViewSettings(crop_px=32, points=0), rank=0, world=1, seed=0, epochs=1)
    assert [clip.video for clip in stream] == ["one", "three"]
    assert "is cut off" in stream.bad["two"]


def test_a_tar_of_torn_pictures_ends_the_stream_by_name(write_tar):
    torn = encode(50)[:40]
    page = json.dumps({"points": POINTS.tolist(), "box": [5, 5, 45, 45]}).encode()
    members = [
        (f"f{n:04d}.{kind}", data) for n in range(120) for kind, data in (("jpg", torn), ("json", page))
    ]
    with pytest.raises(DataError, match=r"a\.tar: \d+ (clips|samples) in a row cannot be used"):
        read(write_tar("a.tar", members))
