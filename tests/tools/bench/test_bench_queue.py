"""The queue's bench and simulator run; what they say is for people, and not for a busy test machine."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tools.simulate_queue import STORES, Load, main, simulate
from tsal_dist.errors import ConfigError

ROOT = Path(__file__).parents[3]
SMALL = Load(8, 32, 256, 5.0, 800, 0.5, 1, 0.5, 64, 1.0, 10.0, 30.0, 8)


@pytest.mark.slow
def test_a_quick_bench_ends_with_a_line_of_json(tmp_path):
    command = [sys.executable, "-m", "tools.bench.queue", "--quick", "--folder", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=True)
    page = json.loads(done.stdout.splitlines()[-1])
    assert {each["name"] for each in page["results"]} == {"round trip", "lists", "wide", "small", "idle poll"}
    assert all(each["ratio"] > 0 for each in page["results"])
    assert list(tmp_path.iterdir()) == []


def test_the_table_says_where_it_bends(capsys):
    assert main([]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 1 + 3 * 3 * 2
    assert {line.split()[-1] for line in lines[1:]} == {"-", "planner", "rings"}
    assert main(["--store", "nfs", "--teachers", "10", "--json"]) == 0
    assert [each["students"] for each in json.loads(capsys.readouterr().out)] == [40, 40]
    with pytest.raises(ConfigError, match="too short"):
        main(["--seconds", "5"])


def test_the_simulation_agrees_with_what_can_be_reckoned():
    """Far from every limit a commit waits half a poll; more threads and a slower store do what they must."""
    easy = simulate(SMALL, STORES["local"], 200)
    assert easy.late_median_s == pytest.approx(SMALL.poll_s / 2, rel=0.1)
    assert easy.late_p99_s == pytest.approx(SMALL.poll_s, rel=0.1)
    assert easy.segments_per_s == SMALL.teachers / SMALL.flush_s
    crowd = Load(**{**vars(SMALL), "teachers": 200, "students": 800})
    slow = simulate(crowd, STORES["s3"], 60)
    threads = simulate(Load(**{**vars(crowd), "threads": 64}), STORES["s3"], 60)
    assert slow.bends == "planner"
    assert threads.planner_share < slow.planner_share / 10
    assert threads.late_p99_s < slow.late_p99_s


def test_rings_grow_with_the_ranks_and_a_machine_reads_a_segment_once():
    """By hand: an all-reduce of 2 x 31 hops and 5 of the tree, 30 us each, at 10 steps a second."""
    small = simulate(SMALL, STORES["nfs"], 60)
    assert small.rings_share == pytest.approx((2 * 31 + 5) * 30e-6 * 10)
    assert small.pace == pytest.approx((1 - small.planner_share) / (1 + small.rings_share))
    crowd = simulate(Load(**{**vars(SMALL), "students": 4000}), STORES["nfs"], 60)
    assert crowd.bends == "rings"
    # 256 rows are those of 4 ranks: 5 reads at worst, and 1.5 where 8 ranks share a machine's page cache.
    spread = simulate(Load(**{**vars(SMALL), "machine_ranks": 1}), STORES["nfs"], 60)
    assert spread.mb_per_s / small.mb_per_s == pytest.approx((2 + 5) / (2 + 1.5))
    assert simulate(SMALL, STORES["s3"], 60).mb_per_s == pytest.approx(spread.mb_per_s)


def test_heartbeats_are_those_of_the_code():
    """Two first ranks with four calls a second, thirty-eight others with two in ten."""
    silent = Load(**{**vars(SMALL), "beat_s": 1e9})
    beats = simulate(SMALL, STORES["local"], 60).ops_per_s - simulate(silent, STORES["local"], 60).ops_per_s
    assert beats == pytest.approx(2 * 4 + 38 * 2 / 10, rel=0.01)
