"""The chapter about accuracy: a sentence for a newcomer, one row per model, where errors lie, and on which videos."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from tsal_dist.insight import page
from tsal_dist.insight.charts import Axes, Series, draw_lines, draw_rows, draw_shape
from tsal_dist.insight.lean import lean_in_words
from tsal_dist.insight.measured import Model, blind_error, runs_that_trained, spread, upright, video_errors
from tsal_dist.insight.stated_errors import draw_stated_errors

CED_LIMITS = (0.10, 0.15, 0.20, 0.30, 0.50)
MOST_VIDEOS = 12
SCORES = {
    "nme": "NME %",
    "nme_median": "median %",
    "auc_0.08": "AUC .08",
    "failure_0.08": "fail .08 %",
    "auc_0.10": "AUC .10",
    "failure_0.10": "fail .10 %",
    "jitter": "jitter %",
}
"""The columns of a table of scores, by their names in a `summary`. All are shares; only of an AUC more is better."""
DIVIDED_BY = {
    "inter_ocular": "the distance between the outer eye corners",
    "inter_pupil": "the distance between the pupils",
    "box_diagonal": "the diagonal of the subject's box",
    "face_size": "the size of the subject's box",
    "wflw": "the distance between the outer eye corners",
}

SEEN = {True: "was trained on", False: "never trained on", None: "may have been trained on"}


def open_with(models: Sequence[Model]) -> str:
    """What the run came to, for a reader who has seen no such number before."""
    first = models[0]
    errors = first.found.errors
    length = DIVIDED_BY.get(errors.normalizer, errors.normalizer)
    text = (
        f"On {errors.faces:.0f} frames that it {SEEN[first.trained_on]}, the {first.role}'s points lie {100 * errors.nme:.1f} % of "
        f"{length} beside the true ones, on average; half of the frames stay under {100 * errors.median:.1f} %."
    )
    blind = blind_error(first)
    if blind is not None:
        text += f" Without looking, the average shape of the labels put into every box is {100 * blind:.1f} % beside them."
    return text


def best_tiles(models: Sequence[Model], lines: Sequence[dict[str, Any]]) -> list[tuple[str, str]]:
    """Value and meaning of the first numbers: with their spread, the way they went, and whose they are."""
    found = []
    for model in models:
        error = spread(model.found)
        plus = f" \N{PLUS-MINUS SIGN} {100 * error:.1f}" if np.isfinite(error) else ""
        about = f"error of the {model.role} (NME), less is better; step {model.step} of {model.last_step}, its best"
        if model.step == model.last_step:
            about = f"error of the {model.role} (NME), less is better; its last step, {model.step}"
        if model.role == "student" and model.chosen_on:
            about += _way(lines)
        found.append((f"{100 * model.found.errors.nme:.1f}{plus} %", about))
    jitter = models[0].found.jitter
    if jitter.count:
        found.append(
            (
                f"{100 * jitter.mean:.1f} %",
                "jitter: how much points shake from frame to frame, less is better",
            )
        )
    return found


def _way(lines: Sequence[dict[str, Any]]) -> str:
    """The validation's first word, which says nothing of other frames than its own."""
    seen = [line["validation/nme"] for line in lines if line.get("validation/nme") is not None]
    return f"; it began at {100 * seen[0]:.1f} %" if len(seen) > 1 else ""


def tell_accuracy(models: Sequence[Model], where: Sequence[str]) -> str:
    errors = models[0].found.errors
    videos = len(video_errors(models[0].found))
    seen, unknown = runs_that_trained(models, True), runs_that_trained(models, None)
    kind = f"frames that {' and '.join(seen)} trained on," if seen else "held-out frames"
    if unknown and not seen:
        kind = f"frames that {' and '.join(unknown)} may have trained on,"
    intro = (
        f"{errors.faces:.0f} {kind} of {videos} videos in {', '.join(where)}; errors are divided by "
        f"{DIVIDED_BY.get(errors.normalizer, errors.normalizer)} ({errors.normalizer}). What stands after \N{PLUS-MINUS SIGN} "
        "is a standard error over videos. Jitter is how much points shake between neighbouring frames."
    )
    leans = [
        f"{model.name}: {lean}" for model in models if (lean := lean_in_words(model.found, model.mirrored))
    ]
    figures = [_ced(models)]
    for model in (model for model in models if model.run == models[0].run):
        shape = upright(model)
        if shape is not None:
            title = f"Error per landmark, {model.name}"
            figures.append(
                draw_shape(shape, model.found.errors.nme_per_point, title, model.names, model.lines)
            )
    figures += [_videos(models[0]), draw_stated_errors(models[0])]
    return (
        page.paragraph(intro) + _scores(models) + "".join(map(page.paragraph, leans)) + page.charts(figures)
    )


def write_scores(summary: Mapping[str, float | str], columns: Iterable[str] = SCORES) -> list[str]:
    """The cells of a table's row; "-" for what is not a number."""
    known = {name: float(summary[name]) for name in columns if name in summary}
    return [
        "-" if not np.isfinite(value) else f"{value:.3f}" if name.startswith("auc") else f"{100 * value:.2f}"
        for name, value in known.items()
    ]


def _scores(models: Sequence[Model]) -> str:
    """One row per model, with what is best of each kind."""
    columns = {"nme": SCORES["nme"], "spread": "\N{PLUS-MINUS SIGN}", **SCORES}
    rows = []
    for model in models:
        numbers = model.found.summary() | {"spread": spread(model.found)}
        rows.append([model.name, *write_scores(numbers, columns), str(model.step)])
    best = [
        None if name == "spread" else _best([row[place] for row in rows], name.startswith("auc"))
        for place, name in enumerate(columns, start=1)
    ]
    return page.table(["", *columns.values(), "step"], rows, [None, *best])


def _best(cells: Sequence[str], more_is_better: bool) -> int | None:
    """The place of the one that is better than all others, as they are written: what looks the same is no better. None where
    there is none, or where one is not a number."""
    if len(cells) < 2 or "-" in cells:
        return None
    values = [float(cell) for cell in cells]
    finest = max(values) if more_is_better else min(values)
    return values.index(finest) if values.count(finest) == 1 else None


def _ced(models: Sequence[Model]) -> str:
    """Up to where the best model has nearly all frames."""
    reached = [
        limit for limit in CED_LIMITS if max(model.found.errors.ced(limit)[1][-1] for model in models) > 0.9
    ]
    series = []
    for color, model in enumerate(models):
        limit_N, share_N = model.found.errors.ced(reached[0] if reached else CED_LIMITS[-1])
        series.append(Series(model.name, 100 * limit_N, 100 * share_N, color % 6))
    axes = Axes(
        "error, %", "frames at or below, %", "How many frames stay under which error", y_range=(0, 100)
    )
    return draw_lines(series, axes)


def _videos(model: Model) -> str:
    """The videos that are hardest, by their median frame."""
    by_video = video_errors(model.found)
    ranked = sorted(by_video, key=lambda video: -float(np.median(by_video[video])))
    rows = []
    for video in ranked[:MOST_VIDEOS]:
        errors = 100 * np.array(by_video[video])
        middle, high = float(np.median(errors)), float(errors.max())
        about = f"{video}: {len(errors)} frames, median {middle:.1f} %, worst {high:.1f} %"
        rows.append((video, middle, high, about))
    title = f"Median error per video, and its worst frame, {model.name}"
    if len(ranked) > MOST_VIDEOS:
        title = f"The {MOST_VIDEOS} hardest of {len(ranked)} videos: median error, and the worst frame, {model.name}"
    return draw_rows(rows, title, "%")
