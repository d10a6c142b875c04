"""Short runs of the method on trial, on synthetic faces: in processes of their own, as a launcher starts them."""

import multiprocessing
import os
import runpy
import sys
import time
from collections.abc import Mapping, Sequence
from functools import cached_property
from itertools import starmap
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import nn

from tsal_dist.config import RunConfig, load_config
from tsal_dist.config.load import to_override
from tsal_dist.dist.environment import take_seat
from tsal_dist.dist.local_store import seat, serve_store
from tsal_dist.dist.parent_death import die_with_parent
from tsal_dist.models.detectors import build_detector
from tsal_dist.pack.execute import pack
from tsal_dist.pack.gather import gather_inputs
from tsal_dist.pack.packing_plan import PackOptions, build_plan
from tsal_dist.pack.video_facts import probe
from tsal_dist.recipes.conformance.sameness import saved
from tsal_dist.recipes.conformance.trial import A_RUN, Trial
from tsal_dist.synthetic.dataset import DatasetSpec, write_dataset

STEPS, BURN_IN_STEPS, SAVE_EVERY = 12, 2, 4
SEED = 2
LIMIT_S = 120.0
"""By when a run has ended: it takes seconds."""
SETTINGS = (
    "model.detector=lite",
    "model.crop_px=32",
    "data.workers=0",
    f"train.steps={STEPS}",
    f"train.burn_in_steps={BURN_IN_STEPS}",
    "train.labelled_batch=4",
    "train.unlabelled_batch=8",
    f"train.seed={SEED}",
    "train.loss.sigma_px=3.0",
    "train.optim.warmup_steps=2",
    "train.gate.enabled=false",
    "train.loss.headroom=false",
    "runtime.topology=inline",
    "runtime.queue.segment_rows=8",
    "runtime.weights.publish_every=2",
    f"runtime.checkpoint.every={SAVE_EVERY}",
    "runtime.log.every=1",
    f"runtime.log.evaluate_every={STEPS}",
    "runtime.deadlines.silent_s=15",
)
"""A teacher that labels from the end of burn-in on, and all of the upkeep at least once."""
SCHOOL = (
    "method.name=supervised",
    "train.steps=200",
    "train.burn_in_steps=0",
    "train.labelled_batch=8",
    "runtime.checkpoint.every=200",
    "runtime.log.evaluate_every=200",
)
"""Until the maps have peaks: a method that wants some height of them would label nothing in a short run from random weights."""
TRAIN = ("tsal_dist.train",)
SERVER = multiprocessing.get_context("forkserver")
"""Has imported what every run imports, which takes longer than a short run: processes fork from it."""
SERVER.set_forkserver_preload(["tsal_dist.runs.process", "torch._dynamo"])


