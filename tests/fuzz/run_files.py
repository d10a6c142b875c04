"""Targets: the files that the roles leave for each other, and those a person reads a run from."""

import json
from dataclasses import asdict
from pathlib import Path

import torch
from safetensors.torch import save_file

from tests.fuzz.target import Target
from tsal_dist.checkpoint.store import Checkpoints
from tsal_dist.config import RunConfig, load_config
from tsal_dist.insight.status import Watcher
from tsal_dist.models.pretrained import load_pretrained
from tsal_dist.observe.sinks import read_metrics
from tsal_dist.pseudo.step_plan import Plan, RowRange, load_plans
from tsal_dist.run import load_run
from tsal_dist.run_dir import COMMIT
from tsal_dist.weights.fetch import WeightReader
from tsal_dist.weights.format import META, MODEL, save_version, version_folder

NAMES = (
    "toml",
    "override",
    "run.json",
    "status run.json",
    "status metrics",
    "status plans",
    "status beat",
    "status note",
    "metrics",
    "plan log",
    "weights meta.json",
    "weights model.safetensors",
    "pretrained safetensors",
    "pretrained torch",
    "checkpoint COMMIT",
    "checkpoint SCORE",
    "checkpoint role.json",
    "checkpoint role.safetensors",
)
PLAN = Plan(7, 7, ((RowRange("teacher-r0000-000001", 3, 0, 8, 1, 5, 999, 12345),),), 2, {"stale": 3})
TOML = b'[method]\nname = "tsal"\n\n[train]\nsteps = 50000\n\n[train.optim]\nlr = 2e-3\n\n[data]\nlabelled = ["a", "b"]\n'


def targets(folder: Path) -> list[Target]:
    (folder / "run").mkdir()
    run = _run(folder / "run")
    metrics = b'{"step": 2, "time": 1.5, "loss/total": 0.5}\n{"step": 4, "time": 2.5, "loss/total": null}\n'
    plans = json.dumps(PLAN.to_json()).encode() + b"\n"
    config = load_config([], ["train.steps=50000", "train.optim.lr=2e-3", 'data.labelled=["a","b"]'])
    config = config.model_copy(update={"run": config.run.model_copy(update={"name": "some"})})
    note = json.dumps({"code": 75, "reason": "SIGTERM", "attempt": 0}).encode()
    beat = json.dumps({"incarnation": 1, "seq": 9, "phase": "train", "step": 4, "host": "h"}).encode()
    return [
        Target("toml", TOML, config, _toml(folder / "some.toml"), "", check=_check_config),
        Target("override", b"train.optim.lr=2e-3", 2e-3, _override, "", check=_check_lr),
        Target("run.json", run.run_json.read_bytes(), RunConfig(), _run_json(folder / "a"), "run.json"),
        Target("status run.json", run.run_json.read_bytes(), 0, _status(run, run.run_json), "run.json"),
        Target("status metrics", metrics, 4, _status(run, run.metrics("student")), ""),
        Target("status plans", plans, 0, _status(run, run.metrics("plan")), ""),
        Target("status beat", beat, 4, _status(run, run.beat("student", 0)), ""),
        Target("status note", note, 0, _status(run, run.exit_note("student")), ""),
        Target("metrics", metrics, [json.loads(line) for line in metrics.splitlines()], _metrics(folder), ""),
        Target("plan log", plans, [PLAN], _plans(folder / "plan.jsonl"), "plan.jsonl", check=_check_plans),
        *_weights(folder / "weights"),
        *_pretrained(folder),
        *_checkpoint(folder / "checkpoints"),
    ]


def _toml(path):
    def parse(data):
        path.write_bytes(data)
        return load_config([path])

    return parse


def _override(data):
    return load_config([], [data.decode("utf-8", "surrogateescape")]).train.optim.lr


def _check_lr(lr):
    assert 0 < lr < float("inf")


def _check_config(config):
    assert load_config([]).model_copy(update=dict(config)) == config
    json.dumps(config.model_dump(mode="json"), allow_nan=False)


def _run(folder):
    from tsal_dist.config.load import override
    from tsal_dist.run import open_run

    return open_run(override(RunConfig(), f"run.dir={folder}"), "resume").dir


