"""What a run did, as one page: measured now on held-out frames, and told by what it wrote down while it ran."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from tsal_dist.checkpoint.store import Checkpoints
from tsal_dist.config import RunConfig
from tsal_dist.data.shard_set import ShardSet, open_shards
from tsal_dist.errors import ConfigError
from tsal_dist.inference.evaluation import Evaluation, ScoredFrame
from tsal_dist.inference.trained import Role, load_trained, pick_device
from tsal_dist.insight import page
from tsal_dist.insight.charts import Axes, Series, draw_face, draw_lines
from tsal_dist.insight.curves import draw_curves
from tsal_dist.insight.gallery import Judge, mean_face, show_frames
from tsal_dist.insight.provenance import Provenance, read_provenance
from tsal_dist.insight.provenance_page import tell_provenance
from tsal_dist.insight.status import Status, Watcher
from tsal_dist.observe.sinks import read_metrics
from tsal_dist.records import FrameRef
from tsal_dist.run import Run, load_run
from tsal_dist.runs.build import build_evaluator

KEPT, SAMPLES, SHAPES = 8, 8, 64
PER_VIDEO = 24
"""Frames of one video that may stand before the next video's among the worst: neighbours look alike."""
CED_LIMITS = (0.10, 0.15, 0.20, 0.30, 0.50)


@dataclass(frozen=True)
class Model:
    """One role of one run, measured."""

    run: str
    role: str
    name: str
    step: int
    found: Evaluation
    judge: Judge


@dataclass(frozen=True)
class Story:
    """One run, opened for the report."""

    name: str
    run: Run
    status: Status
    student: list[dict[str, Any]]
    teacher: list[dict[str, Any]]
    provenance: Provenance | None


def build_report(folders: Sequence[Path], urls: Sequence[str] = ()) -> str:
    """The page about these runs; the first one is told in full. Every model of all of them is measured."""
    stories = [_open(folder, names) for folder, names in zip(folders, _names(folders), strict=True)]
    first = stories[0]
    where = list(urls) or list(first.run.config.data.validation)
    shards = (
        open_shards(where, first.run.config.data.cache_dir, first.run.config.data.cache_gb) if where else None
    )
    models = [model for story in stories for model in _measure(story, shards)] if shards else []
    sections = []
    if models:
        sections.append(page.Section("accuracy", "Accuracy", _accuracy(models, where)))
        sections.append(page.Section("frames", "Frames", _frames(models)))
    sections.append(
        page.Section("training", "Training", draw_curves(first.run.config, first.student, first.teacher))
    )
    if len(stories) > 1:
        sections.append(page.Section("runs", "The runs compared", _compare(stories)))
    if first.provenance:
        unlabelled = _videos(first.run.config)
        sections.append(
            page.Section("labels", "Pseudo-labels", tell_provenance(first.provenance, unlabelled))
        )
    sections.append(page.Section("configuration", "Configuration", _configuration(first)))
    sections.append(page.Section("limits", "What was not measured", page.bullets(_limits(stories, models))))
    config = first.run.config
    others = f" Compared with {', '.join(story.name for story in stories[1:])}." if len(stories) > 1 else ""
    lead = f"{config.method.name}, {config.model.detector} detector at {config.model.crop_px} px, {config.train.steps} steps.{others}"
    version = json.loads(first.run.dir.run_json.read_text())["version"]
    return page.build_page(
        first.name,
        lead,
        _top(first, models),
        sections,
        f"Run {first.run.id}, written by tsal_dist {version}.",
    )


def _names(folders: Sequence[Path]) -> list[str]:
    """Folder names, with their parents' where two are alike."""
    names = [folder.resolve().name for folder in folders]
    return [
        name if names.count(name) == 1 else f"{folder.resolve().parent.name}/{name}"
        for folder, name in zip(folders, names, strict=True)
    ]


def _open(folder: Path, name: str) -> Story:
    run = load_run(folder)
    return Story(
        name=name,
        run=run,
        status=Watcher(run.dir).look_twice(),
        student=read_metrics(run.dir.metrics("student")),
        teacher=read_metrics(run.dir.metrics("teacher")),
        provenance=read_provenance(run.dir),
    )


