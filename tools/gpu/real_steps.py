"""The student's own step of a method, on data that lies at hand: what a run takes again and again, without a run around it.

Everything between a batch's arrival and the average's move is the run's: views on the device, targets, what is usual, mixes,
terms, sums, the engine. What would arrive from shards and from a teacher's queue is made beforehand.
"""

import warnings
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import repeat
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import torch
from torch.profiler import ProfilerActivity, profile

from tsal_dist.config import load_config
from tsal_dist.config.runtime import NumericsConfig
from tsal_dist.data.stream import ClipStream
from tsal_dist.engine.choose import build_engine
from tsal_dist.engine.numerics import set_numerics
from tsal_dist.metrics.gauge import CollapseGauge
from tsal_dist.pseudo.step_plan import Plan, RowRange
from tsal_dist.recipes.averaging import StepAverage
from tsal_dist.recipes.conformance.trial import CLIPS, CROP_PX, FRAMES, POINTS, WATCHED, Trial, watch
from tsal_dist.recipes.find import PACKAGED
from tsal_dist.records import Clip
from tsal_dist.roles.batches import enter_view
from tsal_dist.roles.label_feed import Delivered, LabelFeed
from tsal_dist.roles.student import Student

SETTLING = 3
"""Steps in which memory is taken and algorithms are chosen, before any is looked at."""
LOOKED_AT = 4
NEVER = 10**6
MORE: tuple[tuple[str, Mapping[str, Any]], ...] = (
    ("calibrated", {"weigh": "softmatch"}),
    ("calibrated", {"weigh": "freematch"}),
)
MIXING = ("companions", "multiaugs", "teacher_reviewer_student")
"""They look at targets on the host, to draw what they cover."""
WAITED = "synchronizing CUDA operation"
"""What torch says of each."""


class _Labels:
    """A feed of one delivery, brought to the device anew for each step as a run does."""

    unreadable = 0
    consumer = SimpleNamespace(damaged=[])

    def __init__(self, trial: Trial, device: torch.device) -> None:
        self._trial, self._device = trial, device
        self._sources = [source.name for source in trial.recipe().sources]

    def take(self, plan: Plan) -> Delivered:
        rows, count = self._trial.rows, len(self._trial.rows)
        fresh_N = np.ones(count, np.float32)
        pseudo = enter_view(rows, self._trial.clips, self._sources, fresh_N, self._device)
        return Delivered(pseudo, rows, np.zeros(count, np.int64), np.ones(count, np.int64))


def build_student(name: str, settings: Mapping[str, Any], device: torch.device) -> Student:
    """A student that has seen so many labels that its method has made up its mind of what is usual."""
    trial = Trial(name, settings)
    recipe = trial.recipe()
    watch(recipe, trial.pseudo().evidence, WATCHED)
    config = load_config(
        [],
        [
            f"method.name={name}", "run.dir=none", "data.labelled=none", "data.unlabelled=none",
            f"train.steps={NEVER}", "train.burn_in_steps=0", "train.loss.ramp_up=0",
            f"runtime.log.every={NEVER}", f"runtime.checkpoint.every={NEVER}",
        ],
    )  # fmt: skip
    model = trial.student(recipe)
    engine = build_engine(model, config.runtime.student, config.train.optim, NEVER, device)
    return Student(
        config=config,
        recipe=recipe,
        rank=0,
        world=1,
        engine=engine,
        task=trial.task,
        stream=cast(ClipStream, repeat([_labelled(clip) for clip in trial.clips])),
        average=StepAverage(engine.model, config.train.average),
        gauge=CollapseGauge(),
        feed=cast(LabelFeed, _Labels(trial, device)),
        planner=None,
    )


def take_step(student: Student) -> None:
    """One step on labels and on the clips that its plan gives it."""
    step = student.step_number
    rows = RowRange("made", 0, 0, CLIPS * FRAMES, use=1, teacher_step=0, size=0, digest=0)
    student.coming[step] = Plan(step, step, ((rows,),))
    student.step()


def find_waits(student: Student, on_gpu: bool) -> Counter[str]:
    """How often some steps waited for the device, by the line that asked. Nobody waits for a CPU."""
    for _ in range(SETTLING):
        take_step(student)
    if not on_gpu:
        take_step(student)
        return Counter()
    torch.cuda.synchronize()
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")
        try:
            for _ in range(LOOKED_AT):
                take_step(student)
        finally:
            torch.cuda.set_sync_debug_mode("default")
    waits = Counter(f"{Path(one.filename).name}:{one.lineno}" for one in told if WAITED in str(one.message))
    return waits + Counter({"a copy out of memory that is not pinned": _unpinned_copies(student)})


def _unpinned_copies(student: Student) -> int:
    """How many the same steps have: torch calls them no waits where it was told not to wait, and the driver waits."""
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if torch.cuda.is_available() else [])]
    with profile(activities=activities) as seen:
        for _ in range(LOOKED_AT):
            take_step(student)
    return sum(event.count for event in seen.key_averages() if "Pageable -> Device" in event.key)


def step_rows(device: torch.device) -> Iterator[tuple[str, str, str]]:
    """For every method of this package what is looked at, what was found, what is aimed at."""
    set_numerics(NumericsConfig())
    on_gpu = device.type == "cuda"
    for name, settings in (*((name, {}) for name in PACKAGED), *MORE):
        waits = find_waits(build_student(name, settings, device), on_gpu)
        what = f"{name}{''.join(f', {value}' for value in settings.values())}: waits per step"
        where = f" ({', '.join(place for place, _ in waits.most_common(3))})" if waits else ""
        found = f"{waits.total() / LOOKED_AT:.1f}{where}" if on_gpu else "it runs; not measured on a GPU"
        yield what, found, "0" if name not in MIXING else "those of mixing.py"


def _labelled(clip: Clip) -> Clip:
    """A frame of it with a label."""
    rng = np.random.default_rng(clip.sample_id)
    return replace(
        clip,
        image_THWC=clip.image_THWC[:1],
        points_TK2=rng.uniform(8, CROP_PX - 8, (1, POINTS, 2)).astype(np.float32),
        visible_TK=np.ones((1, POINTS), np.bool_),
        labelled_T=np.ones(1, np.bool_),
        frames_T=clip.frames_T[:1],
    )