def _run_json(folder):
    folder.mkdir()

    def parse(data):
        (folder / "run.json").write_bytes(data)
        config = load_run(folder).config
        return config.model_copy(update={"run": RunConfig().run})

    return parse


def _status(run, path):
    """`tools/status.py` beside one damaged file; the step it reports."""

    def parse(data):
        before = path.read_bytes() if path.exists() else None
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        try:
            status = Watcher(run, sleep=lambda _: None).look_twice()
            json.dumps(status.to_json(), allow_nan=False)
            assert status.rows()
            return status.snapshot.step
        finally:
            path.unlink() if before is None else path.write_bytes(before)

    return parse


def _metrics(folder):
    def parse(data):
        (folder / "student.jsonl").write_bytes(data)
        return read_metrics(folder / "student.jsonl")

    return parse


def _plans(path):
    def parse(data):
        path.write_bytes(data)
        return load_plans(path)

    return parse


def _check_plans(plans):
    steps = [plan.step for plan in plans]
    assert steps == sorted(set(steps))
    for plan in plans:
        assert all(0 <= part.start <= part.stop for part in plan.ranges())
        assert plan.rows_per_rank >= 0


def _weights(folder):
    """A version's two files: each damaged on its own."""
    tensors = {"a": torch.arange(6.0).reshape(2, 3), "n": torch.tensor(3)}
    version = save_version(folder, 12, tensors, "tsal", 0.25)
    truth = asdict(version), {name: value.tolist() for name, value in tensors.items()}

    def read():
        fetched = WeightReader(folder).fetch(12)
        if fetched is None:
            return None
        return asdict(fetched.version), {name: value.tolist() for name, value in fetched.tensors.items()}

    place = version_folder(folder, 12)
    files = {name: _swap(path, read) for name, path in _named(place / META, place / MODEL)}
    return [
        Target(f"weights {name}", whole, truth, parse, "weights", sealed=name == MODEL)
        for name, (whole, parse) in files.items()
    ]


def _pretrained(folder):
    """Weights from anywhere, as `model.weights` names them."""
    model = torch.nn.Linear(2, 2)
    state = {"weight": torch.arange(4.0).reshape(2, 2), "bias": torch.ones(2)}
    made = []
    for name, save in (("safetensors", save_file), ("torch", torch.save)):
        path = folder / ("w.safetensors" if name == "safetensors" else "w.pt")
        save(state, path)

        def parse(data, path=path):
            path.write_bytes(data)
            load_pretrained(model, path, ("weight", "bias"))
            return sorted(model.state_dict())

        made.append(Target(f"pretrained {name}", path.read_bytes(), ["bias", "weight"], parse, path.name))
    return made


def _checkpoint(folder):
    checkpoints = Checkpoints(folder, {"recipe": "tsal"}, keep=2)
    state = {"step": 3, "weights": torch.arange(4.0), "plan": [1, (2, 3)], "best": float("inf")}
    place = checkpoints.save(3, state, {"rng": torch.arange(2)})
    checkpoints.record_score(3, 0.5)

    def read():
        again = Checkpoints(folder, {"recipe": "tsal"}, keep=2)
        best = again.best()
        loaded = again.load(again.latest_committed() or 3)
        return best, loaded.step, {**loaded.state, "weights": loaded.state["weights"].tolist()}

    truth = 3, 3, {**state, "weights": state["weights"].tolist()}
    paths = (place / COMMIT, place / "SCORE", place / "role.json", place / "role.safetensors")
    files = {name: _swap(path, read) for name, path in _named(*paths)}
    return [
        Target(f"checkpoint {name}", whole, truth, parse, "step_3", sealed=name.startswith("role"))
        for name, (whole, parse) in files.items()
    ]


def _named(*paths):
    return [(path.name, path) for path in paths]


def _swap(path, read):
    """The file's bytes, and what `read` finds with others in their place."""
    whole = path.read_bytes()

    def parse(data):
        path.write_bytes(data)
        try:
            return read()
        finally:
            path.write_bytes(whole)

    return whole, parse
