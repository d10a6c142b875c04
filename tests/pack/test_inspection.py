"""Foreign tars, comparison and preview."""

import io
import json
import struct
import tarfile

import cv2
import numpy as np
import pytest
from footage import make_300vw
from packing import pack_all

from tsal_dist.errors import ConfigError, DataError
from tsal_dist.pack import preview
from tsal_dist.pack.compare import compare_folders
from tsal_dist.pack.foreign import index_folder
from tsal_dist.pack.lint import lint_folder
from tsal_dist.pack.preview import draw_sheet
from tsal_dist.shards.frames import read_frames
from tsal_dist.shards.manifest import open_manifest


def write_foreign(path, samples):
    with tarfile.open(path, "w") as tar:
        for name, data in samples:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))


def picture(value=90, extension=".png"):
    return cv2.imencode(extension, np.full((20, 30, 3), value, np.uint8))[1].tobytes()


def test_foreign_tars_become_readable_in_place(tmp_path):
    label = json.dumps({"points": [[1, 2], [3, 4]], "visible": [1, 2], "box": [0, 0, 9, 9]}).encode()
    write_foreign(
        tmp_path / "000.tar",
        [("a.png", picture()), ("a.json", label), ("b.cls", b"7"), ("b.jpg", picture(10, ".jpg"))],
    )
    write_foreign(tmp_path / "001.tar", [("c.txt", b"no image"), ("d/e.webp", b"")])
    before = (tmp_path / "000.tar").read_bytes()
    with pytest.raises(DataError, match="d/e"):
        index_folder(str(tmp_path))
    write_foreign(tmp_path / "001.tar", [("c.txt", b"no image"), ("d/e.webp", picture(1, ".webp"))])
    index_folder(str(tmp_path))
    manifest = open_manifest(str(tmp_path))
    assert (manifest.frames, manifest.labelled, manifest.points) == (3, 1, 2)
    assert lint_folder(str(tmp_path)) == []
    table = read_frames(manifest.parquet_url(0))
    assert table.videos == ("a", "b")
    assert table.points_NK2[0].tolist() == [[1, 2], [3, 4]]
    assert table.visible_NK[0].tolist() == [1, 2]
    assert table.box_N4.tolist() == [[0, 0, 9, 9], [0, 0, 29, 19]]
    assert (tmp_path / "000.tar").read_bytes() == before


def test_there_must_be_foreign_tars(tmp_path):
    with pytest.raises(ConfigError, match=r"no \.tar"):
        index_folder(str(tmp_path))
    make_300vw(tmp_path / "v", "000", 4)
    pack_all(tmp_path, [tmp_path / "v"])
    with pytest.raises(ConfigError, match="packed by this packer"):
        index_folder(str(tmp_path / "train"))


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("compare")
    make_300vw(root / "v", "000", 12)
    return {
        "base": pack_all(root / "base", [root / "v"]).manifest,
        "cut otherwise": pack_all(root / "cut", [root / "v"], shard_frames=5).manifest,
        "fewer labels": pack_all(root / "labels", [root / "v"], labelled=0.5).manifest,
        "worse pictures": pack_all(root / "quality", [root / "v"], quality=40).manifest,
        "every second": pack_all(root / "stride", [root / "v"], stride=2).manifest,
    }


def test_the_same_frames_in_other_shards_do_not_differ(folders):
    assert compare_folders(folders["base"], folders["base"]).same_bytes
    found = compare_folders(folders["base"], folders["cut otherwise"])
    assert found.empty
    assert not found.same_bytes


@pytest.mark.parametrize(
    ("other", "kind", "count"),
    [
        ("fewer labels", "other_label", 6),
        ("worse pictures", "other_picture", 12),
        ("every second", "only_first", 6),
    ],
)
def test_differences_are_counted_by_kind(folders, other, kind, count):
    found = compare_folders(folders["base"], folders[other])
    counts = {
        name: len(getattr(found, name))
        for name in ("only_first", "only_second", "other_picture", "other_label")
    }
    assert counts == {"only_first": 0, "only_second": 0, "other_picture": 0, "other_label": 0} | {kind: count}
    assert not found.empty


