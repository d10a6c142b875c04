"""What many frames cost: the numbers are those of a manifest that training would open."""

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def simulate(*argv):
    command = [sys.executable, "tools/simulate_shards.py", *argv]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False, timeout=120)


def test_sizes_are_measured_and_a_billion_is_marked_as_not():
    done = simulate("--frames", "5000", "1000", "--json")
    page = json.loads(done.stdout)
    small, large = page["measured"]
    assert (small["frames"], small["shards"], large["shards"]) == (1000, 1, 5)
    assert large["manifest_mb"] > small["manifest_mb"] > 0
    assert page["extrapolated"]["frames"] == 10**9
    assert page["extrapolated"]["shards"] == 10**6
    assert simulate("--frames", "1000").stdout.splitlines()[-1].startswith("~")


def test_larger_shards_and_videos_are_a_smaller_manifest():
    few = json.loads(
        simulate("--frames", "20000", "--shard-frames", "10000", "--video-frames", "2000", "--json").stdout
    )
    many = json.loads(simulate("--frames", "20000", "--json").stdout)
    assert few["measured"][0]["manifest_mb"] < many["measured"][0]["manifest_mb"] / 3


def test_no_frames_are_refused():
    done = simulate("--frames", "0")
    assert done.returncode == 2
    assert "at least 1" in done.stderr
