import subprocess
import sys

import numpy as np
import pytest

from tsal_dist.errors import DataError
from tsal_dist.shards.frames import FrameRow, decode_frames, decode_status, encode_frames

POINTS_K2 = np.array([[1.5, 2.25], [0, 0], [7, 8]], np.float32)
VISIBLE_K = np.array([1, 0, 2], np.uint8)


def rows():
    labelled = FrameRow(
        "a/b.mp4", 4, 0, 160.0, (64, 48), (128, 96), (1, 2, 30, 40), 33.0, POINTS_K2, VISIBLE_K, ("blur",)
    )
    failed = FrameRow("c.mp4", 0, status="unreadable", reason="why")
    return [labelled, failed, FrameRow("c.mp4", 1, 1, size_px=(64, 48))]


def test_stored_rows_come_back_as_arrays():
    table = decode_frames(encode_frames(rows(), 3))
    assert len(table) == 2
    assert [table.videos[code] for code in table.video_N] == ["a/b.mp4", "c.mp4"]
    assert table.frame_N.tolist() == [4, 1]
    assert table.labelled_N.tolist() == [True, False]
    assert np.array_equal(table.points_NK2, [POINTS_K2, np.zeros((3, 2))])
    assert np.array_equal(table.visible_NK, [VISIBLE_K, np.zeros(3)])
    assert table.box_N4.tolist() == [[1, 2, 30, 40], [0, 0, 0, 0]]
    assert table.size_N2.tolist() == [[64, 48], [64, 48]]
    assert table.attributes == (("blur",), ())


def test_failed_rows_keep_their_reason():
    status = decode_status(encode_frames(rows(), 3))
    assert status["reason"].to_pylist() == ["", "why", ""]


def test_unlabelled_shards_have_no_landmarks():
    table = decode_frames(encode_frames([FrameRow("a", 0, 0)], 0))
    assert table.points_NK2.shape == (1, 0, 2)


def test_a_shard_without_frames_is_a_table():
    assert len(decode_frames(encode_frames([], 3))) == 0


def test_bytes_repeat():
    assert encode_frames(rows(), 3) == encode_frames(rows(), 3)


def test_gaps_in_the_numbering_are_noticed():
    with pytest.raises(DataError, match="numbered"):
        decode_frames(encode_frames([FrameRow("a", 0, 1)], 0))


def test_every_flipped_byte_is_noticed_or_harmless():
    data = encode_frames(rows(), 3)
    wanted = decode_frames(data)
    for place in range(0, len(data), 7):
        damaged = bytearray(data)
        damaged[place] ^= 0x40
        try:
            found = decode_frames(bytes(damaged))
        except DataError:
            continue
        assert np.array_equal(found.points_NK2, wanted.points_NK2)
        assert np.array_equal(found.box_N4, wanted.box_N4)


@pytest.mark.skipif(sys.platform != "linux", reason="counts the threads of a process in /proc")
@pytest.mark.slow
def test_no_thread_of_arrow_s_is_left_with_python_s_bytes(tmp_path):
    """One that drops them while Python leaves aborts it: once in some hundred processes that read and leave at once."""
    (tmp_path / "frames.parquet").write_bytes(encode_frames(rows(), 3))
    lines = (
        "import os, pathlib, sys",
        "from tsal_dist.shards.frames import decode_frames",
        "data, before = pathlib.Path(sys.argv[1]).read_bytes(), os.listdir('/proc/self/task')",
        "decode_frames(data)",
        "sys.exit(len(os.listdir('/proc/self/task')) - len(before))",
    )
    words = [sys.executable, "-c", "\n".join(lines), str(tmp_path / "frames.parquet")]
    assert subprocess.run(words, timeout=100).returncode == 0, "threads were started"
