"""The chapter about pseudo-labels: histograms and tables of where they came from."""

from collections import Counter

import numpy as np
from numpy.typing import NDArray

from tsal_dist.insight.charts import Axes, draw_bars
from tsal_dist.insight.page import charts, heading, paragraph, table, unfold
from tsal_dist.insight.provenance import Provenance

FAR_SHARE = 0.98
"""Of all distances that a histogram shows; the rest goes into its last bar."""
MOST_NAMED = 5


def tell_provenance(found: Provenance, videos: int | None) -> str:
    """`videos` is how many there were to label, where that is known."""
    if not found.trained_rows:
        return paragraph(f"{found.steps} steps wanted pseudo-labels and none was trained on.")
    fresh, reused = found.fresh_by_lag.total(), found.reused_by_lag.total()
    wanted = fresh + reused + found.missing_rows
    intro = (
        f"{found.steps} steps wanted {wanted:,} pseudo-labelled frames: {fresh / wanted:.1%} were fresh, {reused / wanted:.1%} "
        f"were trained on again, {found.missing_rows / wanted:.1%} were missing. They came from {len(found.by_version)} "
        "teacher versions."
    )
    if found.lost_by_reason:
        reasons = ", ".join(f"{rows:,} {reason}" for reason, rows in found.lost_by_reason.most_common())
        intro += f" Rows that were made and never trained on: {reasons}."
    figures = [_staleness(found), _versions(found), *_agreement(found)]
    rows = [[name, f"{count:,}"] for name, count in sorted(found.by_producer.items())]
    more = [charts(figures), _by_video(found, videos) if found.by_video else ""]
    more += [heading("Producers"), table(["producer", "rows trained on"], rows)]
    return paragraph(intro) + unfold("Ages, agreement of sources, videos, producers", "".join(more))


def _staleness(found: Provenance) -> str:
    edges = _edges([*found.fresh_by_lag, *found.reused_by_lag])
    stacks = [
        ("fresh", _binned(found.fresh_by_lag, edges), 0),
        ("trained on again", _binned(found.reused_by_lag, edges), 1),
    ]
    axes = Axes(
        "student steps since the teacher's version",
        "rows",
        "Staleness of what was trained on",
        y_from_zero=True,
    )
    return draw_bars(edges, stacks, axes)


def _versions(found: Provenance) -> str:
    edges = _edges(list(found.by_version), 40)
    axes = Axes("teacher version (student step)", "rows", "Which teacher versions taught", y_from_zero=True)
    return draw_bars(edges, [("rows", _binned(found.by_version, edges), 1)], axes)


def _agreement(found: Provenance) -> list[str]:
    figures = []
    for color, (source, parts) in enumerate(sorted(found.distances.items()), 2):
        apart_N = np.concatenate(parts)
        if not len(apart_N):
            continue
        far = max(float(np.quantile(apart_N, FAR_SHARE)), 0.01)
        edges = np.linspace(0, far, 41)
        counts = np.histogram(np.minimum(apart_N, far * (1 - 1e-9)), edges)[0].astype(np.float64)
        valid = float(np.mean(found.valid[source]))
        title = f"Agreement of {source} with heatmap ({valid:.0%} of points have both)"
        axes = Axes("distance, % of the subject (last bar: beyond)", "points", title, y_from_zero=True)
        figures.append(draw_bars(100 * edges, [(source, counts, color)], axes))
    return figures


def _by_video(found: Provenance, videos: int | None) -> str:
    counts = np.array(list(found.by_video.values()))
    of = f" of {videos}" if videos is not None else ""
    text = (
        f"{len(counts)}{of} videos were labelled in the {found.opened} segments that were opened: "
        f"{counts.min()} to {counts.max()} rows per video, half of them {np.median(counts):.0f} or fewer."
    )
    ranked = found.by_video.most_common()
    shown = ranked if len(ranked) <= 2 * MOST_NAMED else [*ranked[:MOST_NAMED], *ranked[-MOST_NAMED:]]
    rows = [[name, f"{count:,}", f"{found.dropped_by_video[name]:,}"] for name, count in shown]
    heads = ["most and least labelled", "rows", "of the whole run, dropped as stale or repeated"]
    return heading("Videos") + paragraph(text) + table(heads, rows)


def _edges(values: list[int], most: int = 30) -> NDArray[np.float64]:
    """Whole bins of one width from the lowest to the highest value."""
    low, high = min(values), max(values)
    width = max(1, -(-(high - low + 1) // most))
    return np.arange(low, high + width + 1, width, dtype=np.float64) - 0.5


def _binned(counts: Counter[int], edges: NDArray[np.float64]) -> NDArray[np.float64]:
    if not counts:
        return np.zeros(len(edges) - 1)
    binned = np.histogram(list(counts), edges, weights=np.array(list(counts.values()), float))[0]
    return np.asarray(binned, np.float64)