def _measure(story: Story, shards: ShardSet) -> list[Model]:
    """Every role that has a checkpoint."""
    config = story.run.config
    if shards.points != config.model.num_points:
        raise ConfigError(
            f"The shards have {shards.points} landmarks and {story.name} was trained for "
            f"{config.model.num_points}. Name shards of the same layout with --shards."
        )
    evaluator = build_evaluator(config, shards, pick_device())
    roles: list[Role] = ["student", "teacher"]
    models = []
    for role in roles:
        checkpoints = Checkpoints(story.run.dir.checkpoints(role), None, keep=1)
        if not checkpoints.committed():
            continue
        trained = load_trained(story.run.dir.root, role)
        trained.model.to(evaluator.device)
        best = checkpoints.best()
        step = checkpoints.committed()[-1] if best is None else best
        found = evaluator.run(trained.model, keep=KEPT * PER_VIDEO)
        models.append(
            Model(story.name, role, f"{story.name} {role}", step, found, Judge(trained.model, evaluator))
        )
    return models


def _top(story: Story, models: Sequence[Model]) -> str:
    """Alarms, then the numbers that people ask for first."""
    alarms = "".join(page.paragraph(text, "alarm") for text in story.status.alarms)
    facts = [
        (f"{100 * model.found.errors.nme:.2f} %", f"NME, {model.role}")
        for model in models
        if model.run == story.name
    ]
    snapshot = story.status.snapshot
    facts.append((f"{snapshot.step} / {snapshot.total_steps}", "steps"))
    if snapshot.steps_per_s:
        facts.append((f"{snapshot.steps_per_s:.3g} / s", "student steps at the end"))
    times = [line["time"] for line in story.student]
    if times:
        facts.append((_duration(times[-1] - times[0]), "from first to last line"))
    if story.provenance:
        facts.append((f"{story.provenance.trained_rows:,}", "pseudo-labelled frames trained on"))
    return alarms + page.tiles(facts) + page.paragraph(story.status.verdict, "lead")


def _accuracy(models: Sequence[Model], where: Sequence[str]) -> str:
    errors = models[0].found.errors
    intro = (
        f"{errors.faces:.0f} held-out frames of {', '.join(where)}; errors are divided by the "
        f"{errors.normalizer.replace('_', '-')} distance. Jitter is how much points shake between neighbouring frames."
    )
    figures = [_ced(models)]
    for model in (model for model in models if model.run == models[0].run):
        face = _mean_shape(model)
        if face is not None:
            figures.append(
                draw_face(face, model.found.errors.nme_per_point, f"Error per landmark, {model.name}")
            )
    return page.paragraph(intro) + _scores(models) + page.charts(figures)


def _scores(models: Sequence[Model]) -> str:
    """One row per model, with what is best of each kind."""
    columns: list[tuple[str, int, bool, Callable[[Evaluation], float]]] = [
        ("NME %", 2, False, lambda one: 100 * one.errors.nme),
        ("median %", 2, False, lambda one: 100 * one.errors.median),
        ("AUC .08", 3, True, lambda one: one.errors.auc(0.08)),
        ("failure .08 %", 2, False, lambda one: 100 * one.errors.failure_rate(0.08)),
        ("AUC .10", 3, True, lambda one: one.errors.auc(0.10)),
        ("failure .10 %", 2, False, lambda one: 100 * one.errors.failure_rate(0.10)),
        ("jitter %", 2, False, lambda one: 100 * one.jitter.mean),
    ]
    cells = [[model.name] for model in models]
    best: list[int | None] = [None]
    for _, digits, more_is_better, measure in columns:
        # Rounded first: what looks the same in the table is no better.
        values = [round(measure(model.found), digits) for model in models]
        for row, value in zip(cells, values, strict=True):
            row.append(f"{value:.{digits}f}")
        finest = max(values) if more_is_better else min(values)
        best.append(values.index(finest) if values.count(finest) == 1 and len(values) > 1 else None)
    rows = [[*row, str(model.step)] for row, model in zip(cells, models, strict=True)]
    return page.table(["", *(name for name, *_ in columns), "step"], rows, best)


def _ced(models: Sequence[Model]) -> str:
    """Up to where the best model has nearly all faces."""
    reached = [
        limit for limit in CED_LIMITS if max(model.found.errors.ced(limit)[1][-1] for model in models) > 0.9
    ]
    series = []
    for color, model in enumerate(models):
        limit_N, share_N = model.found.errors.ced(reached[0] if reached else CED_LIMITS[-1])
        series.append(Series(model.name, 100 * limit_N, 100 * share_N, color % 6))
    axes = Axes("error, %", "frames at or below, %", "Cumulative error distribution", y_range=(0, 100))
    return draw_lines(series, axes)


def _mean_shape(model: Model) -> Any:
    """The mean true face of some held-out frames, upright as the crops are."""
    few = replace(model.judge.evaluator, most_frames=SHAPES).run(model.judge.forward, keep=SHAPES)
    return mean_face(
        np.stack([one.truth_K2 for one in few.best]), np.stack([one.visible_K for one in few.best])
    )


