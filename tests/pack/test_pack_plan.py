import dataclasses

import pytest
from footage import make_300vw, make_image, make_video, pts_text
from hypothesis import given
from hypothesis import strategies as st
from packing import plan_of

from tsal_dist.errors import ConfigError
from tsal_dist.pack.inputs import Input
from tsal_dist.pack.packing_plan import PackOptions, build_plan
from tsal_dist.pack.video_facts import Probe


def fake_plan(lengths, limit, stride=1):
    inputs = [Input(f"/{n:03d}", "video", f"{n:03d}", whole=True) for n in range(len(lengths))]
    probes = [Probe(f"{n}", 1, frames) for n, frames in enumerate(lengths)]
    return build_plan(inputs, probes, PackOptions("train", shard_frames=limit, stride=stride))


@given(st.lists(st.integers(1, 40), min_size=1, max_size=12), st.integers(1, 25), st.integers(1, 4))
def test_shards_hold_every_wanted_frame_once_in_order(lengths, limit, stride):
    plan = fake_plan(lengths, limit, stride)
    packed = [
        (piece.source.name, frame)
        for shard in plan.shards
        for piece in shard.pieces
        for frame in piece.frames
    ]
    assert packed == [(f"{n:03d}", f) for n, frames in enumerate(lengths) for f in range(0, frames, stride)]
    assert all(0 < shard.frames <= limit for shard in plan.shards)


@given(st.lists(st.integers(1, 40), min_size=1, max_size=12), st.integers(1, 25))
def test_a_video_that_fits_a_shard_is_in_one(lengths, limit):
    plan = fake_plan(lengths, limit)
    for number, frames in enumerate(lengths):
        homes = [s.name for s in plan.shards for piece in s.pieces if piece.source.name == f"{number:03d}"]
        assert len(homes) == 1 or frames > limit


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    root = tmp_path_factory.mktemp("videos")
    for number in range(4):
        make_300vw(root, f"00{number}", 10, seed=number)
    return root


def labelled(plan):
    return {
        (piece.source.name, frame)
        for shard in plan.shards
        for piece in shard.pieces
        for frame, label in piece.source.labels.items()
        if label.face.points_K2 is not None
    }


def test_the_share_is_exact_and_seeded(videos):
    one, same, other = (labelled(plan_of([videos], labelled=0.2, seed=seed)) for seed in (0, 0, 1))
    assert len(one) == len(other) == 8
    assert one == same != other


def test_a_share_of_videos_keeps_whole_videos(videos):
    kept = labelled(plan_of([videos], labelled=0.5, labelled_by="video"))
    assert len(kept) == 20
    assert len({name for name, _ in kept}) == 2


def test_shares_are_nested(videos):
    assert labelled(plan_of([videos], labelled=0.1)) < labelled(plan_of([videos], labelled=0.4))


def test_omitted_labels_are_gone_but_their_boxes_stay(videos):
    plan = plan_of([videos], labelled=0.0)
    faces = [
        label.face
        for shard in plan.shards
        for piece in shard.pieces
        for label in piece.source.labels.values()
    ]
    assert len(faces) == 40
    assert all(face.points_K2 is None and face.box is not None for face in faces)


def changed(option):
    values = {
        "split": "val", "labelled": 0.5, "labelled_by": "video", "seed": 1, "stride": 2, "size_px": 32,
        "quality": 80, "shard_frames": 9, "box": "full", "subject_model": "x", "scheme": "faces",
        "crop_px": 64, "crop_margin": 0.5, "subjects": "many",
    }  # fmt: skip
    return values[option]


@pytest.mark.parametrize("option", [field.name for field in dataclasses.fields(PackOptions)])
def test_every_option_changes_the_fingerprint(videos, option):
    cut = {"crop_px": 64} if option == "crop_margin" else {}  # without crops it changes nothing
    other = plan_of([videos], **cut, **{option: changed(option)})
    assert other.fingerprint != plan_of([videos], **cut).fingerprint


def test_content_and_annotations_change_the_fingerprint_and_a_move_does_not(tmp_path):
    for place in ("a", "b"):
        make_300vw(tmp_path / place, "001", 5)
    first = plan_of([tmp_path / "a"]).fingerprint
    assert plan_of([tmp_path / "b"]).fingerprint == first
    pts = tmp_path / "b/001/annot/000003.pts"
    pts.write_text(pts_text(version="1.0"))
    assert plan_of([tmp_path / "b"]).fingerprint != first
    make_video(tmp_path / "a/001/vid.avi", 5, seed=9)
    assert plan_of([tmp_path / "a"]).fingerprint != first


def test_other_landmark_counts_become_problems(tmp_path):
    for name, text in (("a", pts_text()), ("b", pts_text([[1, 2], [3, 4]]))):
        make_image(tmp_path / f"{name}.png")
        (tmp_path / f"{name}.pts").write_text(text)
    (tmp_path / "l.txt").write_text("a.png a.pts 1 1 9 9\nb.png b.pts 1 1 9 9\n")
    plan = plan_of(lists=[tmp_path / "l.txt"])
    assert plan.points == 5
    second = plan.shards[0].pieces[1].source
    assert "2 landmarks" in second.labels[0].problem


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("labelled", 1.5),
        ("stride", 0),
        ("size_px", -1),
        ("quality", 0),
        ("shard_frames", 0),
        ("split", "a/b"),
    ],
)
def test_options_out_of_range_name_their_flag(option, value):
    with pytest.raises(ConfigError, match="--"):
        PackOptions(**({"split": "train"} | {option: value}))
