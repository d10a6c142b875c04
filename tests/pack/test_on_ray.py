"""A Ray cluster packs: a process or a node is lost in the middle, the command is killed; the bytes are one machine's."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from footage import files_of, make_video
from packing import plan_of

from tests.marks import against_the_clock
from tests.ray_nodes import is_there, parents, raylet_of, two_nodes, wait_until, workers_below
from tsal_dist.dist.share import Share
from tsal_dist.door import main
from tsal_dist.errors import ConfigError, MissingExtra
from tsal_dist.pack.execute import pack, pack_share

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    """Of which one is long: its shards are packed by several tasks."""
    root = tmp_path_factory.mktemp("videos")
    for number in range(3):
        make_video(root / f"{number}.avi", 40, (480, 360), seed=number)
    make_video(root / "long.mp4", 200, (480, 360))
    return root


@pytest.fixture(scope="module")
def whole(videos, tmp_path_factory):
    out = tmp_path_factory.mktemp("whole")
    pack(plan_of([videos], box="full", shard_frames=5), f"{out}/train")
    return files_of(out)


@pytest.fixture
def packing(videos, tmp_path):
    """`packing(*words)` starts the tool as a person would; nothing of it outlives the test."""
    started = []

    def start(*words):
        command = [sys.executable, "tools/shard_videos.py", "--videos", str(videos), "--box", "full"]
        command += ["--shard-frames", "5", "--out", str(tmp_path / "out"), *words]
        pipe = subprocess.PIPE
        started.append(subprocess.Popen(command, cwd=ROOT, stdout=pipe, stderr=pipe, text=True))
        return started[-1]

    yield start
    for process in started:
        if process.poll() is None:
            process.kill()
            process.communicate()


def shards_of(folder):
    return list((folder / "out" / "train").glob("train-*.json"))


@against_the_clock
@pytest.mark.slow
def test_a_process_that_is_killed_in_the_middle_of_a_part_costs_no_byte(packing, whole, tmp_path):
    process = packing("--ray", "local")
    wait_until(lambda: len(shards_of(tmp_path)) >= 3, process)
    (victim, *_) = wait_until(lambda: workers_below(process.pid), process)
    os.kill(victim, signal.SIGKILL)
    said, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    assert "the Ray cluster: all 64 shards are there after" in said
    assert "left" in errors, "how far it is, and how long that will take"
    assert files_of(tmp_path / "out") == whole


@against_the_clock
@pytest.mark.slow
def test_a_node_that_is_lost_in_the_middle_of_a_part_costs_no_byte(packing, whole, tmp_path, monkeypatch):
    with two_nodes(monkeypatch) as cluster:
        process = packing("--ray", cluster.address)
        wait_until(lambda: len(shards_of(tmp_path)) >= 3, process)
        (worker, *_) = wait_until(lambda: workers_below(os.getpid()), process)
        lost = next(node for node in cluster.spare if raylet_of(node) in parents(worker))
        cluster.remove_node(lost, allow_graceful=False)
        _, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    assert files_of(tmp_path / "out") == whole


@against_the_clock
@pytest.mark.slow
def test_the_same_command_goes_on_after_it_was_killed(packing, whole, tmp_path):
    process = packing("--ray", "local")
    wait_until(lambda: len(shards_of(tmp_path)) >= 3, process)
    workers = wait_until(lambda: workers_below(process.pid), process)
    process.kill()
    process.communicate()
    kept = {path.name: path.stat().st_mtime_ns for path in shards_of(tmp_path)}
    assert 3 <= len(kept) < 64
    assert not (tmp_path / "out" / "train" / "manifest.json").exists()
    again = packing("--ray", "local")
    _, errors = again.communicate(timeout=120)
    assert again.returncode == 0, errors
    assert not any(map(is_there, workers)), "Ray's own processes end with the command"
    assert {path.name: path.stat().st_mtime_ns for path in shards_of(tmp_path)}.items() >= kept.items()
    assert files_of(tmp_path / "out") == whole


@pytest.mark.slow
def test_an_error_of_a_task_is_the_command_s_own(packing, videos, tmp_path):
    """One line of ours, and its code; a Ray on busy cores has its own to say beside it."""
    pack_share(plan_of([videos], box="full", quality=50), f"{tmp_path}/out/train", Share(1, 64))
    process = packing("--ray", "local")
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 2, errors
    (line,) = (line for line in errors.splitlines() if line.startswith("error: "))
    assert "was begun with another plan: " in line
    assert "Traceback" not in errors
    process = packing("--ray", "local", "--workers", "999")
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 2
    assert "Each part asks for 999 CPUs, and no node of the cluster has more than" in errors


def test_without_ray_it_says_what_to_install(videos, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    words = ["pack", "--videos", str(videos), "--box", "full", "--out", str(tmp_path)]
    with pytest.raises(MissingExtra, match=r"Packing on a Ray cluster needs .*tsal_dist\[ray\]"):
        main([*words, "--ray", "local"])
    assert main([*words, "--ray", "local", "--dry-run"]) == 0


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--ray", "127.0.0.1:9"], r"There is no Ray cluster at --ray 127.0.0.1:9 .*--ray local"),
        (["--ray", "local", "--retry-failed"], "--ray and --retry-failed were given"),
    ],
)
def test_what_cannot_be_is_refused(words, says, videos, tmp_path):
    with pytest.raises(ConfigError, match=says):
        main(["pack", "--videos", str(videos), "--box", "full", "--out", str(tmp_path), *words])
