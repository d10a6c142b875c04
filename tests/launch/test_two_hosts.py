"""Real training on two hosts: as two pods would run it, with the network cut, and with no network at all."""

import os
import sys
import time

import pytest
import yaml

from launch.submit import main
from tests.launch.conftest import ROOT
from tests.launch.two_hosts import TwoHosts, missing_programs
from tests.marks import against_the_clock
from tests.roles.short_runs import OVERRIDES, pack_faces

pytestmark = [
    against_the_clock,
    pytest.mark.slow,
    pytest.mark.ranks,
    pytest.mark.timeout(600),
    pytest.mark.skipif(
        bool(missing_programs()) or os.geteuid() != 0,
        reason=f"needs root and Debian's iproute2; missing: {missing_programs()}",
    ),
]

DEADLINES = [f"runtime.deadlines.{name}_s={value}" for name, value in (("silent", 25), ("group", 30))]
DEADLINES += ["runtime.deadlines.shutdown_s=40", "runtime.deadlines.grace_s=60"]


@pytest.fixture(scope="module")
def faces(tmp_path_factory):
    return pack_faces(tmp_path_factory.mktemp("faces"))


@pytest.fixture
def checkout(tmp_path):
    """What the image's working folder holds: the code, and room for runs."""
    folder = tmp_path / "checkout"
    folder.mkdir()
    for name in ("launch", "tsal_dist"):
        (folder / name).symlink_to(ROOT / name)
    return folder


def settings(faces, *overrides):
    data = [
        f"data.labelled={faces.train}",
        f"data.unlabelled={faces.train}",
        f"data.validation={faces.held_out}",
    ]
    return [*(word for word in OVERRIDES if "topology" not in word), *data, *DEADLINES, *overrides]


def ends(processes, timeout_s):
    """Exit codes and all that was printed."""
    deadline = time.monotonic() + timeout_s
    outputs = [process.communicate(timeout=max(1.0, deadline - time.monotonic()))[0] for process in processes]
    return [process.returncode for process in processes], "\n".join(outputs)


def wait_for(condition, processes, timeout_s=120.0):
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        for process in processes:
            assert process.poll() is None, process.communicate()[0]
        time.sleep(0.1)


def test_pods_train_and_their_probes_see_it(tmp_path, checkout, faces, capsys, monkeypatch):
    monkeypatch.chdir(ROOT)
    words = ["--config", "tests/golden/tiny.toml", "--image", "any", "--nodes", "2", "--procs-per-node", "1"]
    assert main(["k8s", *words, "--dry-run", *settings(faces, "train.steps=40")]) == 0
    config, service, job = yaml.safe_load_all(capsys.readouterr().out)
    [container] = job["spec"]["template"]["spec"]["containers"]
    # A ConfigMap is a folder of files; here it lies elsewhere than in the container.
    (tmp_path / "config").mkdir()
    for name, text in config["data"].items():
        (tmp_path / "config" / name).write_text(text)
    command = [word.replace("/config/", f"{tmp_path}/config/") for word in container["command"]]
    probe = container["livenessProbe"]["exec"]["command"]

    pods = [f"{job['metadata']['name']}-{index}" for index in range(2)]
    names = [(f"{pod}.{service['metadata']['name']}", pod) for pod in pods]
    with TwoHosts(tmp_path, names) as hosts:
        crews = [
            hosts.start(index, command, checkout, {"JOB_COMPLETION_INDEX": str(index)}) for index in range(2)
        ]
        memories = [["--memory", str(tmp_path / f"memory{index}")] for index in range(2)]

        def probed(index):
            return ends([hosts.start(index, [*probe, *memories[index]], checkout)], 30.0)[0] == [0]

        assert not probed(0)
        wait_for(lambda: probed(0) and probed(1), crews)
        codes, output = ends(crews, 240.0)
    assert codes == [0, 0], output
    run = checkout / "runs" / "tiny"
    assert (run / "checkpoints" / "student" / "step_40" / "COMMIT").exists()
    # One world: the student sat in the first pod, the teacher in the second.
    assert [
        (run / "ctl" / "beat" / f"{role}-0.json").read_text().count(f'"{pod}"')
        for role, pod in zip(("student", "teacher"), pods, strict=True)
    ] == [1, 1]


def crew(hosts, host, checkout, words, *more):
    return hosts.start(host, [sys.executable, "-m", "launch.crew", *more, *words], checkout)


def test_a_cut_network_ends_in_bounded_time_and_training_resumes(tmp_path, checkout, faces):
    words = settings(faces, "runtime.teachers=node", "train.steps=400", "runtime.queue.high_water_rows=8192")
    run = checkout / "runs" / "cut"

    def start(hosts):
        meeting = ["--nodes=2", "--procs=2", "--address=first", "--port=29511"]
        return [
            crew(hosts, host, checkout, [*words, "run.name=cut"], *meeting, f"--node-rank={host}")
            for host in (0, 1)
        ]

    with TwoHosts(tmp_path, [("first",), ("second",)]) as hosts:
        crews = start(hosts)
        wait_for((run / "checkpoints" / "student" / "step_8" / "COMMIT").exists, crews)
        hosts.cut()
        # The collective's deadline, then torchrun's 30 s for the other role's workers, then the crew's for orphans.
        codes, output = ends(crews, 30 + 30 + 40 + 60)
        assert set(codes) == {1}, output
        steps = [
            int(path.parent.name[5:]) for path in (run / "checkpoints" / "student").glob("step_*/COMMIT")
        ]
        hosts.join()
        crews = start(hosts)
        wait_for(lambda: any((run / "checkpoints" / "student").glob(f"step_{max(steps) + 8}/COMMIT")), crews)
        crews[0].terminate()
        codes, output = ends(crews, 120.0)
    assert f"resumed from step {max(steps)}" in output
    assert codes == [75, 75], output


def test_detached_roles_need_no_network_between_them(tmp_path, checkout, faces):
    words = settings(faces, "run.name=apart", "runtime.topology=detached")
    with TwoHosts(tmp_path, [("first",), ("second",)]) as hosts:
        hosts.cut()
        crews = [
            crew(hosts, host, checkout, words, f"--role={role}", "--procs=1")
            for host, role in enumerate(("student", "teacher"))
        ]
        codes, output = ends(crews, 180.0)
    assert codes == [0, 0], output
    assert (checkout / "runs" / "apart" / "checkpoints" / "student" / "step_8" / "COMMIT").exists()