def test_a_sheet_shows_landmarks_where_they_are(folders):
    sheet = draw_sheet(folders["base"], 2, 3, 128)
    assert sheet.shape == (256, 384, 3)
    table = read_frames(folders["base"].parquet_url(0))
    x, y = (table.points_NK2[0][0] + 0.5) * 128 / 64 - 0.5
    blue, green, red = sheet[round(float(y)), round(float(x))].astype(int)
    assert green > blue + 60
    assert green > red + 60


def test_a_sheet_counts_frames_as_labels_do(folders, monkeypatch):
    table, written = read_frames(folders["base"].parquet_url(0)), []
    monkeypatch.setattr(preview.cv2, "putText", lambda tile, text, *_: written.append(text))
    draw_sheet(folders["base"], 1, 1, 64)
    assert written == [f"{table.videos[table.video_N[0]]} frame {table.frame_N[0] + 1}"]


def test_frames_are_called_as_labels_call_them_everywhere(tmp_path, monkeypatch):
    """A table of labels counts frames from 1; from 0, users looked the neighbour up. A still has no number."""
    written = []
    monkeypatch.setattr(preview.cv2, "putText", lambda tile, text, *_: written.append(text))
    for points, name in ((3, "one"), (4, "other")):
        labels = [[[k, k] for k in range(count)] for count in (2, points, points)]
        members = []
        for key, label in zip(("v/0001", "v/0002", "s"), labels, strict=True):
            members += [(f"{key}.png", picture()), (f"{key}.json", json.dumps({"points": label}).encode())]
        (tmp_path / name).mkdir()
        write_foreign(tmp_path / name / "000.tar", members)
        index_folder(str(tmp_path / name))
    found = [finding.detail.partition(": ")[0] for finding in lint_folder(str(tmp_path / "one"))]
    assert found == ["position 1 (v frame 3)", "position 2 (s)"], "landmarks of another number are left out"
    draw_sheet(open_manifest(str(tmp_path / "one")), 1, 3, 64)
    assert written == ["v frame 2", "v frame 3", "s"]


def test_a_sheet_of_one_frame(folders):
    assert draw_sheet(folders["base"], 1, 1, 64).shape == (64, 64, 3)


def points_file(points):
    data = io.BytesIO()
    np.save(data, np.array(points, np.float32))
    return data.getvalue()


def test_frames_of_foreign_videos_follow_each_other_and_stills_do_not(tmp_path):
    names = [
        "x/a/0003",
        "x/a/0005",
        "x/a/0007",
        "b-00000000",
        "b-00000001",
        "img_0001",
        "img_0002",
        "d/2",
        "d/1",
    ]
    write_foreign(tmp_path / "000.tar", [(f"{name}.png", picture()) for name in names])
    manifest = index_folder(str(tmp_path))
    told = [
        (part.kind, part.video, part.frames, part.first_frame, part.frame_step)
        for part in manifest.shards[0].segments
    ]
    assert told == [("video", "x/a", 3, 3, 2), ("video", "b", 2, 0, 1), ("stills", "", 4, 0, 1)]


def test_points_of_a_foreign_tar_may_lie_in_an_npy(tmp_path):
    write_foreign(
        tmp_path / "000.tar",
        [
            ("a.png", picture()),
            ("a.npy", points_file([[1, 2], [11, 14]])),
            ("b.png", picture()),
            ("b.npy", b"no"),
        ],
    )
    index_folder(str(tmp_path))
    manifest = open_manifest(str(tmp_path))
    assert (manifest.labelled, manifest.points) == (1, 2)
    table = read_frames(manifest.parquet_url(0))
    assert table.points_NK2[0].tolist() == [[1, 2], [11, 14]]
    assert table.box_N4.tolist() == [[1, 2, 11, 14], [0, 0, 29, 19]]


@pytest.mark.parametrize(
    "third", [{"points": [[1, 2, 0], [3, 4, 1]]}, {"points": [[1, 2], [3, 4]], "visible": [1]}]
)
def test_points_that_are_no_pairs_or_not_as_many_as_told_are_no_label(tmp_path, third):
    """Two of three numbers each were taken for three points."""
    members = [("a.png", picture()), ("a.npy", points_file([[1, 2, 9], [3, 4, 9]]))]
    members += [("b.png", picture()), ("b.json", json.dumps(third).encode())]
    members += [("c.png", picture()), ("c.npy", points_file([[1, 2], [11, 14]]))]
    write_foreign(tmp_path / "000.tar", members)
    index_folder(str(tmp_path))
    manifest = open_manifest(str(tmp_path))
    assert (manifest.labelled, manifest.points) == (1, 2)
    assert read_frames(manifest.parquet_url(0)).labelled_N.tolist() == [False, False, True]


