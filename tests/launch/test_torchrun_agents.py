"""torchrun by hand on several machines: what its agents cannot agree on is refused at once, by every rank."""

import socket
import subprocess
import sys

import pytest

from tests.launch.conftest import ROOT
from tests.marks import against_the_clock

pytestmark = [against_the_clock, pytest.mark.slow, pytest.mark.ranks]


def test_agents_that_would_restart_alone_are_refused(tmp_path):
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    meeting = ["--nnodes=2", "--nproc-per-node=1", "--master-addr=127.0.0.1", f"--master-port={port}"]
    agents = [
        subprocess.Popen(
            [
                sys.executable,
                "-m",
                "torch.distributed.run",
                *meeting,
                f"--node-rank={rank}",
                "--max-restarts=1",
            ]
            + ["-m", "tsal_dist.train", "--config", "configs/demo.toml", f"run.dir={tmp_path / 'run'}"],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for rank in range(2)
    ]
    outputs = [agent.communicate(timeout=120)[0] for agent in agents]
    assert [agent.returncode for agent in agents] == [1, 1]
    for output in outputs:
        assert "--max-restarts 1 on several machines" in output
    assert not (tmp_path / "run").exists()
