"""Sweeps on a cluster of several nodes: trials across two of them, a node that is lost, places that do not exist."""

import json
import os
import signal
from pathlib import Path

import pytest

from tests.launch.sweep.sweeping import assert_nothing_left
from tests.marks import against_the_clock
from tests.ray_nodes import parents, raylet_of, two_nodes
from tests.roles.short_runs import OVERRIDES, pack_faces

pytestmark = [against_the_clock, pytest.mark.slow, pytest.mark.timeout(300)]

SPREAD = '[place]\nnodes = 2\nprocs_per_node = 1\ncpus_per_proc = 1\nstrategy = "STRICT_SPREAD"\n'
SPACE = "train.optim.lr = { grid = [2e-3] }"
GRID = '[search]\nmethod = "grid"\n'


@pytest.fixture
def cluster(monkeypatch):
    """Its two nodes are there for trials alone."""
    with two_nodes(monkeypatch) as made:
        yield made


def both_roles(job):
    starts = job.starts()
    return starts if {start["role"] for start in starts} == {"student", "teacher"} else []


def test_a_trial_across_two_nodes_and_a_process_of_it_is_killed(sweep, cluster):
    job = sweep(GRID + SPREAD, SPACE, "--address", cluster.address, "train.steps=160")
    starts = job.wait_for(lambda: both_roles(job))
    raylets = {raylet_of(node) for node in cluster.spare}
    homes = [raylets & set(parents(start["pid"])) for start in starts]
    assert len(homes) == 2
    assert set.union(*homes) == raylets, "each role below the raylet of a node of its own"

    job.wait_for(
        lambda: job.last_step() >= 30
    )  # a step is told before its checkpoint is written, so 20 is safe
    os.kill(next(start["pid"] for start in starts if start["role"] == "student"), signal.SIGKILL)
    assert job.finish() == 0, job.output
    (trial,) = job.trials()
    assert (trial["status"], trial["failures"], trial["step"]) == ("done", 1, 160)
    assert [start["start"] >= 20 for start in job.starts("student")] == [False, True]
    assert_nothing_left(job.folder)


def test_trials_get_gpus_where_the_cluster_has_them_and_each_its_own(sweep, cluster):
    """The GPUs are Ray's word alone: a machine's settings are what trials see of them."""
    cluster.add_node(num_cpus=4, num_gpus=4, object_store_memory=80 * 1024 * 1024)
    job = sweep(
        GRID, "train.optim.lr = { grid = [2e-3, 2e-2] }", "--address", cluster.address, "train.steps=160"
    )
    assert job.finish() == 0, job.output
    assert "each 1 x {'CPU': 2.0, 'GPU': 2.0}" in job.output
    seen = {}
    for start in job.starts():
        seen.setdefault(start["run"], set()).add(start["CUDA_VISIBLE_DEVICES"])
    assert sorted(gpus for (gpus,) in seen.values()) == ["0,1", "2,3"]


def test_a_trial_whose_node_is_lost_goes_on_elsewhere(sweep, cluster):
    text = GRID + "[place]\nprocs_per_node = 2\ncpus_per_proc = 0.5\n"
    job = sweep(text, SPACE, "--address", cluster.address, "train.steps=160")
    starts = job.wait_for(lambda: both_roles(job))
    job.wait_for(
        lambda: job.last_step() >= 30
    )  # a step is told before its checkpoint is written, so 20 is safe
    lost = next(node for node in cluster.spare if raylet_of(node) in parents(starts[0]["pid"]))
    (other,) = (node for node in cluster.spare if node is not lost)
    before = len(job.starts("student"))
    cluster.remove_node(lost, allow_graceful=False)
    after = job.wait_for(lambda: job.starts("student")[before:])
    assert raylet_of(other) in parents(after[0]["pid"])
    assert after[0]["start"] >= 20
    assert job.finish() == 0, job.output
    assert [trial["status"] for trial in job.trials()] == ["done"]
    assert_nothing_left(job.folder)


def test_what_no_node_can_hold_is_refused(sweep, cluster):
    text = GRID + "[place]\nprocs_per_node = 2\ncpus_per_proc = 1\n"
    job = sweep(text, SPACE, "--address", cluster.address)
    assert job.finish() == 2, job.output
    assert "A trial needs 1 bundles of 2 CPUs" in job.output
    assert "place.cpus_per_proc" in job.output
    absent = sweep(text, SPACE, "--resume", "--address", "127.0.0.1:1")
    assert absent.finish() == 2, absent.output
    assert "There is no Ray cluster at --address 127.0.0.1:1" in absent.output


@pytest.mark.ranks
def test_real_training_across_two_nodes(sweep, cluster, tmp_path):
    faces = pack_faces(tmp_path / "faces")
    data = [
        f"data.labelled={faces.train}",
        f"data.unlabelled={faces.train}",
        f"data.validation={faces.held_out}",
    ]
    words = [word for word in OVERRIDES if "topology" not in word]
    words += ["runtime.log.evaluate_every=4", "runtime.deadlines.silent_s=40", "runtime.deadlines.group_s=50"]
    words += ["runtime.deadlines.shutdown_s=60", "runtime.deadlines.grace_s=80", *data]
    words += ["runtime.queue.on_starvation=wait"]  # a student may be done before its teacher has begun
    job = sweep(GRID + SPREAD, SPACE, "--address", cluster.address, "--module=tsal_dist.train", *words)
    assert job.finish(280) == 0, job.output
    (trial,) = job.trials()
    assert (trial["status"], trial["step"]) == ("done", 8)
    lines = [
        json.loads(text)
        for text in (Path(trial["run"]) / "metrics" / "student.jsonl").read_text().splitlines()
    ]
    assert [line["step"] for line in lines if "validation/nme" in line] == [4, 8]
    assert trial["best"] == min(line["validation/nme"] for line in lines if "validation/nme" in line)
    assert list((Path(trial["run"]) / "queue" / "labels").rglob("*.parquet")), "the teacher taught"
    assert_nothing_left(job.folder)
