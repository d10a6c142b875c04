"""A clip that was cut without being encoded anew holds more frames than it shows, and is whole all the same."""

import struct

import pytest

from tests.pack.footage import make_video
from tsal_dist.pack.edit_list import hides_frames
from tsal_dist.pack.execute import pack
from tsal_dist.pack.frame_count import stored_frames
from tsal_dist.pack.gather import gather_inputs
from tsal_dist.pack.packing_plan import PackOptions, build_plan
from tsal_dist.pack.video_facts import probe


def cut(path, hidden, of):
    """What `-c copy` leaves of a video: its first frames are there and not shown."""
    data = bytearray(path.read_bytes())
    edits, media = data.find(b"elst") + 12, data.find(b"mdhd") + 20
    length, begin = struct.unpack_from(">Ii", data, edits)
    (ticks,) = struct.unpack_from(">I", data, media)
    struct.pack_into(">Ii", data, edits, length * (of - hidden) // of, begin + ticks * hidden // of)
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("hidden", [1, 20])
def test_a_cut_clip_is_packed_as_a_whole_one(tmp_path, hidden):
    video = cut(make_video(tmp_path / "a.mp4", frames=50), hidden, 50)
    assert hides_frames(str(video))
    assert stored_frames(str(video)) == 0, "nobody knows without decoding"
    inputs = gather_inputs(videos=[video])
    assert probe(inputs[0]).frames == 50 - hidden
    plan = build_plan(inputs, [probe(inputs[0])], PackOptions("train", box="full"))
    outcome = pack(plan, str(tmp_path / "packed" / "train"))
    assert outcome.manifest.frames == 50 - hidden
    assert not outcome.bad


def test_a_plain_video_hides_nothing(tmp_path):
    for name in ("a.mp4", "a.avi"):
        video = make_video(tmp_path / name, frames=12)
        assert not hides_frames(str(video))
        assert stored_frames(str(video)) == 12


def test_a_broken_table_of_contents_hides_nothing(tmp_path):
    data = make_video(tmp_path / "a.mp4", frames=12).read_bytes()
    start = data.find(b"moov")
    for place in range(start, len(data), 7):
        broken = tmp_path / "broken.mp4"
        broken.write_bytes(data[:place] + bytes([255, 0, 255]) + data[place + 3 :])
        assert hides_frames(str(broken)) in (True, False)
        broken.write_bytes(data[:place])
        assert hides_frames(str(broken)) in (True, False)


@pytest.mark.parametrize("size", [0, 3])
def test_a_last_box_may_reach_to_the_end_of_the_file(tmp_path, size):
    """It says 0 for its size then; less than its own head is damage."""
    data = bytearray(make_video(tmp_path / "a.mp4", frames=12).read_bytes())
    struct.pack_into(">I", data, data.find(b"moov") - 4, size)
    (tmp_path / "a.mp4").write_bytes(data)
    assert not hides_frames(str(tmp_path / "a.mp4"))
