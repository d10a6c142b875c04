"""A job on a real two-machine Slurm: trains across both, is preempted, comes back and finishes."""

import json
import os
import re
import subprocess
import sys

import pytest

from tests.launch.conftest import QUICK, ROOT
from tests.launch.slurm_cluster import SlurmCluster, missing_programs, wait_for
from tests.roles.short_runs import OVERRIDES, pack_faces

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        bool(missing_programs()) or os.geteuid() != 0,
        reason=f"needs root and Debian's slurm-wlm and munge; missing: {missing_programs()}",
    ),
]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    with SlurmCluster(tmp_path_factory.mktemp("slurm") / "cluster") as cluster:
        yield cluster


def submit(cluster, root, *words, faults=None, nodes=2, procs=2, module="tests.launch.stand_in"):
    shape = ["--nodes", str(nodes), "--procs-per-node", str(procs), "--cpus-per-proc=1", "--restarts=1"]
    command = [sys.executable, "-m", "launch.submit", "slurm", "--config", "configs/demo.toml", *shape]
    done = subprocess.run(
        [*command, "--module", module, *QUICK, *words, f"run.dir={root}"],
        cwd=ROOT,
        env={**cluster.environment, "STAND_IN": json.dumps(faults or {})},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()[1].rstrip(";")


def finish(cluster, root, job, timeout_s=120):
    def ended():
        return cluster.show_job(job).get("JobState") in ("COMPLETED", "FAILED", "CANCELLED", "TIMEOUT")

    wait_for(ended, f"job {job}", root / "logs" / f"slurm-{job}.log", timeout_s)
    return cluster.show_job(job)


def starts(root, role):
    lines = [json.loads(line) for line in (root / "logs" / "starts.jsonl").read_text().splitlines()]
    return [line for line in lines if line["role"] == role]


@pytest.mark.ranks
@pytest.mark.timeout(600)
def test_training_across_both_machines_is_preempted_and_finishes(cluster, tmp_path):
    """The real thing: the student on one machine, the teacher on the other."""
    root, faces = tmp_path / "run", pack_faces(tmp_path)
    words = [word for word in OVERRIDES if "topology" not in word]
    words += [
        f"data.labelled={faces.train}",
        f"data.unlabelled={faces.train}",
        f"data.validation={faces.held_out}",
    ]
    words += [
        "runtime.deadlines.silent_s=60",
        "runtime.deadlines.group_s=90",
        "runtime.deadlines.shutdown_s=100",
    ]
    words += ["runtime.deadlines.grace_s=120", "train.steps=120", "runtime.checkpoint.keep=99"]
    job = submit(cluster, root, *words, procs=1, module="tsal_dist.train")
    log = root / "logs" / f"slurm-{job}.log"
    committed = root / "checkpoints" / "student"
    wait_for((committed / "step_8" / "COMMIT").exists, "the first checkpoints", log, 120)
    cluster.call("scancel", "--batch", "--signal=USR1", job)
    ending = finish(cluster, root, job, 300)
    assert (ending["JobState"], ending["Restarts"]) == ("COMPLETED", "1"), log.read_text()

    assert (committed / "step_120" / "COMMIT").exists()
    resumed = int(re.search(r"resumed from step (\d+)", log.read_text())[1])
    assert 8 <= resumed < 120
    assert "student: exit code 75, SIGTERM" in log.read_text()


def test_both_steps_of_a_preempted_job_come_back_and_finish(cluster, tmp_path):
    root = tmp_path / "run"
    job = submit(cluster, root, "runtime.topology=detached", "runtime.teachers=2", "train.steps=250")
    log = root / "logs" / f"slurm-{job}.log"
    wait_for(lambda: any(root.glob("checkpoints/student/step_2?/COMMIT")), "the first checkpoints", log)
    # What --signal=B:USR1@... does when the time is nearly over.
    cluster.call("scancel", "--batch", "--signal=USR1", job)
    ending = finish(cluster, root, job)
    assert (ending["JobState"], ending["Restarts"]) == ("COMPLETED", "1"), log.read_text()

    assert "asking every crew to save and leave" in log.read_text()
    student = starts(root, "student")
    assert sorted(start["rank"] for start in student) == [0, 0, 1, 1]
    assert {start["start"] > 0 for start in student[:2]} == {False}
    assert min(start["start"] for start in student[2:]) >= 20
    teacher = starts(root, "teacher")
    assert sorted(start["rank"] for start in teacher) == [0, 0, 1, 1]
    assert {start["process"] for start in teacher} == {0, 1}  # a world of its own


def test_a_teacher_that_crashes_is_started_again_within_the_job(cluster, tmp_path):
    root = tmp_path / "run"
    job = submit(
        *(cluster, root, "runtime.topology=detached", "runtime.teachers=node", "train.steps=700"),
        faults={"teacher": {"at": 7, "how": "crash", "times": 1}},
    )
    ending = finish(cluster, root, job)
    log = (root / "logs" / f"slurm-{job}.log").read_text()
    assert (ending["JobState"], ending["Restarts"]) == ("COMPLETED", "0"), log
    assert "teacher failed, 1 of at most 1 times: starting again" in log
    assert len(starts(root, "student")) == 2
    assert [start["start"] > 0 for start in starts(root, "teacher")] == [False, False, True, True]


def test_a_student_that_keeps_crashing_fails_the_job(cluster, tmp_path):
    root = tmp_path / "run"
    job = submit(cluster, root, nodes=1, faults={"student": {"at": 3, "how": "crash", "times": 99}})
    ending = finish(cluster, root, job)
    assert (ending["JobState"], ending["ExitCode"]) == ("FAILED", "1:0")
    assert len(starts(root, "student")) == 2
