"""Trials that share one teacher: students alone, taught by the label log of one run."""

import json
from pathlib import Path

import pytest

from tests.marks import against_the_clock
from tests.roles.short_runs import OVERRIDES, pack_faces, train
from tsal_dist.observe.sinks import read_metrics

pytestmark = [against_the_clock, pytest.mark.slow, pytest.mark.ranks, pytest.mark.timeout(300)]


def test_all_students_learn_from_the_labels_of_one_run(sweep, tmp_path):
    faces = pack_faces(tmp_path / "faces")
    taught = train(faces, tmp_path / "taught")
    before = {path: path.stat().st_mtime_ns for path in taught.rglob("*") if path.is_file()}
    text = f'shared_labels = "{taught}"\n[search]\nmethod = "grid"\n'
    data = [
        f"data.labelled={faces.train}",
        f"data.unlabelled={faces.train}",
        f"data.validation={faces.held_out}",
    ]
    words = [word for word in OVERRIDES if "topology" not in word]
    words += ["runtime.deadlines.silent_s=40", "runtime.deadlines.group_s=50"]
    words += [
        "runtime.deadlines.shutdown_s=60",
        "runtime.deadlines.grace_s=80",
        "runtime.log.evaluate_every=4",
        *data,
    ]
    space = "train.optim.lr = { grid = [1e-3, 3e-3] }"
    job = sweep(text, space, "--module=tsal_dist.train", *words)
    assert job.finish(280) == 0, job.output
    assert [(trial["status"], trial["step"]) for trial in job.trials()] == [("done", 8)] * 2
    for trial in job.trials():
        run = Path(trial["run"])
        assert not (run / "metrics/teacher.jsonl").exists(), "no trial has a teacher"
        assert json.loads((run / "run.json").read_text())["config"]["runtime"]["offline"] == [str(taught)]
        delivered = [line.get("queue/delivered", 0) for line in read_metrics(run / "metrics/student.jsonl")]
        assert max(delivered) > 0
    assert {path: path.stat().st_mtime_ns for path in taught.rglob("*") if path.is_file()} == before

    other = sweep("shared_labels = 'runs/none'\n" + '[search]\nmethod = "grid"\n', space, "--resume", *words)
    assert other.finish() == 2
    assert "sweep.shared_labels: runs/none holds no run.json" in other.output
