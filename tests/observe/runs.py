"""Run directories written by hand: what a look at the files should make of them is known."""

import json

from tsal_dist.config import RunConfig
from tsal_dist.observe.sinks import JsonlSink
from tsal_dist.run_dir import RunDir, write_whole

STUDENT = {
    "loss/total": 0.5,
    "speed/steps_per_s": 2.0,
    "speed/wait_share": 0.001,
    "queue/pending": 96.0,
    "queue/quarantined": 0.0,
    "staleness/steps": 12.0,
    "staleness/rho": 0.1,
    "unlabelled/peak_mean": 0.4,
}
TEACHER = {"gate/open": 1.0, "gate/teacher_nme": 0.05, "gate/student_nme": 0.06, "speed/parked_share": 0.2}


def write_run(folder, steps=50, total=100, student=STUDENT, teacher=TEACHER, **sections):
    """A run of two roles that has come so far; a line of metrics at every tenth step."""
    run = RunDir(folder)
    config = RunConfig.model_validate(
        {
            "run": {"name": "faces"},
            "train": {"steps": total, "burn_in_steps": 10},
            "data": {"labelled": ["there"]},
            **sections,
        }
    )
    write_whole(
        run.run_json,
        json.dumps({"id": "x", "version": "0", "config": config.model_dump(mode="json")}).encode(),
    )
    for role, numbers in (("student", student), ("teacher", teacher)):
        sink = JsonlSink(run.metrics(role))
        for step in range(10, steps + 1, 10):
            sink.write(step, numbers)
        sink.close()
        beat(run, role, seq=steps, step=steps)
    write_whole(run.checkpoints("student") / "step_40" / "COMMIT", b"{}")
    return run


def beat(run, role, seq, step, phase="train", rank=0, **more):
    text = {"incarnation": 1, "seq": seq, "phase": phase, "step": step, "host": "", **more}
    write_whole(run.beat(role, rank), json.dumps(text).encode())


def end(run, role, code=0, reason="the last step was reached"):
    write_whole(run.exit_note(role), json.dumps({"code": code, "reason": reason, "attempt": 0}).encode())
