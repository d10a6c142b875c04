"""The environment becomes one frozen value; what torchrun, Slurm and Kubernetes set is understood."""

import dataclasses
import os
import subprocess
import sys

import pytest

from tsal_dist.dist.environment import (
    MALLOC_SETTINGS,
    child_environment,
    find_on_path,
    present_role,
    read_environment,
)
from tsal_dist.errors import TopologyError

TORCHRUN = {
    "RANK": "3",
    "WORLD_SIZE": "8",
    "LOCAL_RANK": "1",
    "LOCAL_WORLD_SIZE": "2",
    "MASTER_ADDR": "node0",
    "MASTER_PORT": "29400",
    "TORCHELASTIC_RESTART_COUNT": "2",
    "TORCHELASTIC_USE_AGENT_STORE": "True",
}


def test_torchrun_is_understood():
    env = read_environment(TORCHRUN)
    assert (env.rank, env.world, env.local_rank, env.local_world) == (3, 8, 1, 2)
    assert (env.master_addr, env.master_port, env.restart_count) == ("node0", 29400, 2)
    assert env.launched
    assert env.agent_store


def test_agents_of_several_machines_may_not_restart_each_for_itself():
    with pytest.raises(TopologyError, match="--max-restarts 3 on several machines"):
        read_environment({**TORCHRUN, "TORCHELASTIC_MAX_RESTARTS": "3"})
    alone = {**TORCHRUN, "TORCHELASTIC_MAX_RESTARTS": "3", "LOCAL_WORLD_SIZE": "8"}
    assert read_environment(alone).restart_count == 2
    assert read_environment({**TORCHRUN, "TORCHELASTIC_MAX_RESTARTS": "0"}).world == 8


def test_a_bare_process_is_a_world_of_one():
    env = read_environment({})
    assert (env.rank, env.world, env.launched) == (0, 1, False)


@pytest.mark.parametrize(
    ("variables", "scheduler"),
    [
        ({"SLURM_JOB_ID": "17"}, "slurm"),
        ({"KUBERNETES_SERVICE_HOST": "10.0.0.1", "HOSTNAME": "student-0"}, "k8s"),
        ({}, ""),
    ],
)
def test_schedulers_are_recognised(variables, scheduler):
    assert read_environment({**TORCHRUN, **variables}).scheduler == scheduler


def test_malloc_settings_are_noticed():
    assert not read_environment(TORCHRUN).malloc_tuned
    assert read_environment({**TORCHRUN, **MALLOC_SETTINGS}).malloc_tuned


def test_half_an_environment_is_refused():
    with pytest.raises(TopologyError, match="MASTER_ADDR"):
        read_environment({"RANK": "0", "WORLD_SIZE": "2"})


def test_a_wrong_number_is_named():
    with pytest.raises(TopologyError, match="WORLD_SIZE is 'two'"):
        read_environment({**TORCHRUN, "WORLD_SIZE": "two"})


def test_the_value_is_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        read_environment({}).rank = 1


def test_libraries_are_shown_the_role(monkeypatch):
    for name, value in TORCHRUN.items():
        monkeypatch.setenv(name, value)
    present_role(rank=1, world=2, device_index=0)
    assert (os.environ["RANK"], os.environ["WORLD_SIZE"], os.environ["LOCAL_RANK"]) == ("1", "2", "0")


def test_a_folder_joins_the_path_once(monkeypatch):
    monkeypatch.setenv("PATH", "/bin")
    find_on_path("/opt/own")
    find_on_path("/opt/own")
    assert os.environ["PATH"] == os.pathsep.join(["/bin", "/opt/own"])


def test_launchers_may_import_it_without_torch():
    code = (
        "import sys, tsal_dist.dist.environment, tsal_dist.dist.topology; assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_child_gets_settings_over_the_users_over_defaults(monkeypatch):
    threshold = "MALLOC_TRIM_THRESHOLD_"
    monkeypatch.setenv(threshold, "1")
    monkeypatch.setenv("OMP_NUM_THREADS", "8")
    monkeypatch.setenv("NCCL_SOCKET_IFNAME", "lo")
    child = child_environment(
        {"NCCL_SOCKET_IFNAME": "eth0"}, {"OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}
    )
    assert child[threshold] == "1"
    assert child["MALLOC_MMAP_THRESHOLD_"] == MALLOC_SETTINGS["MALLOC_MMAP_THRESHOLD_"]
    assert (child["OMP_NUM_THREADS"], child["NCCL_SOCKET_IFNAME"]) == ("8", "eth0")
    assert child["PYTHONUNBUFFERED"] == "1"
    assert child["PATH"] == os.environ["PATH"]