class World:
    """What all methods on trial share: packed faces, and a detector that has seen some of them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @cached_property
    def data(self) -> tuple[str, ...]:
        """Settings that name the shards. No video is in two of them, and none of the unlabelled frames has a label."""
        raw = self.folder / "raw"
        write_dataset(
            raw, DatasetSpec(videos=6, frames=8, size_px=80, seed=1, labelled=1.0, test_share=1 / 3)
        )
        lines = (raw / "train.lst").read_text().splitlines()
        videos = sorted({line.partition("#")[0] for line in lines})
        taught = [line for line in lines if line.partition("#")[0] in videos[:2]]
        (raw / "labelled.lst").write_text("\n".join(taught) + "\n")
        (raw / "unlabelled.lst").write_text("\n".join(line for line in lines if line not in taught) + "\n")
        made = {}
        for split, name in (("labelled", "labelled"), ("unlabelled", "unlabelled"), ("test", "validation")):
            inputs = gather_inputs([raw / f"{split}.lst"], [])
            options = PackOptions(split=name, shard_frames=16)
            made[name] = self.folder / name
            pack(build_plan(inputs, [probe(one) for one in inputs], options), str(made[name]), workers=1)
        return tuple(to_override(f"data.{name}", str(place)) for name, place in made.items())

    @cached_property
    def school(self) -> Path:
        """A run of labels alone."""
        folder = self.folder / "school"
        start([[*TRAIN, *SETTINGS, *self.data, *SCHOOL, to_override("run.dir", str(folder))]], folder)
        return folder

    @cached_property
    def schooled(self) -> Path:
        """The weights that it came to."""
        path = self.folder / "schooled.safetensors"
        save_file(saved(self.school, "student")["engine"]["weights"], path)
        return path


class ShortRuns:
    """The runs of one method. `straight` is the one that others are compared with, made when it is first asked for."""

    def __init__(self, trial: Trial, world: World) -> None:
        self.trial = trial
        self._world = world
        self._folder = world.folder / f"runs-of-{trial.name.replace('/', '_')}"

    @cached_property
    def straight(self) -> Path:
        return self.train("straight")

    @cached_property
    def config(self) -> RunConfig:
        return load_config([], list(self.words("straight")))

    def folder(self, name: str) -> Path:
        return self._folder / name

    def train(self, name: str, *more: str, world: int = 1, flags: Sequence[str] = ()) -> Path:
        """A whole run of `world` processes; its folder."""
        command = [*TRAIN, *flags, *self.words(name, *more)]
        start([command] * world, self.folder(name), together=world > 1)
        return self.folder(name)

    def words(self, name: str, *more: str) -> tuple[str, ...]:
        """The settings of a run, as a command line has them."""
        given: dict[str, Any] = {"method.name": self.trial.name, "run.dir": str(self.folder(name))}
        for key, value in self.trial.needed.items():
            given[f"method.{key}"] = str(self._world.school) if value == A_RUN else value
        if not self._builds_several_nets:
            given["model.weights"] = str(self._world.schooled)
        return (*SETTINGS, *self._world.data, *starmap(to_override, given.items()), *more)

    @cached_property
    def _builds_several_nets(self) -> bool:
        """Of which all would begin with the weights of one file, and twins that begin alike stay alike."""
        made: list[nn.Module] = []

        def make() -> nn.Module:
            made.append(build_detector("lite", self.trial.task.points))
            return made[-1]

        self.trial.recipe().student.build(make)
        return len(made) > 1


def start(
    commands: Sequence[Sequence[str]],
    folder: Path,
    together: bool = False,
    codes: Sequence[int] | None = None,
) -> str:
    """Start a process for each of `commands`, a module and its words, wait for all, and hold them to their exit codes, 0
    unless told; what they said. `together` makes them the ranks of one launch.

    The first one that ends otherwise ends all.
    """
    wanted = list(codes or [0] * len(commands))
    folder.parent.mkdir(parents=True, exist_ok=True)
    said = folder.with_name(f"{folder.name}.out")
    store = serve_store() if together else None
    processes = [
        _start_one(command, seat(rank, len(commands), store.port) if store else {}, said)
        for rank, command in enumerate(commands)
    ]
    deadline = time.monotonic() + LIMIT_S
    try:
        while any(process.exitcode is None for process in processes):
            odd = [
                one for one, code in zip(processes, wanted, strict=True) if one.exitcode not in (None, code)
            ]
            if odd or time.monotonic() > deadline:
                break
            time.sleep(0.02)
        ended = [process.exitcode for process in processes]
    finally:
        for process in processes:
            process.kill()
            process.join()
    words = said.read_text(errors="replace")
    assert ended == wanted, (
        f"exit codes {ended} instead of {wanted} (None: not ended in time):\n{words[-3000:]}"
    )
    return words


def _start_one(command: Sequence[str], told: Mapping[str, str], said: Path) -> BaseProcess:
    process = SERVER.Process(target=_be, args=(command, {"OMP_NUM_THREADS": "1", **told}, said))
    process.start()
    return process


def _be(command: Sequence[str], told: Mapping[str, str], said: Path) -> None:
    """What `python -m` of these words is. The server ends with whoever asked for runs, and its runs with it."""
    die_with_parent()
    with open(said, "ab") as out:
        for stream in (1, 2):
            os.dup2(out.fileno(), stream)
    take_seat(told)
    torch.set_num_threads(1)  # the server imported torch before it could be told by the variable
    sys.argv = list(command)
    runpy.run_module(command[0], run_name="__main__", alter_sys=True)
