"""Which clips a set of shards holds."""

import numpy as np
import pytest

from tsal_dist.data.clips import build_clips, clip_positions
from tsal_dist.data.shard_set import open_shards
from tsal_dist.errors import ConfigError


@pytest.fixture
def shards(shards_url):
    return open_shards([shards_url])


def frames_of(shards, clips):
    """(shard, positions) of every clip."""
    found = []
    for sample in range(len(clips)):
        ref = clips.ref(sample)
        segment = next(each for each in reversed(shards.segments(ref.shard)) if each.start <= ref.index)
        positions = clip_positions(segment, ref.index, clips.num_frames, clips.stride)
        assert positions.min() >= segment.start
        assert positions.max() < segment.start + segment.frames
        found.append((ref.shard, positions.tolist()))
    return found


def test_every_labelled_frame_begins_one_clip_of_one_frame(shards):
    expected = (
        [(0, [p]) for p in (0, 4, 10)] + [(1, [p]) for p in (0, 1, 2, 11)] + [(2, [p]) for p in range(4)]
    )
    assert frames_of(shards, build_clips(shards, "labelled")) == expected


@pytest.mark.parametrize(("num_frames", "stride"), [(1, 1), (3, 1), (4, 2), (5, 3)])
def test_a_clip_holds_its_labelled_frame_and_stays_in_its_video(shards, num_frames, stride):
    anchors = frames_of(shards, build_clips(shards, "labelled"))
    clips = frames_of(shards, build_clips(shards, "labelled", num_frames, stride))
    for (shard, (anchor,)), (clip_shard, positions) in zip(anchors, clips, strict=True):
        assert shard == clip_shard
        assert anchor in positions
        assert len(positions) == num_frames
        assert set(np.diff(positions)) <= {0, stride}


def test_windows_of_a_video_cover_it_and_do_not_overlap_before_its_end(shards):
    clips = frames_of(shards, build_clips(shards, "all", 4))
    first_video = [positions for shard, positions in clips if shard == 0 and positions[0] < 11]
    assert first_video == [[0, 1, 2, 3], [4, 5, 6, 7], [7, 8, 9, 10]]


def test_unlabelled_clips_begin_where_there_is_no_label(shards):
    unlabelled = frames_of(shards, build_clips(shards, "unlabelled", 1, hop=1))
    labelled = frames_of(shards, build_clips(shards, "labelled"))
    every = frames_of(shards, build_clips(shards, "all", 1))
    assert sorted(unlabelled + labelled) == every
    assert not {str(clip) for clip in unlabelled} & {str(clip) for clip in labelled}


def test_a_short_video_repeats_its_last_frame_and_a_still_itself(shards):
    clips = frames_of(shards, build_clips(shards, "all", 5))
    assert (1, [0, 1, 2, 2, 2]) in clips
    assert [clip for clip in clips if clip[0] == 2] == [(2, [p] * 5) for p in range(5)]


def test_the_fingerprint_tells_lists_apart(shards):
    prints = {
        build_clips(shards, *words).fingerprint
        for words in [("all", 4), ("all", 5), ("unlabelled", 4), ("all", 4, 2), ("all", 4, 1, 1)]
    }
    assert len(prints) == 5
    assert build_clips(shards, "all", 4).fingerprint in prints


def test_two_folders_count_through(shards_url):
    once, twice = open_shards([shards_url]), open_shards([shards_url, shards_url])
    assert len(twice) == 6
    assert len(build_clips(twice, "all", 3)) == 2 * len(build_clips(once, "all", 3))
    assert build_clips(twice, "all", 3).ref(len(build_clips(once, "all", 3))).shard == 3


def test_nothing_to_read_is_said(write_shards):
    bare = open_shards([write_shards([[(3, set(), "video")]])])
    with pytest.raises(ConfigError, match="no labelled frames"):
        build_clips(bare, "labelled")
    with pytest.raises(ConfigError, match="at least 1"):
        build_clips(bare, "all", 0)
