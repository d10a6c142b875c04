"""Several machines pack one folder: at the same time, killed and started again, and the bytes are one machine's."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from footage import files_of, make_300vw, make_video
from hypothesis import given
from hypothesis import strategies as st
from packing import pack_all, plan_of

from tsal_dist.dist.share import Share
from tsal_dist.errors import ConfigError
from tsal_dist.pack import workplace as workplace_module
from tsal_dist.pack.execute import pack, pack_share
from tsal_dist.pack.workplace import workplace
from tsal_dist.shards import files
from tsal_dist.shards.manifest import MANIFEST

TOOL = Path(__file__).parents[2] / "tools" / "shard_videos.py"


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    root = tmp_path_factory.mktemp("videos")
    for number in range(2):
        make_300vw(root, f"00{number}", 14, seed=number)
    make_video(root / "long.mp4", 45)
    (root / "boxes.csv").write_text("path,x1,y1,x2,y2\nlong.mp4,5,5,40,40\n")
    return root


@pytest.fixture(scope="module")
def whole(videos, tmp_path_factory):
    out = tmp_path_factory.mktemp("whole")
    pack_all(out, [videos], gather={"boxes": videos / "boxes.csv"})
    return files_of(out / "train")


@pytest.fixture(scope="module")
def plan(videos):
    return plan_of([videos], gather={"boxes": videos / "boxes.csv"})


@given(shards=st.integers(0, 200), machines=st.integers(1, 40))
def test_every_shard_is_one_machine_s(shards, machines):
    shares = [Share(number, machines).choose(range(shards)) for number in range(1, machines + 1)]
    assert [shard for share in shares for shard in share] == list(range(shards))
    sizes = {len(share) for share in shares}
    assert max(sizes) - min(sizes) <= 1


def test_the_bytes_are_one_machine_s_and_a_share_commits_nothing(plan, whole, tmp_path):
    folder = str(tmp_path / "train")
    for number in (3, 1):
        pack_share(plan, folder, Share(number, 3))
    assert not files.exists(files.join(folder, MANIFEST))
    pack_share(plan, folder, Share(2, 3))
    made = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "train").glob("*.tar")}
    pack(plan, folder)
    assert files_of(tmp_path / "train") == whole
    assert {path.name: path.stat().st_mtime_ns for path in (tmp_path / "train").glob("*.tar")} == made


def test_the_one_that_commits_packs_what_a_lost_machine_left(plan, whole, tmp_path):
    pack_share(plan, str(tmp_path / "train"), Share(1, 2))
    pack(plan, str(tmp_path / "train"))
    assert files_of(tmp_path / "train") == whole


@pytest.mark.slow
def test_machines_at_the_same_time_as_processes_of_the_tool(videos, whole, tmp_path):
    words = ["--videos", str(videos), "--boxes", str(videos / "boxes.csv"), "--shard-frames", "10"]
    words += ["--out", str(tmp_path), "--workers", "2"]

    def run(*more):
        done = subprocess.run(
            [sys.executable, TOOL, *words, *more], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    with ThreadPoolExecutor() as pool:
        said = list(pool.map(lambda number: run("--machine", f"{number}/3"), (1, 2, 3)))
    assert all("the same command without --machine commits" in text for text in said)
    run()
    assert files_of(tmp_path / "train") == whole


def test_one_packer_per_share_and_none_of_the_whole_beside_it(plan, tmp_path, monkeypatch):
    monkeypatch.setattr(workplace_module, "_PATIENCE_S", 0.1)
    folder = str(tmp_path / "train")
    with workplace(folder, plan, Share(1, 2)) as first, workplace(folder, plan, Share(2, 2)) as second:
        assert first != second
        for other in (Share(1, 2), None):
            with (
                pytest.raises(ConfigError, match="Another packer is at work"),
                workplace(folder, plan, other),
            ):
                pass
    with workplace(folder, plan):
        pass
    assert not list((tmp_path / "train").iterdir())


@pytest.mark.parametrize("text", ["0/2", "3/2", "1", "a/b", "-1/2"])
def test_a_machine_that_is_none_of_them_is_refused(text, videos, tmp_path):
    words = ["--videos", str(videos), "--out", str(tmp_path), f"--machine={text}"]
    done = subprocess.run([sys.executable, TOOL, *words], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "such as 3/20" in done.stderr
