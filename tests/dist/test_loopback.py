"""A launch on one machine listens where only that machine can reach it, and is torchrun in everything else."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch.distributed as dist

from tsal_dist.dist.environment import Environment, read_environment
from tsal_dist.dist.local_store import ADDRESS, seat, serve_store

ROOT = Path(__file__).parents[2]
LOOPBACK, LISTENING = "0100007F", "0A"
"""127.0.0.1 and LISTEN, as /proc/net/tcp writes them."""
WORKER = """
import os, sys
import torch.distributed as dist
from tests.dist.test_loopback import listening_at

dist.init_process_group("gloo")
dist.barrier()
found = listening_at(os.getpid()) | listening_at(os.getppid())
dist.barrier()
sys.stdout.write(f"listens at {sorted(found)}\\n")
sys.stdout.flush()
dist.barrier()
dist.destroy_process_group()
raise SystemExit(3 if os.environ["TORCHELASTIC_RESTART_COUNT"] == "0" else 0)
"""


def listening_at(pid: int) -> set[str]:
    """The addresses where a process waits for others, as the kernel tells them."""
    sockets = set()
    for handle in Path(f"/proc/{pid}/fd").iterdir():
        try:
            sockets.add(os.readlink(handle).removeprefix("socket:[").removesuffix("]"))
        except FileNotFoundError:
            continue
    rows = [
        line.split()
        for name in ("tcp", "tcp6")
        for line in Path(f"/proc/net/{name}").read_text().splitlines()[1:]
    ]
    return {row[1].partition(":")[0] for row in rows if row[3] == LISTENING and row[9] in sockets}


@pytest.mark.skipif(sys.platform != "linux", reason="asks Linux's /proc")
def test_a_store_of_ours_is_this_machine_s_alone():
    before = listening_at(os.getpid())
    store = serve_store()
    assert listening_at(os.getpid()) - before <= {LOOPBACK}
    other = dist.TCPStore(ADDRESS, store.port, is_master=False, wait_for_workers=False)
    other.set("a", "1")
    assert store.get("a") == b"1"
    everywhere = dist.TCPStore(ADDRESS, 0, is_master=True, wait_for_workers=False)
    assert listening_at(os.getpid()) - before - {LOOPBACK}, "torch's own; else this test could not fail"
    del everywhere


@pytest.mark.slow
@pytest.mark.ranks
@pytest.mark.skipif(sys.platform != "linux", reason="asks Linux's /proc")
def test_agent_and_workers_listen_nowhere_else_and_restart_as_under_torchrun(tmp_path):
    (tmp_path / "worker.py").write_text(WORKER)
    command = [
        "-m",
        "tsal_dist.dist.loopback",
        "--nproc-per-node=2",
        "--max-restarts=1",
        "--monitor-interval=0.1",
    ]
    done = subprocess.run(
        [sys.executable, *command, str(tmp_path / "worker.py")],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"},
        capture_output=True,
        text=True,
        timeout=150,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    said = [line for line in done.stdout.splitlines() if line.startswith("listens at")]
    assert said == [f"listens at {[LOOPBACK]}"] * 4, "two workers and their agent, at both attempts"


def test_a_seat_is_what_torchrun_would_have_told():
    told = seat(1, 3, 29400)
    assert read_environment(told) == Environment(
        rank=1, world=3, local_rank=1, local_world=3, master_addr=ADDRESS, master_port=29400, agent_store=True
    )
    again = read_environment({"TORCHELASTIC_RESTART_COUNT": "2", **told})
    assert again.restart_count == 0, "a launch inside of another one is no restart of that"
