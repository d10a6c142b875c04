"""Weights & Biases and MLflow get a run's numbers, and cost it nothing when they cannot.

The packages are the real ones, told to stay on this machine.
"""

import fcntl
import json
import logging
import os
import signal
import subprocess
import sys
import time
from importlib.util import find_spec
from types import SimpleNamespace

import pytest

from tests.marks import against_the_clock
from tests.observe.services import ID, alive, make_run, wandb_records, wandb_rows
from tests.ranks import run_ranks
from tests.roles.short_runs import train_rank, words
from tsal_dist.config import load_config
from tsal_dist.config.runtime import LogConfig
from tsal_dist.errors import ConfigError, MissingExtra
from tsal_dist.observe import service_sink
from tsal_dist.observe.services import MlflowService
from tsal_dist.observe.sinks import open_sinks, read_metrics
from tsal_dist.run_dir import RunDir

SECRET = "a-secret-that-nobody-may-see"
WANDB, MLFLOW = LogConfig(wandb=True, project="faces"), LogConfig(mlflow=True, project="faces")
NOWHERE = f"http://somebody:{SECRET}@127.0.0.1:9"
"""Nobody listens there, and there is no network in between."""


def need(package, what):
    """Skip where it is not installed; importing it here would take seconds, and only its process needs it."""
    if find_spec(package) is None:
        pytest.skip(f"needs {what}")


@pytest.fixture
def offline(monkeypatch):
    """W&B, as far as it goes without a network."""
    need("wandb", "the extra `wandb`")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_API_KEY", SECRET * 2)


