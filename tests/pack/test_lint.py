import json
import shutil

import numpy as np
import pytest
from footage import make_300vw
from packing import pack_all

from tsal_dist.pack.lint import lint_folder
from tsal_dist.shards.ustar import walk


@pytest.fixture(scope="module")
def clean(tmp_path_factory):
    root = tmp_path_factory.mktemp("lint")
    make_300vw(root / "videos", "000", 12)
    pack_all(root, [root / "videos"], shard_frames=8)
    return root / "train"


@pytest.fixture
def folder(clean, tmp_path):
    return shutil.copytree(clean, tmp_path / "train")


def checks(folder, **arguments):
    return {finding.check for finding in lint_folder(str(folder), **arguments)}


def test_a_clean_folder_has_no_findings(clean):
    assert lint_folder(str(clean)) == []


def test_a_tar_cut_at_any_member_boundary_is_found(folder):
    tar = folder / "train-00000.tar"
    data = tar.read_bytes()
    for end in [0, *(member.end for member in walk(data)), len(data) - 512]:
        tar.write_bytes(data[:end])
        assert {"size", "digest", "broken"} <= checks(folder, decode_every=0)
    tar.write_bytes(data)
    assert checks(folder) == set()


@pytest.mark.parametrize("extension", ["tar", "idx", "parquet", "json"])
def test_a_lost_file_is_found(folder, extension):
    (folder / f"train-00001.{extension}").unlink()
    assert checks(folder) == {"broken"}


@pytest.mark.parametrize("extension", ["tar", "idx", "parquet"])
def test_a_flipped_byte_is_found(folder, extension):
    file = folder / f"train-00000.{extension}"
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 0x10
    file.write_bytes(data)
    assert "digest" in checks(folder)


def test_files_of_nobody_are_found(folder):
    (folder / ".train-00000.tar.77.tmp").touch()
    assert checks(folder) == {"leftover"}


def test_shards_in_each_others_place_are_found(folder):
    for extension in ("tar", "idx", "parquet", "json"):
        one, two = (folder / f"train-0000{number}.{extension}" for number in (0, 1))
        one.rename(folder / "aside")
        two.rename(one)
        (folder / "aside").rename(two)
    assert {"record", "digest", "size"} <= checks(folder)


def test_a_missing_or_edited_manifest_is_found(folder):
    page = json.loads((folder / "manifest.json").read_text())
    page["shards"][0]["labelled"] = 0
    (folder / "manifest.json").write_text(json.dumps(page))
    assert checks(folder) == {"manifest"}
    (folder / "manifest.json").unlink()
    assert checks(folder) == {"manifest"}


def reseal(folder, name, **files):
    """Replace files of a shard and make every digest right again, as a buggy writer would."""
    import hashlib

    from tsal_dist.shards.manifest import Shard, build_manifest, encode_manifest, encode_shard, open_manifest

    manifest = open_manifest(str(folder))
    update = {f"{kind}_sha256": hashlib.sha256(data).hexdigest() for kind, data in files.items()}
    if "tar" in files:
        update["tar_bytes"] = len(files["tar"])
    for kind, data in files.items():
        (folder / f"{name}.{kind}").write_bytes(data)
    shards: list[Shard] = []
    for shard in manifest.shards:
        shards.append(shard.model_copy(update=update) if shard.name == name else shard)
        (folder / f"{shard.name}.json").write_bytes(encode_shard(shards[-1]))
    fresh = build_manifest("train", manifest.plan, manifest.scheme, manifest.points, tuple(shards))
    (folder / "manifest.json").write_bytes(encode_manifest(fresh))


def test_a_picture_that_does_not_decode_is_found(folder):
    from tsal_dist.shards.index import read_index

    record = read_index(f"{folder}/train-00000.idx")[3]
    data = bytearray((folder / "train-00000.tar").read_bytes())
    start = int(record["jpg_offset"])
    data[start : start + int(record["jpg_size"])] = bytes(int(record["jpg_size"]))
    reseal(folder, "train-00000", tar=bytes(data))
    assert checks(folder) == {"decode"}
    assert checks(folder, decode_every=0) == set()


def test_an_index_that_points_elsewhere_is_found(folder):
    from tsal_dist.shards.index import encode_index, read_index

    index = read_index(f"{folder}/train-00000.idx").copy()
    index[[1, 2]] = index[[2, 1]]
    size = (folder / "train-00000.tar").stat().st_size
    reseal(folder, "train-00000", idx=encode_index(index, size))
    assert {"index", "json"} <= checks(folder)


@pytest.mark.parametrize(
    ("change", "found"),
    [
        ({"points_K2": np.full((5, 2), 900, np.float32)}, {"label", "json"}),
        ({"box": (9.0, 9.0, 1.0, 1.0)}, {"label", "json"}),
        ({"frame": 7}, {"index", "segment"}),
        ({"size_px": (10, 10)}, {"decode", "label"}),
        ({"points_K2": None, "visible_K": None}, {"count", "segment", "json"}),
    ],
)
def test_a_table_that_lies_is_found(folder, change, found):
    from tsal_dist.shards.frames import FrameRow, encode_frames, read_frames

    table = read_frames(f"{folder}/train-00000.parquet")
    rows = [
        FrameRow(
            table.videos[table.video_N[n]], int(table.frame_N[n]), n, table.pts_ms_N[n],
            tuple(table.size_N2[n]), tuple(table.source_size_N2[n]), tuple(table.box_N4[n]), table.face_px_N[n],
            table.points_NK2[n], table.visible_NK[n],
        )
        for n in range(len(table))
    ]  # fmt: skip
    rows[2] = FrameRow(**{**rows[2].__dict__, **change})
    reseal(folder, "train-00000", parquet=encode_frames(rows, 5))
    assert checks(folder) == found
