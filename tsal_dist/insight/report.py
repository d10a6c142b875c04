"""What a run did, as one page: measured now, on held-out frames unless others are named, and told by what it wrote down while
it ran."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from tsal_dist.checkpoint.store import Checkpoints
from tsal_dist.clock import time_in_words
from tsal_dist.config import RunConfig
from tsal_dist.config.load import override
from tsal_dist.data.shard_set import open_cached, refuse_other_names
from tsal_dist.inference.held_out import find_missing, find_named, open_if_there, say_missing
from tsal_dist.insight import page
from tsal_dist.insight.accuracy_page import best_tiles, open_with, tell_accuracy
from tsal_dist.insight.charts import Axes, Series, draw_lines
from tsal_dist.insight.curves import draw_curves
from tsal_dist.insight.frames_page import tell_frames, tell_next
from tsal_dist.insight.measured import Model, measure, names_of, runs_that_trained
from tsal_dist.insight.other_footage import say_where_measured
from tsal_dist.insight.provenance import Provenance, read_provenance
from tsal_dist.insight.provenance_page import tell_provenance
from tsal_dist.insight.status import Status, Watcher
from tsal_dist.insight.to_gain import say_what_helps
from tsal_dist.json_object import flatten
from tsal_dist.metrics.face_errors import FaceErrors
from tsal_dist.observe.sinks import read_metrics
from tsal_dist.run import Run, load_run


@dataclass(frozen=True)
class ToldRun:
    """One run, opened for the report."""

    name: str
    run: Run
    status: Status
    student: list[dict[str, Any]]
    teachers: dict[str, list[dict[str, Any]]]
    """The lines of every crew."""
    provenance: Provenance | None


def build_report(folders: Sequence[Path], urls: Sequence[str] = ()) -> str:
    """The page about these runs; the first one is told in full. Every model of all of them is measured."""
    told_runs = [_open(folder, names) for folder, names in zip(folders, names_of(folders), strict=True)]
    first = told_runs[0]
    where = list(urls) or find_named(first.run.dir.root, first.run.config, "validation")
    tried = _measure(told_runs, where) if urls or not find_missing(where) else []
    models = [model for model in tried if model.found.errors.faces]
    sections = []
    if models:
        words = [say_where_measured(first.run, where), say_what_helps(first.student)]
        told = "".join(page.paragraph(text) for text in words if text) + tell_accuracy(models, where)
        sections.append(page.Section("accuracy", "Accuracy", told))
        sections.append(page.Section("frames", "Frames", tell_frames(models)))
    unlabelled = _next(first)
    if unlabelled:
        sections.append(page.Section("next", "Label these next", unlabelled))
    sections.append(
        page.Section(
            "training",
            "Training",
            draw_curves(
                first.run.config,
                first.student,
                first.teachers,
                [rank.beat for rank in first.status.ranks],
            ),
        )
    )
    if len(told_runs) > 1:
        sections.append(page.Section("runs", "The runs compared", _compare(told_runs)))
    if first.provenance:
        sections.append(
            page.Section("labels", "Pseudo-labels", tell_provenance(first.provenance, _videos(first.run)))
        )
    sections.append(page.Section("configuration", "Configuration", _configuration(first)))
    if models:
        limits = [*_left_out(models[0].found.errors), *_limits_of_scores(models)]
    else:
        limits = [_why_not_measured(where, bool(urls), tried)]
    sections.append(
        page.Section("limits", "What was not measured", page.bullets([*limits, *_limits(told_runs)]))
    )
    config = first.run.config
    others = f" Compared with {', '.join(told.name for told in told_runs[1:])}." if len(told_runs) > 1 else ""
    begun = f" Begun from {first.run.origin}." if first.run.origin else ""
    teacher = config.method.settings.get("teacher")
    taught = f" Taught by {teacher}." if teacher else ""
    lead = (
        f"{config.method.name}, {config.model.detector} detector at {config.model.crop_px} px, {config.train.steps} steps."
        f"{begun}{taught}{others}"
    )
    version = json.loads(first.run.dir.run_json.read_text())["version"]
    return page.build_page(
        first.name,
        lead,
        _top(first, models),
        sections,
        f"Run {first.run.id}, written by tsal_dist {version}.",
    )


def _open(folder: Path, name: str) -> ToldRun:
    run = load_run(folder)
    status = Watcher(run.dir).look_twice()
    return ToldRun(
        name=name,
        run=run,
        status=status,
        student=read_metrics(run.dir.metrics("student")),
        teachers={crew: read_metrics(run.dir.metrics(crew)) for crew in status.snapshot.teachers},
        provenance=read_provenance(run.dir),
    )


def _measure(told_runs: Sequence[ToldRun], where: Sequence[str]) -> list[Model]:
    """Every model of all runs on the same shards, by the first run's normalizer; none where no shards are named. ConfigError
    where a landmark has two names: errors of both would stand in one chart."""
    if not where:
        return []
    first, *others = told_runs
    names, rule = first.run.config.model.layout.names, "they cannot share a chart. Tell the runs one by one"
    for told in others:
        refuse_other_names(first.name, names, told.name, told.run.config.model.layout.names, rule)
    data = first.run.config.data
    shards = open_cached(where, data)
    found = []
    for told in told_runs:
        config = override(told.run.config, f"data.normalizer={data.normalizer}")
        found += measure(told.name, replace(told.run, config=config), shards)
    return found


def _top(told: ToldRun, models: Sequence[Model]) -> str:
    """Alarms, a sentence for a newcomer, then the numbers that people ask for first."""
    alarms = "".join(page.paragraph(text, "alarm") for text in told.status.alarms)
    own = [model for model in models if model.run == told.name]
    opening = page.paragraph(open_with(own), "opening") if own else ""
    facts = best_tiles(own, told.student) if own else []
    snapshot = told.status.snapshot
    pace = f"steps, at {snapshot.steps_per_s:.3g} a second" if snapshot.steps_per_s else "steps"
    facts.append((f"{snapshot.step} / {snapshot.config.train.steps}", pace))
    times = [line["time"] for line in told.student]
    if times:
        facts.append((time_in_words(times[-1] - times[0]), "from first to last line"))
    if told.provenance:
        facts.append((f"{told.provenance.trained_rows:,}", "pseudo-labelled frames trained on"))
    return alarms + opening + page.tiles(facts) + page.paragraph(told.status.verdict, "lead")


def _next(told: ToldRun) -> str:
    """Unlabelled frames of the run; "" where its shards or its weights are gone."""
    config = told.run.config
    shards = open_if_there(told.run.dir.root, config, "unlabelled" if config.data.unlabelled else "labelled")
    if shards is None or not Checkpoints.to_read(told.run.dir.checkpoints("student")).committed():
        return ""
    return tell_next(told.run, shards)


def _compare(told_runs: Sequence[ToldRun]) -> str:
    """Validation over steps, and what was set differently."""
    series = []
    normalizers = [told.run.config.data.normalizer for told in told_runs]
    for color, (told, normalizer) in enumerate(zip(told_runs, normalizers, strict=True)):
        lines = [line for line in told.student if line.get("validation/nme") is not None]
        if lines:
            steps_N = np.array([float(line["step"]) for line in lines])
            name = told.name if len(set(normalizers)) == 1 else f"{told.name}, by {normalizer}"
            nme_N = np.array([100 * line["validation/nme"] for line in lines])
            series.append(Series(name, steps_N, nme_N, color % 6))
    figures = (
        [draw_lines(series, Axes("student step", "NME, %", "Validation error of the students"))]
        if series
        else []
    )
    flat = [flatten(told.run.config.model_dump(mode="json")) for told in told_runs]
    rows = [
        [key, *(_word(one.get(key)) for one in flat)]
        for key in flat[0]
        if len({_word(one.get(key)) for one in flat}) > 1 and not key.startswith("run.")
    ]
    return page.charts(figures) + page.table(
        ["differs", *(told.name for told in told_runs)], rows, words=True
    )


def _configuration(told: ToldRun) -> str:
    now = told.run.config.model_dump(mode="json")
    usual = flatten(RunConfig().model_dump(mode="json"))
    rows = [
        [key, _word(value), _word(usual.get(key))]
        for key, value in flatten(now).items()
        if value != usual.get(key)
    ]
    return (
        page.paragraph("What differs from the defaults:")
        + page.table(["setting", "value", "default"], rows, words=True)
        + page.fold("The whole configuration", json.dumps(now, indent=1))
    )


def _limits(told_runs: Sequence[ToldRun]) -> list[str]:
    """What a reader must not take from this page, beside its scores."""
    first = told_runs[0]
    found = []
    if first.provenance:
        found.append(
            "The error of the pseudo-labels themselves: their frames have no truth here. Agreement of sources is not accuracy."
        )
        if first.provenance.opened < first.provenance.committed:
            found.append(
                f"All label segments: {first.provenance.opened} of {first.provenance.committed} were opened; others were left out, or collected already."
            )
    if not any("memory/gpu_peak_gb" in line for line in first.student):
        found.append("GPU speed and memory: this run used none.")
    if any(told.status.going for told in told_runs):
        found.append("The end: at least one run was still going when this page was made.")
    found.append("Time per step is that of the machine at that time, with whatever else it was doing.")
    return found


def _left_out(errors: FaceErrors) -> list[str]:
    """Frames that are in none of the scores; the same ones for every model, as only their truth decides."""
    if not errors.skipped:
        return []
    return [
        f"{errors.skipped:.0f} of {errors.faces + errors.skipped:.0f} frames: they have no visible landmark, or no length to divide their "
        f"error by ({errors.normalizer}), and are in none of the scores. They may well be the hardest."
    ]


def _limits_of_scores(models: Sequence[Model]) -> list[str]:
    chance = "Chance: one run is one seed. A difference between models may be luck until several seeds agree."
    if seen := runs_that_trained(models, True):
        return [
            f"Held-out footage: {', '.join(seen)} trained on the shards named above, so the scores say how well these were "
            "learnt and nothing of other footage.",
            chance,
        ]
    if unknown := runs_that_trained(models, None):
        return [
            f"Held-out footage: what {', '.join(unknown)} trained on is not all within reach, so nobody knows whether the shards "
            "named above are among it. If they are, the scores say nothing of other footage.",
            chance,
        ]
    found = [
        "Other data: all scores are of the held-out shards named above and say nothing of other footage.",
        chance,
    ]
    if any(model.chosen_on for model in models):
        found.append(
            "A fresh test set: a model's checkpoint was chosen by validation, so these scores are slightly kind to it."
        )
    return found


def _why_not_measured(where: Sequence[str], given: bool, tried: Sequence[Model]) -> str:
    """`given`: whether the shards are not those that the run names; `tried`: models that looked at them, in vain."""
    if not given and (missing := find_missing(where)):
        return f"Accuracy: {say_missing('data.validation', missing)}"
    if tried:
        return (
            f"Accuracy: no frame in {', '.join(where)} has both a visible landmark and a length to divide its error by "
            f"({tried[0].found.errors.normalizer}). `tsal evaluate --normalizer` divides by another one."
        )
    if where:
        return "Accuracy: nothing was saved yet that could be measured."
    return (
        "Accuracy: the run names no validation shards (data.validation), and none were given with --shards."
    )


def _videos(run: Run) -> int | None:
    """How many videos there were to label; None where the shards are gone."""
    shards = open_if_there(run.dir.root, run.config, "unlabelled")
    if shards is None:
        return None
    return len({segment.video for number in range(len(shards)) for segment in shards.segments(number)})


def _word(value: Any) -> str:
    return json.dumps(value) if not isinstance(value, str) else value or "-"