@pytest.fixture
def tracked(tmp_path, monkeypatch):
    """MLflow with a database of its own; what stands in it."""
    need("mlflow", "the extra `mlflow`")
    need("alembic", "what MLflow's own database needs: alembic, SQLAlchemy")
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")

    def look():
        code = (
            "import json; from mlflow.tracking import MlflowClient as C; c = C();"
            "e = c.get_experiment_by_name('faces');"
            "rs = c.search_runs([e.experiment_id], run_view_type=3) if e else [];"
            "print(json.dumps([dict(id=r.info.run_id, name=r.info.run_name, status=r.info.status, tags=r.data.tags,"
            "params=r.data.params, stage=r.info.lifecycle_stage, metrics={k: sorted([m.step, m.value] for m in"
            " c.get_metric_history(r.info.run_id, k)) for k in r.data.metrics}) for r in rs]))"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        return json.loads(done.stdout.splitlines()[-1])

    return look


@pytest.fixture(autouse=True)
def patient(monkeypatch):
    """Importing these packages takes long on a loaded machine, and here a role leaves at once."""
    monkeypatch.setattr(service_sink, "WAIT_S", 120.0)


def write(run_dir, role, chosen, *steps):
    sink = open_sinks(run_dir, role, chosen)
    for step in steps:
        sink.write(step, {"loss/total": step / 8, "not finite": float("nan")})
    sink.close()


def offline_file(run_dir, role):
    (file,) = run_dir.root.glob(f"metrics/wandb/offline-run-*/run-{ID}-{role}.wandb")
    return file


@pytest.mark.slow
def test_wandb_gets_a_run_for_each_role_in_one_group(tmp_path, offline, caplog):
    run_dir = make_run(tmp_path / "run", own={"api_key": SECRET})
    write(run_dir, "teacher", WANDB, 0, 20)
    write(run_dir, "student", WANDB, 20, 40)
    groups = set()
    for role, steps in (("teacher", [0, 20]), ("student", [20, 40])):
        records = wandb_records(offline_file(run_dir, role))
        (begun,) = [record.run for record in records if record.HasField("run")]
        assert (begun.run_id, begun.job_type, begun.project) == (f"{ID}-{role}", role, "faces")
        assert begun.host == ""
        assert begun.git.remote_url == ""
        groups.add(begun.run_group)
        settings = {item.key: json.loads(item.value_json) for item in begun.config.update}
        assert settings["train.steps"] == 40
        assert settings["runtime.queue.segment_rows"] == 256
        assert [(row["step"], row["loss/total"]) for row in wandb_rows(records)] == [
            (step, step / 8) for step in steps
        ]
        assert "not finite" not in wandb_rows(records)[0]
        assert [record.exit.exit_code for record in records if record.HasField("exit")] == [0]
    assert len(groups) == 1
    assert not caplog.records
    told = [path for path in (run_dir.root / "metrics").rglob("*") if path.is_file()]
    assert not [path for path in told if SECRET.encode() in path.read_bytes()]


@pytest.mark.slow
def test_wandb_goes_on_with_the_run_that_was_stopped(tmp_path, offline):
    run_dir = make_run(tmp_path / "run")
    write(run_dir, "student", WANDB, 10)
    first = offline_file(run_dir, "student")
    assert [r.exit.exit_code for r in wandb_records(first) if r.HasField("exit")] == [1], "not done"
    first.parent.rename(tmp_path / "first")  # W&B names its folders by the second
    write(run_dir, "student", WANDB, 10, 40)
    rows = wandb_rows(wandb_records(offline_file(run_dir, "student")))
    assert [row["step"] for row in rows] == [10, 40], "what a resumed run says again is not refused"


@pytest.mark.slow
def test_mlflow_gets_one_run_with_both_roles_and_goes_on_with_it(tmp_path, tracked, caplog):
    run_dir = make_run(tmp_path / "run", own={"api_key": SECRET, "long": "x" * 9000})
    write(run_dir, "teacher", MLFLOW, 0, 20)
    write(run_dir, "student", MLFLOW, 20)
    (run,) = tracked()
    assert run["status"] == "KILLED", "the last step was not reached"
    assert (run["name"], run["tags"]["tsal_dist.run"]) == ("demo", ID)
    assert run["params"]["train.steps"] == "40"
    assert len(run["params"]["method.own.long"]) == 6000
    assert SECRET not in json.dumps(run)
    assert run["metrics"] == {"teacher/loss/total": [[0, 0.0], [20, 2.5]], "student/loss/total": [[20, 2.5]]}
    write(run_dir, "student", MLFLOW, 40)
    (again,) = tracked()
    assert (again["id"], again["status"]) == (run["id"], "FINISHED")
    assert again["metrics"]["student/loss/total"] == [[20, 2.5], [40, 5.0]]
    assert not caplog.records


@against_the_clock
@pytest.mark.slow
def test_a_service_that_is_away_is_said_once_and_told_later(tmp_path, tracked, monkeypatch, caplog):
    there = os.environ["MLFLOW_TRACKING_URI"]
    monkeypatch.setattr(service_sink, "RETRY_S", 0.0)  # as often as it is looked at
    monkeypatch.setenv("MLFLOW_TRACKING_URI", NOWHERE)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    run_dir = make_run(tmp_path / "run")
    sink = open_sinks(run_dir, "student", MLFLOW)
    longest_s = 0.0
    for step in range(1, 30):
        begun = time.monotonic()
        sink.write(step, {"loss": 1.0})
        longest_s = max(longest_s, time.monotonic() - begun)
        time.sleep(0.3)
    sink.close()
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert "mlflow is not told of this run for now; the run goes on: MlflowException" in record.getMessage()
    assert SECRET not in record.getMessage() + run_dir.forwarding("mlflow", "student", "log").read_text()
    assert longest_s < 1, "a step waited for a service"
    assert len(read_metrics(run_dir.metrics("student"))) == 29

    monkeypatch.setenv("MLFLOW_TRACKING_URI", there)
    write(run_dir, "student", MLFLOW, 40)
    (run,) = tracked()
    assert [step for step, _ in run["metrics"]["student/loss"]] == list(range(1, 30))
    assert run["status"] == "FINISHED"


@pytest.mark.slow
def test_no_key_is_a_warning_with_the_way_out(tmp_path, offline, monkeypatch, caplog):
    monkeypatch.delenv("WANDB_API_KEY")
    monkeypatch.setenv("WANDB_MODE", "online")
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("HOME", str(tmp_path))  # where a login would be found
    write(make_run(tmp_path / "run"), "student", WANDB, 40)
    (record,) = caplog.records
    assert "No API key" in record.getMessage()
    assert "wandb login" in record.getMessage()


@against_the_clock
@pytest.mark.slow
@pytest.mark.ranks
def test_a_run_of_two_processes_is_told_while_both_write(tmp_path, faces, offline, tracked):
    assert tracked() == []  # the database is there before two processes could both make it
    chosen = ["runtime.log.wandb=true", "runtime.log.mlflow=true", "runtime.log.project=faces"]
    folder = tmp_path / "run"
    argv = words(faces, folder, "method.name=mean_teacher", "runtime.topology=split", *chosen)
    # Their own environment is that of whoever started their server, maybe before this test.
    env = {name: value for name, value in os.environ.items() if name.startswith(("WANDB_", "MLFLOW_"))}
    assert run_ranks(train_rank, 2, argv, group=False, env=env) == [0, 0]
    for lock in folder.glob("metrics/*.lock"):
        with open(lock, "wb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # each role has waited until all was told
    assert [path.read_text() for path in folder.glob("metrics/*-*.log")] == []
    (run,) = [run for run in tracked() if run["stage"] == "active"]
    assert run["status"] == "FINISHED"
    assert run["metrics"]["student/loss/total"]
    assert run["metrics"]["teacher/speed/labels_per_s"]
    for role in ("teacher", "student"):
        lines = [json.loads(text) for text in RunDir(folder).metrics(role).read_text().splitlines()]
        for name in ("speed/labels_per_s", "loss/total"):
            written = sorted([line["step"], line[name]] for line in lines if line.get(name) is not None)
            assert run["metrics"].get(f"{role}/{name}", []) == written
        (file,) = folder.glob(f"metrics/wandb/offline-run-*/run-*-{role}.wandb")
        assert [row["step"] for row in wandb_rows(wandb_records(file))] == [line["step"] for line in lines]


@pytest.fixture
def stand_in(tmp_path, monkeypatch):
    """Instead of the process that tells a service, one that does this."""

    def stand_in(code):
        (tmp_path / "python").write_text(f"#!/bin/sh\n{code}\n")
        (tmp_path / "python").chmod(0o700)
        monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
        monkeypatch.setattr(service_sink, "find_spec", lambda name: json.__spec__)

    return stand_in


def test_what_fails_while_the_role_leaves_is_tried_once_more(tmp_path, stand_in, caplog):
    # cat ends when the role leaves.
    stand_in(f"cat; mkdir {tmp_path}/first && exit 3; mkdir {tmp_path}/second")
    open_sinks(RunDir(tmp_path), "student", WANDB).close()
    assert (tmp_path / "second").is_dir()
    (record,) = caplog.records
    assert "its process ended with code 3" in record.getMessage()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # MLflow's own imports
def test_the_other_role_may_make_the_experiment_first():
    need("mlflow", "the extra `mlflow`")
    from mlflow.exceptions import MlflowException

    class Server:
        """There the experiment comes to be between a look and an attempt to make it."""

        made = False

        def get_experiment_by_name(self, name):
            return SimpleNamespace(experiment_id=7) if self.made else None

        def create_experiment(self, name):
            self.made = True
            raise MlflowException(f"Experiment {name} already exists")

    service = object.__new__(MlflowService)
    service._client = Server()
    assert service._experiment("faces") == "7"


def test_a_process_that_does_not_leave_is_ended(tmp_path, stand_in, monkeypatch, caplog):
    stand_in(f"echo $$ > {tmp_path}/pid; exec sleep 100")
    monkeypatch.setattr(service_sink, "WAIT_S", 0.5)
    sink = open_sinks(RunDir(tmp_path), "student", WANDB)
    sink.write(1, {})
    while not (tmp_path / "pid").exists():
        time.sleep(0.01)
    sink.close()
    assert not alive(int((tmp_path / "pid").read_text()))
    (record,) = caplog.records
    assert "did not take the rest within 0.5 s" in record.getMessage()


class Clock:
    """Time that passes when the test says so."""

    def __init__(self):
        self.seconds = 0.0

    def now_s(self):
        return self.seconds

    def sleep(self, seconds):
        self.seconds += seconds


def test_a_process_that_fails_is_started_again_each_time_later(tmp_path, stand_in, monkeypatch, caplog):
    clock = Clock()
    started = []
    popen = subprocess.Popen

    def start(*args, **kwargs):
        process = popen(*args, **kwargs)
        process.wait()
        started.append(clock.now_s())
        return process

    monkeypatch.setattr(service_sink.subprocess, "Popen", start)
    stand_in("exit 3")
    sink = service_sink.ServiceSink(RunDir(tmp_path), "student", "wandb", "faces", clock)
    for step in range(400):
        sink.write(step, {})
        clock.sleep(1)
    assert started == [0, 60, 61 + 120], "each time from when it was seen to have failed"
    sink.close()
    assert len(started) == 5, "the last chance for now, and one for what went wrong just then"
    (record,) = caplog.records
    assert "its process ended with code 3" in record.getMessage()


def test_no_process_can_be_started(tmp_path, stand_in, caplog):
    stand_in("exit 0")
    (tmp_path / "python").unlink()
    sink = open_sinks(RunDir(tmp_path), "student", MLFLOW)
    sink.write(1, {"loss": 0.5})
    sink.close()
    assert read_metrics(RunDir(tmp_path).metrics("student"))[0]["loss"] == 0.5
    (record,) = caplog.records
    assert "No such file" in record.getMessage()


@against_the_clock
@pytest.mark.slow
def test_what_a_role_wrote_before_it_was_killed_is_told(tmp_path, offline):
    run_dir = make_run(tmp_path / "run")
    code = (
        "import os, sys; from pathlib import Path; from tsal_dist.config.runtime import LogConfig;"
        "from tsal_dist.observe.sinks import open_sinks; from tsal_dist.run_dir import RunDir;"
        "sink = open_sinks(RunDir(Path(sys.argv[1])), 'student', LogConfig(wandb=True));"
        "sink.write(10, {'loss': 0.5}); os.kill(os.getpid(), 9)"
    )
    killed = subprocess.run([sys.executable, "-c", code, str(run_dir.root)], check=False, timeout=60)
    assert killed.returncode == -signal.SIGKILL
    note = run_dir.forwarding("wandb", "student", "json")
    deadline = time.monotonic() + 60
    while not note.exists():
        assert time.monotonic() < deadline, "nobody told it"
        time.sleep(0.1)
    write(run_dir, "student", LogConfig(), 20)  # waits for nobody
    write(run_dir, "student", WANDB, 40)  # waits until the process before has left
    steps = [
        row["step"]
        for file in run_dir.root.glob("metrics/wandb/offline-run-*/*.wandb")
        for row in wandb_rows(wandb_records(file))
    ]
    assert sorted(steps) == [10, 20, 40]


@pytest.mark.parametrize("service", ["wandb", "mlflow"])
def test_without_the_package_the_extra_is_named(tmp_path, monkeypatch, service):
    monkeypatch.setitem(sys.modules, service, None)
    with pytest.raises(MissingExtra, match=rf"runtime.log.{service} needs .* 'tsal_dist\[{service}\]'"):
        open_sinks(RunDir(tmp_path), "student", LogConfig(**{service: True}))


def test_a_folder_of_the_name_is_not_the_package(tmp_path, monkeypatch):
    """W&B leaves a folder `wandb` where it was started, which Python takes for a package."""
    (tmp_path / "wandb").mkdir()
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    monkeypatch.delitem(sys.modules, "wandb", raising=False)
    with pytest.raises(MissingExtra):
        open_sinks(RunDir(tmp_path), "student", WANDB)


def test_nobody_is_told_unless_that_was_chosen(tmp_path, monkeypatch):
    monkeypatch.setattr(service_sink.subprocess, "Popen", None)
    write(RunDir(tmp_path), "student", load_config([], []).runtime.log, 1, 2)
    assert [path.name for path in (tmp_path / "metrics").iterdir()] == ["student.jsonl"]


@pytest.mark.parametrize("name", ["", "a/b", "a b", "x" * 129])
def test_a_project_that_a_service_would_refuse_is_refused_at_once(name):
    with pytest.raises(ConfigError, match="runtime.log.project"):
        load_config([], [f"runtime.log.project={name}"])
