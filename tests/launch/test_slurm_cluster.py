"""Jobs on a real two-machine Slurm: trained across both, preempted, their machines lost, in containers, finished."""

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.launch.conftest import QUICK, ROOT
from tests.launch.slurm_cluster import SlurmCluster, missing_programs, wait_for
from tests.marks import against_the_clock
from tests.roles.short_runs import OVERRIDES, pack_faces

pytestmark = [
    against_the_clock,
    pytest.mark.slow,
    pytest.mark.skipif(
        bool(missing_programs()) or os.geteuid() != 0,
        reason=f"needs root and Debian's slurm-wlm and munge; missing: {missing_programs()}",
    ),
]


DETACHED = ["runtime.topology=detached", "runtime.teachers=1"]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    with SlurmCluster(tmp_path_factory.mktemp("slurm") / "cluster") as cluster:
        yield cluster


@dataclass(frozen=True)
class Job:
    """One that was submitted."""

    cluster: SlurmCluster
    role: str
    number: str
    log: Path

    def finish(self, timeout_s=120):
        """How it ended: its state, and how often it was put back into the queue."""

        def ended():
            return self.show()["JobState"] in ("COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL")

        wait_for(ended, f"job {self.number}", self.log, timeout_s)
        return self.show()["JobState"], self.show()["Restarts"]

    def show(self):
        return self.cluster.show_job(self.number)

    def ask_to_leave(self):
        """What --signal=B:USR1@... does when the time is nearly over."""
        self.cluster.call("scancel", "--batch", "--signal=USR1", self.number)


def submit(cluster, root, *words, faults=None, nodes=2, procs=1, module="tests.launch.stand_in"):
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
    jobs = re.findall(r"^([\w-]*) ?job (\d+); its log will be (.*)$", done.stdout, re.MULTILINE)
    return [Job(cluster, role, number, Path(log)) for role, number, log in jobs]


def last_step(root):
    return json.loads((root / "ctl" / "beat" / "student-0.json").read_text())["step"]


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
    [job] = submit(cluster, root, *words, procs=1, module="tsal_dist.train")
    committed = root / "checkpoints" / "student"
    wait_for((committed / "step_8" / "COMMIT").exists, "the first checkpoints", job.log, 120)
    job.ask_to_leave()
    assert job.finish(300) == ("COMPLETED", "1"), job.log.read_text()

    assert (committed / "step_120" / "COMMIT").exists()
    resumed = int(re.search(r"resumed from step (\d+)", job.log.read_text())[1])
    assert 8 <= resumed < 120
    assert "student: exit code 75, SIGTERM" in job.log.read_text()


def test_a_preempted_student_comes_back_to_its_teacher(cluster, tmp_path):
    root = tmp_path / "run"
    student, teacher = submit(cluster, root, *DETACHED, "train.steps=250")
    committed = root / "checkpoints" / "student"
    wait_for(lambda: any(committed.glob("step_2?/COMMIT")), "the first checkpoints", student.log)
    student.ask_to_leave()
    assert student.finish() == ("COMPLETED", "1"), student.log.read_text()
    assert teacher.finish() == ("COMPLETED", "0"), teacher.log.read_text()

    assert "asking every process to save and leave" in student.log.read_text()
    students = starts(root, "student")
    assert [start["rank"] for start in students] == [0, 0]
    assert (students[0]["start"], students[1]["start"] >= 20) == (0, True)
    assert {start["process"] for start in starts(root, "teacher")} == {0}  # a world of its own


def test_a_cancelled_run_saves_and_stays_ended(cluster, tmp_path):
    root = tmp_path / "run"
    [job] = submit(cluster, root, "train.steps=100000", nodes=1, procs=2)
    wait_for((root / "checkpoints/student/step_20/COMMIT").exists, "the first checkpoints", job.log)
    cluster.call("scancel", job.number)
    wait_for(lambda: not cluster.call("squeue", "-h", f"--jobs={job.number}"), "its end", job.log)
    assert job.finish() == ("CANCELLED", "0"), job.log.read_text()
    assert "student: exit code 75" in job.log.read_text()
    assert len(starts(root, "student")) == 1


def test_a_teacher_that_crashes_is_started_again_within_its_job(cluster, tmp_path):
    root = tmp_path / "run"
    student, teacher = submit(
        *(cluster, root, *DETACHED, "train.steps=700"),
        faults={"teacher": {"at": 7, "how": "crash", "times": 1}},
    )
    assert student.finish() == ("COMPLETED", "0"), student.log.read_text()
    assert teacher.finish() == ("COMPLETED", "0"), teacher.log.read_text()
    assert "teacher failed, 1 of at most 1 times: starting again" in teacher.log.read_text()
    assert len(starts(root, "student")) == 1
    assert [start["start"] > 0 for start in starts(root, "teacher")] == [False, True]