@pytest.mark.parametrize(
    ("points", "box_4", "visible_K"),
    [
        ([[1, 2], [11, 14], [4, 4]], [1, 2, 11, 14], [1, 1, 1]),
        ([[1, 2], [11, 14], [-1, -1]], [1, 2, 11, 14], [1, 1, 0]),
        ([[1, 9], [11, 9], [4, 9]], [1, 7.75, 11, 10.25], [1, 1, 1]),
        ([[1, 9], [11, 9.5], [4, 9]], [1, 8, 11, 10.5], [1, 1, 1]),
        ([[4, 9], [4, 9], [4, 9]], [0, 0, 29, 19], [1, 1, 1]),
        ([[-1, -1], [31, 3], [-1, 3]], [0, 0, 29, 19], [0, 0, 0]),
        ([[1, 2], [11, 14], [-999, -999]], [0, 0, 29, 19], [0, 0, 0]),
    ],
    ids=[
        "around the points",
        "one is outside",
        "in a row",
        "nearly in a row",
        "all in one place",
        "all are outside",
        "far outside",
    ],
)
def test_without_a_box_that_of_the_points_counts(tmp_path, points, box_4, visible_K):
    """The whole picture stood in for it: nets were trained on crops in which the subject was a speck. And a point that the
    table places outside of the picture is a fault by `lint`."""
    members = [("a.png", picture()), ("a.npy", points_file([[2, 2], [3, 3], [4, 5]]))]
    members += [("b.png", picture()), ("b.json", json.dumps({"points": points}).encode())]
    write_foreign(tmp_path / "000.tar", members)
    index_folder(str(tmp_path))
    table = read_frames(open_manifest(str(tmp_path)).parquet_url(0))
    assert table.box_N4[1].tolist() == box_4
    assert table.visible_NK[1].tolist() == visible_K
    x1, y1, x2, y2 = box_4
    assert table.face_px_N[1] == pytest.approx(((x2 - x1) * (y2 - y1)) ** 0.5)
    assert lint_folder(str(tmp_path)) == []


def test_tars_of_others_get_the_boxes_that_packing_gives(tmp_path, folders):
    """The same pictures and points, without a box."""
    ours = open_manifest(folders["base"].url)
    theirs = tmp_path / "foreign"
    theirs.mkdir()
    with tarfile.open(ours.tar_url(0)) as tar:
        members = [(member.name, tar.extractfile(member).read()) for member in tar]
    pages = {name: json.loads(data) for name, data in members if name.endswith(".json")}
    bare = {name: json.dumps({"points": page["points"]}).encode() for name, page in pages.items()}
    write_foreign(theirs / "000.tar", [(name, bare.get(name, data)) for name, data in members])
    index_folder(str(theirs))
    table = read_frames(open_manifest(str(theirs)).parquet_url(0))
    np.testing.assert_allclose(table.box_N4, [page["box"] for page in pages.values()], atol=1e-2)


def test_a_picture_that_asks_to_be_turned_is_read_as_it_is_stored(tmp_path):
    """As readers decode it: with the turned sides the box of a whole picture was one of another shape."""
    jpg = picture(90, ".jpg")
    tag = b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0"
    turned = jpg[:2] + b"\xff\xe1" + struct.pack(">H", 2 + len(tag)) + tag + jpg[2:]
    write_foreign(tmp_path / "000.tar", [("a.jpg", turned), ("a.npy", points_file([[2, 2], [28, 14]]))])
    index_folder(str(tmp_path))
    table = read_frames(open_manifest(str(tmp_path)).parquet_url(0))
    assert table.size_N2.tolist() == [[30, 20]]
    assert table.visible_NK.tolist() == [[1, 1]], "28 lies outside of what is 20 wide"
    assert lint_folder(str(tmp_path)) == []
