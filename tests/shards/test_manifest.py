import hashlib
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tsal_dist.errors import DataError
from tsal_dist.records import Layout
from tsal_dist.shards.manifest import (
    Segment,
    Shard,
    build_manifest,
    decode_manifest,
    decode_shard,
    encode_manifest,
    encode_shard,
    format_ranges,
    open_manifest,
    parse_ranges,
)


def a_shard(name="train-00000", labelled="0,3-4"):
    segment = Segment(
        kind="video", video="a.mp4", start=2, frames=8, first_frame=0, frame_step=1, labelled=labelled
    )
    return Shard(
        name=name, plan="p", frames=10, labelled=3, failed=0, tar_bytes=9, tar_sha256="1", idx_sha256="2",
        parquet_sha256="3", segments=(segment,),
    )  # fmt: skip


def a_manifest(*shards):
    return build_manifest("train", "p", "300w-68", 68, shards or (a_shard(),))


@given(st.sets(st.integers(0, 200)))
def test_ranges_come_back(positions):
    wanted = np.array(sorted(positions), np.int64)
    assert np.array_equal(parse_ranges(format_ranges(wanted)), wanted)


def test_ranges_are_what_a_person_would_write():
    assert format_ranges(np.array([0, 1, 2, 7, 9, 10])) == "0-2,7,9-10"


def test_labelled_positions_count_in_the_shard():
    assert a_shard().segments[0].labelled_positions().tolist() == [2, 5, 6]


def test_what_annotations_called_the_first_pixel_is_kept():
    manifest = build_manifest("train", "p", "300w-68", 68, (a_shard(),), first_pixel=[1])
    assert json.loads(encode_manifest(manifest))["first_pixel"] == [1]
    assert decode_manifest(encode_manifest(manifest), "x").first_pixel == (1,)
    changed = encode_manifest(manifest).replace(b'"first_pixel": [\n  1', b'"first_pixel": [\n  0')
    with pytest.raises(DataError, match="changed after it was written"):
        decode_manifest(changed, "x")


def test_a_folder_that_does_not_say_it_keeps_its_fingerprint():
    """Of a manifest as it was written before there was such a field."""
    page = json.loads(encode_manifest(a_manifest()))
    assert "first_pixel" not in page
    bare = json.dumps({**page, "fingerprint": ""}, sort_keys=True, indent=1).encode() + b"\n"
    assert page["fingerprint"] == hashlib.sha256(bare).hexdigest()
    assert decode_manifest(encode_manifest(a_manifest()), "x").first_pixel == ()


def test_a_manifest_comes_back(tmp_path):
    manifest = a_manifest()
    (tmp_path / "manifest.json").write_bytes(encode_manifest(manifest))
    found = open_manifest(str(tmp_path))
    assert found.shards == manifest.shards
    assert (found.frames, found.labelled) == (10, 3)
    assert found.tar_url(0) == f"{tmp_path}/train-00000.tar"
    assert encode_manifest(found) == encode_manifest(manifest)


def test_the_fingerprint_covers_every_shard():
    one, two = a_shard(), a_shard("train-00001")
    prints = {a_manifest(one), a_manifest(two), a_manifest(one, two), a_manifest(two, one)}
    assert len({manifest.fingerprint for manifest in prints}) == 4


def test_an_edited_manifest_is_noticed():
    page = json.loads(encode_manifest(a_manifest()))
    page["shards"][0]["frames"] = 9
    with pytest.raises(DataError, match="was changed"):
        decode_manifest(json.dumps(page).encode(), "here")


@pytest.mark.parametrize(
    ("key", "value"), [("format", 2), ("surprise", 1), ("shards", "x"), ("points", -1), ("split", None)]
)
def test_a_page_of_another_shape_names_the_field(key, value):
    page = json.loads(encode_manifest(a_manifest())) | {key: value}
    with pytest.raises(DataError, match=key):
        decode_manifest(json.dumps(page).encode(), "here")


def test_shard_names_cannot_leave_the_folder():
    page = json.loads(encode_shard(a_shard())) | {"name": "../evil"}
    with pytest.raises(DataError, match="name"):
        decode_shard(json.dumps(page).encode(), "here")


def test_a_folder_without_manifest_says_what_to_do(tmp_path):
    with pytest.raises(DataError, match="pack or fetch"):
        open_manifest(str(tmp_path))


@pytest.mark.parametrize("labelled", ["0-99999999999999999999", "0,8", "4-3", "3,3", "5,4", "2,0-1"])
def test_labelled_frames_that_cannot_be_are_refused(labelled):
    page = json.loads(encode_shard(a_shard()))
    page["segments"][0]["labelled"] = labelled
    with pytest.raises(DataError, match="rising positions below 8"):
        decode_shard(json.dumps(page).encode(), "here")


def test_numbers_that_no_array_holds_are_refused():
    page = json.loads(encode_shard(a_shard()))
    page["segments"][0]["start"] = 10**30
    with pytest.raises(DataError, match="no frames beyond"):
        decode_shard(json.dumps(page).encode(), "here")


def test_names_and_skeleton_are_kept_and_a_folder_without_them_is_as_it_was():
    bare = a_manifest()
    assert "names" not in json.loads(encode_manifest(bare))
    layout = Layout(("nose", "tail"), ((0, 1),))
    named = build_manifest("train", "p", "mouse", 2, (a_shard(),), layout)
    assert decode_manifest(encode_manifest(named), "x").layout == layout
    assert named.fingerprint != build_manifest("train", "p", "mouse", 2, (a_shard(),)).fingerprint


@pytest.mark.parametrize(
    "layout",
    [Layout(("nose",)), Layout(("nose", "nose")), Layout((), ((0, 2),)), Layout(("a", "b"), ((-1, 0),))],
)
def test_names_and_lines_fit_the_points(layout):
    with pytest.raises(ValueError, match="landmark"):
        build_manifest("train", "p", "mouse", 2, (a_shard(),), layout)
