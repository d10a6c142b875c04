"""A Ray cluster of several nodes on this machine, and who of its processes works."""

import os
import shutil
import tempfile
import time
import warnings
from contextlib import contextmanager
from pathlib import Path

from launch.processes import descendants

STORE_BYTES = 80 * 1024 * 1024
SETTINGS = {
    "RAY_USAGE_STATS_ENABLED": "0",
    # How soon a lost node is noticed.
    "RAY_health_check_period_ms": "500",
    "RAY_health_check_failure_threshold": "4",
}


@contextmanager
def two_nodes(monkeypatch):
    """A head without CPUs, and two nodes of one CPU in `spare`."""
    for name, value in SETTINGS.items():
        monkeypatch.setenv(name, value)
    folder = Path(tempfile.mkdtemp(prefix="ray-", dir="/tmp"))
    (folder / "ray").mkdir()
    monkeypatch.setenv("RAY_TMPDIR", str(folder))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of Ray's own
        from ray.cluster_utils import Cluster

        made = Cluster(
            initialize_head=True,
            head_node_args={"num_cpus": 0, "include_dashboard": False, "object_store_memory": STORE_BYTES},
        )
        made.spare = [made.add_node(num_cpus=1, object_store_memory=STORE_BYTES) for _ in range(2)]
        try:
            yield made
        finally:
            made.shutdown()
    shutil.rmtree(folder, ignore_errors=True)


def raylet_of(node):
    (process,) = node.all_processes["raylet"]
    return process.process.pid


def parents(pid):
    """Process ids from `pid` up."""
    found = []
    while pid > 1:
        pid = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
        found.append(pid)
    return found


def workers_below(pid):
    """Processes below `pid` that are at work on a part; Ray writes into their titles what they do."""
    return [each for each in descendants(pid) if _title(each).startswith("ray::_work_here")]


def _title(pid):
    try:
        return Path(f"/proc/{pid}/cmdline").read_text(errors="replace")
    except OSError:  # it has left
        return ""


def wait_until(condition, process, timeout_s=60.0):
    """What `condition` gives once that is something; `process` must be running until then."""
    deadline = time.monotonic() + timeout_s
    while not (found := condition()):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.005)
    return found


def is_there(pid):
    return os.path.exists(f"/proc/{pid}")
