"""Where metrics go: a JSONL file always, elsewhere when asked; another place is another `write` and `close`."""

import json
import logging
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from tsal_dist.config.runtime import LogConfig
from tsal_dist.errors import MissingExtra
from tsal_dist.exchange.lines import Lines
from tsal_dist.json_object import if_finite, read_object
from tsal_dist.observe.service_sink import ServiceSink
from tsal_dist.run_dir import RunDir, plainly

log = logging.getLogger(__name__)

Numbers = Mapping[str, float]


class Sink(Protocol):
    """Takes the numbers of a step. One process writes to a sink: rank 0 of a role."""

    def write(self, step: int, numbers: Numbers) -> None:
        """Record `numbers` as of `step`; names are in METRICS.md."""

    def close(self) -> None:
        """Put everything on disk."""


def open_sinks(run_dir: RunDir, role: str, chosen: LogConfig | None = None) -> Sink:
    """The sinks of one role's run, as one: the file, and those that were chosen."""
    chosen = chosen or LogConfig()
    sinks: list[Sink] = []
    if chosen.tensorboard:
        sinks.append(TensorBoardSink(run_dir.tensorboard(role)))
    sinks.append(JsonlSink(run_dir.metrics(role)))
    # After the file's, in which services find their numbers.
    if chosen.wandb:
        sinks.append(ServiceSink(run_dir, role, "wandb", chosen.project))
    if chosen.mlflow:
        sinks.append(ServiceSink(run_dir, role, "mlflow", chosen.project))
    return AllSinks(sinks)


class AllSinks:
    """Several sinks as one."""

    def __init__(self, sinks: list[Sink]) -> None:
        self._sinks = sinks

    def write(self, step: int, numbers: Numbers) -> None:
        for sink in self._sinks:
            sink.write(step, numbers)

    def close(self) -> None:
        for sink in self._sinks:
            sink.close()


class JsonlSink:
    """One line per write, readable while the run goes on and after any crash; see `read_metrics`."""

    def __init__(self, path: Path) -> None:
        self._lines = Lines(path)

    def write(self, step: int, numbers: Numbers) -> None:
        line: dict[str, Any] = {"step": step, "time": round(time.time(), 3)}
        line |= {name: if_finite(value) for name, value in numbers.items()}
        self._lines.append(json.dumps(line, allow_nan=False).encode())

    def close(self) -> None:
        self._lines.close()


class TensorBoardSink:
    """TensorBoard events, for those who like to watch."""

    def __init__(self, folder: Path) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            raise MissingExtra("tensorboard", "report", "runtime.log.tensorboard") from None
        self._writer = SummaryWriter(str(folder))
        self._broken = False

    def write(self, step: int, numbers: Numbers) -> None:
        if self._broken:
            return
        try:
            for name, value in numbers.items():
                self._writer.add_scalar(name, value, step)
        except OSError as error:  # a full disk, which its own thread met: that writes no more
            self._broken = True
            log.warning(
                "TensorBoard is told no more in this attempt (%s); every number is in metrics/.", error
            )

    def close(self) -> None:
        try:
            self._writer.close()
        except OSError as error:
            log.warning("TensorBoard's last events are missing: %s", error)


def read_metrics(path: Path, last_bytes: int = 0) -> list[dict[str, Any]]:
    """The lines of a JSONL sink that belong to the surviving history, oldest first; the last ones if asked so.

    A run that was killed and resumed repeats steps: what an abandoned attempt said about them is left out, and
    so is a line that is torn or was never written by a sink. Training and validation may speak of one step, but nobody says the same number twice.
    """
    lines: list[dict[str, Any]] = []
    if not path.exists():
        return lines
    with plainly("read", path), open(path, "rb") as file:
        if last_bytes and path.stat().st_size > last_bytes:
            file.seek(-last_bytes, os.SEEK_END)
            file.readline()  # most likely cut in two
        texts = file.read().split(b"\n")
    for text in texts:
        try:
            line = read_object(text)
        except ValueError:
            continue
        if type(line.get("step")) is not int:
            continue
        if lines and (line["step"] < lines[-1]["step"] or _says_again(line, lines)):
            lines = [old for old in lines if old["step"] < line["step"]]
        lines.append(line)
    return lines


def _says_again(line: dict[str, Any], lines: list[dict[str, Any]]) -> bool:
    said: set[str] = set()
    for old in reversed(lines):
        if old["step"] != line["step"]:
            break
        said |= old.keys()
    return bool(said & line.keys() - {"step", "time"})
