"""A real Slurm of two machines on this one: slurmctld, two slurmds, munge; root and Debian's packages needed.

Every daemon lives in a mount namespace of its own, in which the machines' names resolve to this host, so
nothing outside the test's folder is written and a Slurm that the host may have is not disturbed.
"""

import os
import secrets
import shutil
import signal
import socket
import subprocess
import time
from contextlib import suppress
from pathlib import Path

PROGRAMS = ("slurmctld", "slurmd", "munged", "setpriv", "unshare", "sbatch")

CONF = """\
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket={root}/munge.socket,cred_expire=6
CredType=cred/munge
StateSaveLocation={root}/state
SlurmdSpoolDir={root}/spool-%n
SlurmctldPidFile={root}/slurmctld.pid
SlurmdPidFile={root}/slurmd-%n.pid
SlurmctldLogFile={root}/slurmctld.log
SlurmdLogFile={root}/slurmd-%n.log
ProctrackType=proctrack/pgid
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
MpiDefault=none
SlurmdParameters=config_overrides
ReturnToService=2
SchedulerParameters=batch_sched_delay=1,sched_interval=2,bf_interval=2
KillWait=20
MinJobAge=300
NodeName=n1 NodeHostName={host} NodeAddr=127.0.0.1 Port={ports[1]} CPUs=4 State=UNKNOWN
NodeName=n2 NodeHostName={host} NodeAddr=127.0.0.1 Port={ports[2]} CPUs=4 State=UNKNOWN
PartitionName=main Nodes=ALL Default=YES State=UP
"""


def missing_programs() -> list[str]:
    return [name for name in PROGRAMS if not shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin")]


class SlurmCluster:
    """Daemons as children of the test; `environment` lets Slurm's commands find them."""

    def __init__(self, root: Path) -> None:
        self.root = root
        root.mkdir(parents=True)
        (root / "state").mkdir()
        host = socket.gethostname()
        (root / "slurm.conf").write_text(CONF.format(root=root, host=host, ports=_free_ports(3)))
        (root / "hosts").write_text(Path("/etc/hosts").read_text() + "\n127.0.0.1 n1\n127.0.0.1 n2\n")
        key = root / "munge.key"
        key.write_bytes(secrets.token_bytes(128))
        key.chmod(0o400)
        self.environment = {
            **os.environ,
            "SLURM_CONF": str(root / "slurm.conf"),
            "PATH": f"{os.environ['PATH']}:/usr/sbin",
        }
        self.daemons: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> "SlurmCluster":
        try:
            self._start_all()
        except BaseException:
            self._stop_all()
            raise
        return self

    def __exit__(self, *error: object) -> None:
        self.call("scancel", "--user=root")
        try:
            wait_for(lambda: not self.call("squeue", "-h"), "scancel", self.root / "slurmctld.log")
        finally:
            self._stop_all()

    def _start_all(self) -> None:
        files = [
            f"--{name}={self.root}/munge.{name.split('-')[0]}" for name in ("key-file", "socket", "pid-file")
        ]
        files += [f"--log-file={self.root}/munge.log", f"--seed-file={self.root}/munge.seed"]
        self._start("munged", "--foreground", "--force", *files)
        wait_for((self.root / "munge.socket").exists, "munged", self.root / "munge.log")
        self._start("slurmctld", "-D", "-i")
        self.machines = {node: self._start("slurmd", "-D", "-N", node) for node in ("n1", "n2")}
        self._await_machines()

    def _await_machines(self) -> None:
        ready = lambda: self.call("sinfo", "-h", "-o", "%T %D") == "idle 2"  # noqa: E731
        wait_for(ready, "slurmd", self.root / "slurmctld.log")

    def lose(self, node: str) -> None:
        """Cut a machine's power: its daemon, its jobs' keepers, then what they kept; and Slurm finds out."""
        self.machines[node].kill()
        self.machines[node].wait(30)
        lost = _processes_on(node, str(self.root))
        for pid in [*{_parent(pid) for pid in lost} - {*lost, None}, *lost]:
            if pid in lost or "slurmstepd" in _read(pid, "comm"):
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        self.call("scontrol", "update", f"NodeName={node}", "State=DOWN", "Reason=lost")

    def give_back(self, node: str) -> None:
        """The machine has been started again."""
        self.machines[node] = self._start("slurmd", "-D", "-N", node)

    def _stop_all(self) -> None:
        for daemon in reversed(self.daemons):
            daemon.terminate()
            daemon.wait(30)

    def call(self, *command: str) -> str:
        """What a Slurm command prints; "" while the controller is not up."""
        done = subprocess.run(
            command, env=self.environment, capture_output=True, text=True, check=False, timeout=60
        )
        return done.stdout.strip()

    def show_job(self, job: str) -> dict[str, str]:
        words = self.call("scontrol", "show", "job", "-o", job).split()
        return dict(word.split("=", 1) for word in words if "=" in word)

    def _start(self, program: str, *words: str) -> "subprocess.Popen[bytes]":
        script = 'mount --bind "$1" /etc/hosts && shift && exec "$@"'
        # Should the test be killed, its daemons end with it.
        command = ["setpriv", "--pdeathsig", "TERM", "unshare", "--mount"]
        command += ["sh", "-c", script, "sh", str(self.root / "hosts"), program, *words]
        with open(self.root / f"{program}.out", "ab") as output:
            self.daemons.append(
                subprocess.Popen(
                    command,
                    env=self.environment,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                )
            )
        return self.daemons[-1]


def _processes_on(node: str, root: str) -> list[int]:
    """What this cluster's jobs run on a machine."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        words = _read(int(entry.name), "environ").split("\0")
        if f"SLURMD_NODENAME={node}" in words and any(
            word.startswith("SLURM_CONF=") and root in word for word in words
        ):
            found.append(int(entry.name))
    return found


def _parent(pid: int) -> int | None:
    fields = _read(pid, "stat").rpartition(")")[2].split()
    return int(fields[1]) if fields else None


def _read(pid: int | None, name: str) -> str:
    """One of the kernel's files on a process; "" where it has left."""
    try:
        return Path(f"/proc/{pid}/{name}").read_text(errors="replace")
    except OSError:
        return ""


def _free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


def wait_for(condition, what: str, log: Path, timeout_s: float = 60.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            tail = log.read_text()[-2000:] if log.exists() else "no log"
            raise AssertionError(f"{what} did not get ready:\n{tail}")
        time.sleep(0.2)
