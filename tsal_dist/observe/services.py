"""Tracking services that can be told of a run: Weights & Biases and MLflow, each as it wants to be told.

They get the settings and the numbers, and nothing else that names anybody: no code, no screen, no host. Where a service
lives and who may write there is its own package's affair (WANDB_API_KEY, MLFLOW_TRACKING_URI and their relatives).
Whatever goes wrong is raised: `forward` runs in a process of its own, which ends of it and is started again.
"""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from tsal_dist.address import is_secret, is_url, shown
from tsal_dist.json_object import flatten, read_object
from tsal_dist.run_dir import RunDir, write_new

LEAVE_S = 15
"""Time for what is still on its way when the role leaves."""
MOST_PARAMS, MOST_METRICS = 100, 1000
"""What MLflow takes at a time."""


@dataclass(frozen=True)
class Told:
    """What one line of metrics says."""

    step: int
    time_s: float
    numbers: Mapping[str, float]


@dataclass(frozen=True)
class Subject:
    """Whom a service is told about: one role of one run."""

    run_dir: RunDir
    role: str
    project: str

    @property
    def folder(self) -> Path:
        return self.run_dir.metrics(self.role).parent

    def read(self) -> tuple[str, str, dict[str, Any]]:
        """The id that it is told under, its name and its settings by dotted names, from run.json."""
        written = read_object(self.run_dir.run_json.read_bytes())
        config = written["config"]
        # A sweep's clone has the id of its source, which goes on as well.
        id_ = written.get("told_as", written["id"])
        return id_, config["run"]["name"] or self.run_dir.root.absolute().name, tellable(config)


class Service(Protocol):
    """One role's connection; it is there when this is built."""

    def tell(self, lines: Sequence[Told]) -> None:
        """Hand these over, in their order."""

    def leave(self, done: bool) -> None:
        """Nothing more comes for now; `done` where that is because the last step was reached."""


def tellable(config: Mapping[str, Any]) -> dict[str, Any]:
    """Settings by dotted names, without what may be a secret: methods of anybody's have settings of their own."""
    return {
        name: _plain(value)
        for name, value in flatten(config).items()
        if not any(map(is_secret, name.split(".")))
    }


def _plain(value: Any) -> Any:
    text = value if isinstance(value, str) or value is None else json.dumps(value)
    return shown(text) if text and is_url(text) else value if isinstance(value, (bool, int, float)) else text


class WandbService:
    """A W&B run for each role, in one group: W&B's own way for several processes. Its id is made of the run's, so a run
    that is resumed goes on in the same place."""

    def __init__(self, subject: Subject) -> None:
        import wandb

        id_, name, settings = subject.read()
        self._run = wandb.init(
            id=f"{id_}-{subject.role}",
            resume="allow",
            project=subject.project,
            group=f"{name}-{id_[:8]}",
            name=f"{name}-{subject.role}",
            job_type=subject.role,
            config=settings,
            allow_val_change=True,  # a resumed run may have more steps, or other limits
            dir=str(subject.folder),
            settings=wandb.Settings(
                silent=True,
                console="off",
                disable_git=True,
                disable_code=True,
                save_code=False,
                finish_timeout=LEAVE_S,
                host="",
                x_disable_meta=True,
                x_disable_machine_info=True,
                x_disable_stats=True,
                x_save_requirements=False,
            ),
        )
        # W&B's own counter only goes up, and refuses the steps that a resumed run repeats.
        self._run.define_metric("step", hidden=True)
        self._run.define_metric("*", step_metric="step")

    def tell(self, lines: Sequence[Told]) -> None:
        for line in lines:
            self._run.log({**line.numbers, "step": line.step})

    def leave(self, done: bool) -> None:
        self._run.finish(exit_code=0 if done else 1)


class MlflowService:
    """One MLflow run for both roles, whose names stand before their numbers. MLflow draws its id, which is kept in the
    run directory: whoever comes first writes it there."""

    def __init__(self, subject: Subject) -> None:
        from mlflow.tracking import MlflowClient

        self._client = MlflowClient()
        self._role = subject.role
        path = subject.run_dir.mlflow_json
        if not path.exists():
            drawn = self._create(subject)
            if not write_new(path, json.dumps({"id": drawn}).encode()):
                self._client.delete_run(drawn)  # the other role was first
        self._id = read_object(path.read_bytes())["id"]
        if self._role == "student":
            self._client.update_run(self._id, status="RUNNING")

    def _create(self, subject: Subject) -> str:
        from mlflow.entities import Param

        id_, name, settings = subject.read()
        run = self._client.create_run(
            self._experiment(subject.project), run_name=name, tags={"tsal_dist.run": id_}
        )
        params = [Param(key, str(value)) for key, value in settings.items()]
        for start in range(0, len(params), MOST_PARAMS):
            self._client.log_batch(run.info.run_id, params=params[start : start + MOST_PARAMS])
        return str(run.info.run_id)

    def _experiment(self, name: str) -> str:
        from mlflow.exceptions import MlflowException

        found = self._client.get_experiment_by_name(name)
        if found is None:
            try:
                return str(self._client.create_experiment(name))
            except MlflowException:
                found = self._client.get_experiment_by_name(name)
                if found is None:  # else the other role was first
                    raise
        return str(found.experiment_id)

    def tell(self, lines: Sequence[Told]) -> None:
        from mlflow.entities import Metric

        metrics = [
            Metric(self._key(name), value, round(line.time_s * 1000), line.step)
            for line in lines
            for name, value in line.numbers.items()
        ]
        for start in range(0, len(metrics), MOST_METRICS):
            self._client.log_batch(self._id, metrics=metrics[start : start + MOST_METRICS])

    def _key(self, name: str) -> str:
        """MLflow refuses other letters, and with one name the whole batch."""
        return f"{self._role}/{re.sub(r'[^a-zA-Z0-9_./ -]', '_', name)}"

    def leave(self, done: bool) -> None:
        if self._role == "student":  # the run is over when the student is
            self._client.set_terminated(self._id, "FINISHED" if done else "KILLED")


SERVICES: dict[str, Callable[[Subject], Service]] = {"wandb": WandbService, "mlflow": MlflowService}