def _frames(models: Sequence[Model]) -> str:
    judges = {model.name: model.judge for model in models}
    first = models[0]
    few = replace(first.judge.evaluator, most_frames=SAMPLES).run(first.judge.forward, keep=SAMPLES)
    chosen = [("Spread over the set", [one.ref for one in few.best])]
    chosen += [(f"Worst of {first.name}, one frame per video", _one_per_video(first.found.worst))]
    chosen += [(f"Best of {first.name}, one frame per video", _one_per_video(first.found.best))]
    own = sum(model.run == first.run for model in models)
    switches = [("truth", "#ffffff")]
    switches += [(name, page.PHOTO_COLORS[number % 6]) for number, name in enumerate(judges)]
    parts = [
        page.paragraph(
            "Rings are the truth, dots what a model found; a line leads from each truth to the first model's dot."
        ),
        page.choices(switches, shown=1 + own),
    ]
    for title, refs in chosen:
        parts.append(f"<h3>{title}</h3>" + page.photos(_photos(judges, refs, own)))
    return "".join(parts)


def _one_per_video(judged: Sequence[ScoredFrame]) -> list[FrameRef]:
    """The first frame of each of the first few videos."""
    firsts: dict[str, FrameRef] = {}
    for one in judged:
        firsts.setdefault(one.name.partition(" frame ")[0], one.ref)
    return list(firsts.values())[:KEPT]


def _photos(judges: Mapping[str, Judge], refs: Sequence[FrameRef], own: int) -> list[str]:
    """Captions name the errors of the first `own` models, those that the page is about."""
    found = []
    for shown in show_frames(judges, refs):
        marks = [
            page.Marks(name, points, number % 6)
            for number, (name, points) in enumerate(shown.points_K2.items())
        ]
        errors = ", ".join(
            f"{name.rpartition(' ')[2]} {100 * value:.1f} %" for name, value in list(shown.nme.items())[:own]
        )
        found.append(
            page.photo(shown.image_HWC, shown.truth_K2, shown.visible_K, marks, [errors, shown.name])
        )
    return found


def _compare(stories: Sequence[Story]) -> str:
    """Validation over steps, and what was set differently."""
    series = []
    for color, story in enumerate(stories):
        lines = [line for line in story.student if line.get("validation/nme") is not None]
        if lines:
            steps_N = np.array([float(line["step"]) for line in lines])
            series.append(
                Series(
                    story.name, steps_N, np.array([100 * line["validation/nme"] for line in lines]), color % 6
                )
            )
    figures = (
        [draw_lines(series, Axes("student step", "NME, %", "Validation error of the students"))]
        if series
        else []
    )
    flat = [flatten(story.run.config.model_dump(mode="json")) for story in stories]
    rows = [
        [key, *(_word(one.get(key)) for one in flat)]
        for key in flat[0]
        if len({_word(one.get(key)) for one in flat}) > 1 and not key.startswith("run.")
    ]
    return page.charts(figures) + page.table(
        ["differs", *(story.name for story in stories)], rows, words=True
    )


def _configuration(story: Story) -> str:
    now = story.run.config.model_dump(mode="json")
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


def _limits(stories: Sequence[Story], models: Sequence[Model]) -> list[str]:
    """What a reader must not take from this page."""
    first = stories[0]
    found = []
    if not models:
        found.append(
            "Accuracy: the run names no validation shards (data.validation), and none were given with --shards."
        )
    else:
        found.append(
            "Other data: all scores are of the held-out shards named above and say nothing of other footage."
        )
        found.append(
            "Chance: one run is one seed. A difference between models may be luck until several seeds agree."
        )
        found.append(
            "A fresh test set: a model's checkpoint was chosen by validation, so these scores are slightly kind to it."
        )
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
    if any(story.status.going for story in stories):
        found.append("The end: at least one run was still going when this page was made.")
    found.append("Time per step is that of the machine at that time, with whatever else it was doing.")
    return found


def _videos(config: RunConfig) -> int | None:
    """How many videos there were to label; None where the shards are gone."""
    urls = list(config.data.unlabelled)
    if not urls or not all(Path(url, "manifest.json").exists() for url in urls):
        return None
    shards = open_shards(urls, config.data.cache_dir, config.data.cache_gb)
    return len({segment.video for number in range(len(shards)) for segment in shards.segments(number)})


def flatten(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings by their dotted names."""
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        flat |= flatten(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return flat


def _word(value: Any) -> str:
    return json.dumps(value) if not isinstance(value, str) else value or "-"


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60} h {minutes % 60} min" if minutes >= 60 else f"{minutes} min {rest} s"
