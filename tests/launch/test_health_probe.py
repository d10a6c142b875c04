"""A container is alive while its own heartbeats change, by its own clock."""

import json
import socket

import pytest

from launch.health_probe import judge, look, main, read_beats
from tsal_dist.exchange.beat import Heart
from tsal_dist.exchange.posix import PosixStore
from tsal_dist.run_dir import RunDir

HERE = "this-host"


@pytest.fixture
def heart(tmp_path):
    return lambda role="student", rank=0, host=HERE: Heart(PosixStore(tmp_path), role, rank, 1, host)


def test_a_beat_counts_from_its_first_change_and_must_go_on(tmp_path, heart):
    one = heart()
    one.beat("train", 1)
    sights = look(read_beats(tmp_path, HERE), {}, 0.0)
    assert "has changed yet" in judge(sights, 0.0, 60.0)  # it may be a dead process's last
    one.beat("train", 2)
    sights = look(read_beats(tmp_path, HERE), sights, 5.0)
    assert judge(sights, 5.0, 60.0) == ""
    sights = look(read_beats(tmp_path, HERE), sights, 65.0)
    assert judge(sights, 65.0, 60.0) == ""
    assert "student-0" in judge(look(read_beats(tmp_path, HERE), sights, 66.0), 66.0, 60.0)
    one.beat("evaluate", 2)
    assert judge(look(read_beats(tmp_path, HERE), sights, 70.0), 70.0, 60.0) == ""


def test_one_silent_rank_is_enough(tmp_path, heart):
    first, second = heart(), heart(rank=1)
    sights = {}
    for now_s in (0.0, 1.0):
        first.beat("train", 1)
        second.beat("train", 1)
        sights = look(read_beats(tmp_path, HERE), sights, now_s)
    first.beat("train", 2)
    verdict = judge(look(read_beats(tmp_path, HERE), sights, 100.0), 100.0, 60.0)
    assert "student-1" in verdict
    assert "student-0" not in verdict


def test_other_hosts_and_goodbyes_do_not_count(tmp_path, heart):
    heart("teacher", 0, "another-host").beat("train", 1)
    heart("student", 1).beat("done", 9)
    RunDir(tmp_path).beat("teacher", 1).touch()  # awaited by someone, never written
    assert read_beats(tmp_path, HERE) == {}


def test_calls_remember_each_other_and_find_runs_in_a_folder(tmp_path, capsys):
    one = Heart(PosixStore(tmp_path / "runs" / "demo", create=True), "student", 0, 1, socket.gethostname())
    words = [str(tmp_path / "runs"), "--memory", str(tmp_path / "memory.json")]
    codes = []
    for step in range(3):
        one.beat("train", step)
        codes.append(main(words))
    assert codes == [1, 0, 0]
    memory = json.loads((tmp_path / "memory.json").read_text())
    assert list(memory) == [str(tmp_path / "runs/demo/ctl/beat/student-0.json")]
    assert main([*words, "--silent-s", "0"]) == 1
    assert "silent for more than 0 s" in capsys.readouterr().out
