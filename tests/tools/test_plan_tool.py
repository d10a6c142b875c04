"""The plan tool: its arithmetic is tested with the loops; here what it says, and once that it measures."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.roles.short_runs import OVERRIDES, pack_faces
from tools.plan import main
from tsal_dist.config import load_config
from tsal_dist.errors import ConfigError
from tsal_dist.run import open_run

DEMO = "--config=configs/demo.toml"
ROOT = Path(__file__).parents[2]


def plan(capsys, *argv):
    assert main([DEMO, *argv, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_it_advises_to_stay_synchronous_where_nothing_is_gained(capsys):
    page = plan(capsys, "--procs", "4", "--costs", "30", "10", "runtime.queue.max_reuse=1")
    assert page["advice"] == "synchronous"
    assert page["options"][0]["gain"] == pytest.approx(1)
    assert page["costs"] == {"student_s": 0.03, "teacher_s": 0.01, "lone": None}
    assert main([DEMO, "--procs", "4", "--costs", "30", "10", "runtime.queue.max_reuse=1"]) == 0
    assert "Stay synchronous" in capsys.readouterr().out


def test_it_advises_a_split_by_the_reuse_of_the_config(capsys):
    page = plan(capsys, "--procs", "4", "--costs", "10", "60", "runtime.queue.max_reuse=6")
    assert [option["reuse"] for option in page["options"]] == [1, 2, 4, 6, 8]
    assert page["advice"] == {"students": 2, "teachers": 2, "shared": False}
    # A student that waits for fresh labels uses none twice, whatever max_reuse says.
    waiting = ["runtime.queue.on_starvation=wait", "runtime.queue.max_reuse=6"]
    assert plan(capsys, "--procs", "4", "--costs", "10", "60", *waiting)["advice"] == "synchronous"
    assert main([DEMO, "--procs", "4", "--costs", "10", "60", "runtime.queue.max_reuse=6"]) == 0
    assert "Split: 2 teachers + 2 students" in capsys.readouterr().out


def test_a_slow_machine_is_better_as_a_teacher(capsys):
    even = ["--procs", "2", "--costs", "30", "10", "runtime.queue.max_reuse=1"]
    assert plan(capsys, *even)["advice"] == "synchronous"
    page = plan(capsys, *even, "--slow", "2", "--cv", ".3")
    assert page["luck"] == {"cv": 0.3, "slow": 2.0}
    assert page["advice"] == {"students": 1, "teachers": 1, "shared": False}


def test_the_keep_rate_is_a_runs_or_assumed(capsys, tmp_path):
    folder = open_run(load_config([], [f"run.dir={tmp_path}"]), "new").dir.root / "metrics"
    folder.mkdir()
    line = {"step": 9, "time": 1.0, "queue/delivered": 30.0, "queue/trimmed": 10.0}
    (folder / "student.jsonl").write_text(json.dumps(line) + "\n")
    words = ["--procs", "4", "--costs", "10", "60"]
    of_run = plan(capsys, *words, "--run", str(tmp_path))
    assert of_run["keep"] == 0.75
    assert of_run["options"] == plan(capsys, *words, "--keep", ".75")["options"]
    assert of_run["options"][0]["clips_per_s"] < plan(capsys, *words)["options"][0]["clips_per_s"]
    with pytest.raises(ConfigError, match="--slow at least 1"):
        main([DEMO, *words, "--slow", ".5"])


def test_a_keep_rate_of_no_run_is_said_to_be_so(tmp_path):
    with pytest.raises(ConfigError, match=r"nope holds no run\.json, so it is not a run\. Name the folder"):
        main([DEMO, "--procs", "4", "--costs", "10", "60", "--run", str(tmp_path / "nope")])


def test_a_method_without_a_teacher_is_not_split_by_costs_that_were_given():
    with pytest.raises(ConfigError, match="method.name=supervised has no teacher here"):
        main([DEMO, "--procs", "4", "--costs", "10", "60", "method.name=supervised"])


@pytest.mark.slow
def test_it_measures_a_config(tmp_path):
    faces = pack_faces(tmp_path)
    words = [word for word in OVERRIDES if not word.startswith(("train.steps", "runtime.topology"))]
    words += [f"data.labelled={faces.train}", f"data.unlabelled={faces.train}"]

    def measure(*more):
        command = [sys.executable, "tools/plan.py", "--procs", "2", "--seconds", "1", "--json", *words, *more]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=240)

    done = measure()
    assert done.returncode == 0, done.stderr
    page = json.loads(done.stdout)
    assert 0 < page["costs"]["teacher_s"] < 5
    assert 0 < page["costs"]["student_s"] < 5
    assert page["costs"]["lone"].keys() == {"student_s", "teacher_s", "lone"}
    assert page["costs"]["lone"]["student_s"] != page["costs"]["student_s"]
    assert page["system"]["commit"]