def test_crews_have_jobs_of_their_own_and_one_joins_later(cluster, tmp_path):
    root = tmp_path / "run"
    three = ["runtime.topology=detached", "runtime.teachers=2", "--crews=2"]
    jobs = submit(
        *(cluster, root, *three, "train.steps=600"),
        nodes=1,
        procs=3,
        faults={"teacher-c2": {"at": 7, "how": "crash", "times": 1}},
    )
    assert [job.role for job in jobs] == ["student", "teacher", "teacher-c2"]
    wait_for(lambda: (root / "ctl" / "beat" / "student-0.json").exists(), "the student", jobs[0].log)
    [night] = submit(cluster, root, "--crew=night", "train.steps=600", nodes=1)
    for job in (*jobs, night):
        assert job.finish() == ("COMPLETED", "0"), job.log.read_text()
    assert "teacher-c2 failed, 1 of at most 1 times: starting again" in jobs[2].log.read_text()
    found = [len(starts(root, role)) for role in ("student", "teacher", "teacher-c2", "teacher-night")]
    assert found == [1, 1, 2, 1]
    [late] = submit(cluster, root, "--crew=late", "train.steps=600", nodes=1)
    assert late.finish() == ("COMPLETED", "0")
    assert f"the student's job {jobs[0].number} is over" in late.log.read_text()
    assert not starts(root, "teacher-late")


def test_a_lost_machine_costs_labels_and_not_steps(cluster, tmp_path):
    """The teacher's is switched off while both work, and given back."""
    root = tmp_path / "run"
    student, teacher = submit(
        *(cluster, root, "--option=--nodelist=n1", "--teacher-option=--nodelist=n2"),
        *(*DETACHED, "train.steps=1500"),
    )
    saved = root / "checkpoints"
    wait_for(lambda: any(saved.glob("teacher/step_*/COMMIT")), "the teacher", teacher.log)
    cluster.lose("n2")
    wait_for(lambda: teacher.show()["JobState"] == "PENDING", "the teacher's job in the queue", teacher.log)
    step = last_step(root)
    wait_for(lambda: last_step(root) >= step + 50, "steps without a teacher", student.log)
    assert len(starts(root, "teacher")) == 1
    cluster.give_back("n2")
    assert student.finish(180) == ("COMPLETED", "0"), student.log.read_text()
    assert teacher.finish() == ("COMPLETED", "1"), teacher.log.read_text()
    assert len(starts(root, "student")) == 1
    assert [start["start"] > 0 for start in starts(root, "teacher")] == [False, True]


def test_a_teacher_leaves_when_its_student_is_given_up(cluster, tmp_path):
    root = tmp_path / "run"
    student, teacher = submit(
        cluster,
        root,
        *DETACHED,
        "train.steps=100000",
        faults={"student": {"at": 9, "how": "config", "times": 1}},
    )
    assert student.finish() == ("FAILED", "0"), student.log.read_text()
    teacher.ask_to_leave()  # a real teacher parks, and gives up by itself after grace_s
    assert teacher.finish() == ("COMPLETED", "1"), teacher.log.read_text()
    assert f"the student's job {student.number} is over" in teacher.log.read_text()


def test_a_job_runs_in_a_container_on_a_copy_of_code_and_shards(cluster, tmp_path):
    """apptainer is a stand-in that keeps its words and runs the command."""
    root, disk = tmp_path / "run", tmp_path / "disk"
    disk.mkdir()
    stand_in = tmp_path / "bin" / "apptainer"
    stand_in.parent.mkdir()
    stand_in.write_text(
        f'#!/bin/bash\necho "$PWD: $@" >> {tmp_path}/words\nwhile [[ $1 != *.sif ]]; do shift; done\nexec "${{@:2}}"\n'
    )
    stand_in.chmod(0o755)
    shards = ROOT / "shards" / f"stage-test-{os.getpid()}"
    shards.mkdir()
    (shards / "manifest.json").write_text("{}")
    try:
        name = shards.relative_to(ROOT)
        [job] = submit(
            *(
                cluster,
                root,
                "--container=any.sif",
                f"--stage={disk}",
                "--snapshot",
                f"--python={sys.executable}",
            ),
            *(
                f"--setup=export PATH={stand_in.parent}:$PATH",
                f"data.labelled={name}",
                f"data.unlabelled={name}",
            ),
            "data.validation=",
        )
        assert job.finish() == ("COMPLETED", "0"), job.log.read_text()
    finally:
        shutil.rmtree(shards)
    crews = [line for line in (tmp_path / "words").read_text().splitlines() if "launch.crew" in line]
    assert len(crews) == 2
    place = f"{disk}/tsal-{job.number}"
    assert all(line.startswith(f"{place}: exec --bind=") for line in crews)
    started = starts(root, "student") + starts(root, "teacher")
    assert {start["cwd"] for start in started} == {place}
    assert {start["labelled"] for start in started} == {f"{place}/{name}"}
    assert {start["code"] for start in started} == {str(next((root / "code").iterdir()) / "tsal_dist")}
    assert not list(disk.iterdir())


def test_a_student_that_keeps_crashing_fails_the_job(cluster, tmp_path):
    root = tmp_path / "run"
    [job] = submit(
        cluster, root, nodes=1, procs=2, faults={"student": {"at": 3, "how": "crash", "times": 99}}
    )
    assert job.finish()[0] == "FAILED"
    assert job.show()["ExitCode"] == "1:0"
    assert len(starts(root, "student")) == 2
