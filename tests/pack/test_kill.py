"""A real SIGKILL at random moments, to the packer alone or to it and its workers, then the same command again."""

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from footage import files_of, make_video

from tests.marks import against_the_clock
from tsal_dist.pack.lint import lint_folder

ROOT = Path(__file__).parents[2]
KILLS = 3
SHARDS = 6 * 3
"""Of six videos of 50 frames, 20 frames a shard: where one video's last shard ends short."""


def start(videos, out, workers):
    command = [sys.executable, "tools/shard_videos.py", "--videos", videos, "--out", out, "--box", "full"]
    command += ["--shard-frames", "20", "--workers", str(workers)]
    quiet = subprocess.DEVNULL
    return subprocess.Popen(list(map(str, command)), cwd=ROOT, stdout=quiet, stderr=quiet)


@against_the_clock
@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
def test_kill_and_run_again_until_it_is_done(tmp_path, workers):
    chance = random.Random(workers)
    for number in range(6):
        make_video(tmp_path / f"videos/{number}.avi", 50, (480, 360), seed=number)
    whole, out = tmp_path / "whole", tmp_path / "out"
    started = time.monotonic()
    assert start(tmp_path / "videos", whole, 1).wait() == 0
    killed, partial = 0, 0
    finished = out / "train"
    for target in sorted(chance.sample(range(SHARDS - 2), KILLS)):
        packer = start(tmp_path / "videos", out, workers)
        # Killed at a place in the work, not at a time: a machine is as fast as it is.
        while packer.poll() is None and not (
            (finished / ".packing").exists() and len(list(finished.glob("*.json"))) >= target
        ):
            time.sleep(0.002)
        time.sleep(chance.uniform(0, 0.05))
        packer.send_signal(signal.SIGKILL)
        killed += packer.wait() == -signal.SIGKILL
        partial += bool(list(finished.glob("*.json"))) and not (finished / "manifest.json").exists()
    assert killed
    assert partial
    assert start(tmp_path / "videos", out, workers).wait() == 0
    assert files_of(out) == files_of(whole)
    assert lint_folder(f"{out}/train") == []
    assert time.monotonic() - started < 120
