"""Charts as inline SVG: lines, bars, rows, and errors on a shape. Colours are classes, so a page's style decides them.

Nothing here is rasterised: a chart is sharp on any screen and follows the page into dark mode.
"""

import html
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

WIDTH, HEIGHT = 420, 250
LEFT, RIGHT, TOP, BOTTOM = 50, 12, 12, 38
MOST_POINTS = 240
FEWEST_JOINED = 3
"""A line through two points would tell of a course that nobody saw."""
MOST_LETTERS = 19
"""Of a name beside a bar, in 134 pixels."""
NOISY_POINTS = 40
"""From so many points on a curve is drawn smoothed over a faint original."""


@dataclass(frozen=True)
class Series:
    """One curve: `color` is its number on the page, the same for the same thing in every chart."""

    name: str
    x_N: NDArray[np.float64]
    y_N: NDArray[np.float64]
    color: int = 0
    smooth: bool = False


@dataclass(frozen=True)
class Axes:
    """What the axes say. `marks` are vertical lines with a word."""

    x: str
    y: str
    title: str
    marks: tuple[tuple[float, str], ...] = ()
    y_from_zero: bool = False
    x_range: tuple[float, float] | None = None
    y_range: tuple[float, float] | None = None


@dataclass(frozen=True)
class Frame:
    """Where data lie in the drawing."""

    x_low: float
    x_high: float
    y_low: float
    y_high: float

    def x(self, value: float) -> float:
        span = (self.x_high - self.x_low) or 1.0
        return LEFT + (value - self.x_low) / span * (WIDTH - LEFT - RIGHT)

    def y(self, value: float) -> float:
        span = (self.y_high - self.y_low) or 1.0
        return HEIGHT - BOTTOM - (value - self.y_low) / span * (HEIGHT - TOP - BOTTOM)


def draw_lines(series: Sequence[Series], axes: Axes) -> str:
    """Curves over a common axis; what is not finite is a gap."""
    thin = [_thin(one) for one in series]
    xs = np.concatenate([one.x_N for one in thin])
    ys = np.concatenate([one.y_N for one in thin])
    frame = _frame(xs, ys[np.isfinite(ys)], axes)
    parts = _axes(frame, axes)
    for one in thin:
        noisy = one.smooth and len(one.x_N) > NOISY_POINTS
        if len(one.x_N) >= FEWEST_JOINED:
            parts.append(_path(frame, one.x_N, one.y_N, f"line c{one.color}{' faint' if noisy else ''}"))
        if noisy:
            parts.append(_path(frame, one.x_N, _smoothed(one.y_N), f"line c{one.color}"))
        if len(one.x_N) < 12:
            parts += [
                f'<circle class="dot c{one.color}" cx="{frame.x(x):.1f}" cy="{frame.y(y):.1f}" r="2.6"><title>'
                f"{html.escape(one.name)}: {y:.4g} at {x:.4g}</title></circle>"
                for x, y in zip(one.x_N, one.y_N, strict=True)
                if math.isfinite(y)
            ]
    told = "; ".join(_tell(one) for one in series)
    return _svg(axes.title, parts, told=told) + (
        _legend([(one.name, one.color) for one in series]) if len(series) > 1 else ""
    )


def _tell(one: Series) -> str:
    """A curve in words, for those who do not see it."""
    finite = np.isfinite(one.y_N)
    if not finite.any():
        return f"{one.name}: no number"
    x_N, y_N = one.x_N[finite], one.y_N[finite]
    low, high = int(y_N.argmin()), int(y_N.argmax())
    return (
        f"{one.name}: from {_number(y_N[0])} at {_number(x_N[0])} to {_number(y_N[-1])} at {_number(x_N[-1])}, "
        f"lowest {_number(y_N[low])} at {_number(x_N[low])}, highest {_number(y_N[high])} at {_number(x_N[high])}"
    )


def draw_bars(
    edges: NDArray[np.float64], stacks: Sequence[tuple[str, NDArray[np.float64], int]], axes: Axes
) -> str:
    """Histograms on top of each other: name, one count per bin, color."""
    total_N = np.sum([counts for _, counts, _ in stacks], axis=0)
    frame = _frame(edges, np.append(total_N, 0.0), axes)
    parts = _axes(frame, axes)
    base_N = np.zeros(len(edges) - 1)
    for name, counts_N, color in stacks:
        for low, high, base, count in zip(edges[:-1], edges[1:], base_N, counts_N, strict=True):
            if count > 0:
                x, width = frame.x(low), frame.x(high) - frame.x(low)
                top = frame.y(base + count)
                parts.append(
                    f'<rect class="bar c{color}" x="{x + 0.4:.1f}" y="{top:.1f}" width="{max(width - 0.8, 0.6):.1f}" '
                    f'height="{frame.y(base) - top:.1f}"><title>{html.escape(name)}: {count:,.0f} from {low:.4g} '
                    f"to {high:.4g}</title></rect>"
                )
        base_N = base_N + counts_N
    told = "; ".join(
        f"{name}: {counts.sum():,.0f}, most from {edges[int(counts.argmax())]:.4g} on"
        for name, counts, _ in stacks
    )
    return _svg(axes.title, parts, told=told) + (
        _legend([(name, color) for name, _, color in stacks]) if len(stacks) > 1 else ""
    )


def draw_rows(rows: Sequence[tuple[str, float, float, str]], title: str, unit: str) -> str:
    """A bar per row: name, value, the largest of its frames, and what a pointer over it says."""
    most = max(high for _, _, high, _ in rows) or 1.0
    step, left = 22, 140
    width = WIDTH - left - 58
    parts = []
    for number, (name, value, high, about) in enumerate(rows):
        y = 8 + step * number
        bar, thin = width * value / most, width * high / most
        parts.append(
            f'<g><title>{html.escape(about)}</title><text class="tick" x="{left - 6}" y="{y + 11}" text-anchor="end">'
            f'{html.escape(_shorten(name))}</text><line class="whisker" x1="{left}" x2="{left + thin:.1f}" y1="{y + 7}" y2="{y + 7}"/>'
            f'<rect class="bar c0" x="{left}" y="{y}" width="{max(bar, 1):.1f}" height="14" rx="2"/>'
            f'<text class="tick" x="{left + thin + 5:.1f}" y="{y + 11}">{value:.1f} {html.escape(unit)}</text></g>'
        )
    told = "; ".join(f"{name}: {value:.1f} {unit}" for name, value, *_ in rows)
    return _svg(title, parts, 14 + step * len(rows), told)


def _shorten(name: str) -> str:
    """What fits beside a bar: names differ at their beginnings or ends."""
    half = (MOST_LETTERS - 1) // 2
    return name if len(name) <= MOST_LETTERS else f"{name[:half]}…{name[-half:]}"


def draw_shape(
    points_K2: NDArray[np.float64],
    error_K: NDArray[np.float64],
    title: str,
    names: Sequence[str],
    lines: Sequence[tuple[int, int]] = (),
) -> str:
    """A dot per landmark, from small and cool for the least error (a share of the normaliser) to large and red."""
    low_2, high_2 = points_K2.min(0), points_K2.max(0)
    span_2 = np.maximum(high_2 - low_2, 1e-9)
    scale = float(((WIDTH - 60) / span_2).min())
    height = max(120, round(float(span_2[1]) * scale) + 60)
    place_K2 = (points_K2 - (low_2 + high_2) / 2) * scale + (WIDTH / 2, (height - 16) / 2)
    finite = error_K[np.isfinite(error_K)]
    least, most = (float(finite.min()), float(finite.max())) if len(finite) else (0.0, 1.0)
    parts = [
        f'<line class="contour" x1="{place_K2[a, 0]:.1f}" y1="{place_K2[a, 1]:.1f}" x2="{place_K2[b, 0]:.1f}" '
        f'y2="{place_K2[b, 1]:.1f}"/>'
        for a, b in lines
    ]
    for name, (x, y), error in zip(names, place_K2, error_K, strict=True):
        share = (error - least) / (most - least or 1.0) if math.isfinite(error) else 0.0
        parts.append(
            f'<circle class="landmark" style="--share:{share:.2f}" cx="{x:.1f}" cy="{y:.1f}" r="{2.5 + 8 * share:.1f}">'
            f"<title>{html.escape(name)}: {100 * error:.2f} %</title></circle>"
        )
    caption = "not measured"
    if len(finite):
        worst = names[int(np.nanargmax(error_K))]
        caption = f"from {100 * least:.2f} % to {100 * most:.2f} % at {worst}"
    parts.append(
        f'<text class="tick" x="{WIDTH / 2}" y="{height - 6}" text-anchor="middle">{html.escape(caption)}</text>'
    )
    return _svg(title, parts, height, caption)


def _frame(xs: NDArray[np.float64], ys: NDArray[np.float64], axes: Axes) -> Frame:
    x_low, x_high = axes.x_range or (float(xs.min()), float(xs.max()))
    if axes.y_range:
        return Frame(x_low, x_high, *axes.y_range)
    y_low, y_high = (float(ys.min()), float(ys.max())) if len(ys) else (0.0, 1.0)
    if axes.y_from_zero:
        y_low = min(0.0, y_low)
    pad = 0.05 * (y_high - y_low) or 0.05 * abs(y_high) or 1.0
    return Frame(x_low, x_high, y_low if axes.y_from_zero else y_low - pad, y_high + pad)


def _axes(frame: Frame, axes: Axes) -> list[str]:
    parts = []
    for value in _ticks(frame.y_low, frame.y_high):
        y = frame.y(value)
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(
            f'<text class="tick" x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{_number(value)}</text>'
        )
    for value in _ticks(frame.x_low, frame.x_high):
        x = frame.x(value)
        at_end = x > WIDTH - RIGHT - 12  # a long number in the middle of the last tick would be cut off
        place, anchor = (WIDTH - 2, "end") if at_end else (x, "middle")
        parts.append(
            f'<text class="tick" x="{place:.1f}" y="{HEIGHT - BOTTOM + 15}" text-anchor="{anchor}">{_number(value)}</text>'
        )
    for value, word in axes.marks:
        if frame.x_low < value < frame.x_high:
            x = frame.x(value)
            parts.append(f'<line class="mark" x1="{x:.1f}" x2="{x:.1f}" y1="{TOP}" y2="{HEIGHT - BOTTOM}"/>')
            # On the side that has room: a young run has just passed its mark.
            place, anchor = (x + 4, "start") if x < (LEFT + WIDTH) / 2 else (x - 4, "end")
            parts.append(
                f'<text class="tick" x="{place:.1f}" y="{TOP + 9}" text-anchor="{anchor}">{html.escape(word)}</text>'
            )
    parts.append(
        f'<text class="axis" x="{(LEFT + WIDTH - RIGHT) / 2}" y="{HEIGHT - 4}" text-anchor="middle">'
        f"{html.escape(axes.x)}</text>"
    )
    parts.append(
        f'<text class="axis" transform="translate(11 {(TOP + HEIGHT - BOTTOM) / 2}) rotate(-90)" '
        f'text-anchor="middle">{html.escape(axes.y)}</text>'
    )
    return parts


def _ticks(low: float, high: float, most: int = 5) -> list[float]:
    """Round numbers between the two."""
    if not high > low:
        return [low]
    rough = (high - low) / most
    power = 10 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough)
    first = math.ceil(low / step - 1e-9)
    return [round(number * step, 12) for number in range(first, math.floor(high / step + 1e-9) + 1)]


def _number(value: float) -> str:
    if abs(value) >= 10_000:
        return f"{value / 1000:g}k"
    if 0 < abs(value) < 1e-3:
        digits, power = f"{value:.1e}".split("e")
        return f"{digits.removesuffix('.0')}e{int(power)}"
    return f"{value:.4g}"


def _thin(one: Series) -> Series:
    """At most so many points, each the mean of its neighbours."""
    if len(one.x_N) <= MOST_POINTS:
        return one
    groups = np.array_split(np.arange(len(one.x_N)), MOST_POINTS)
    x_N = np.array([one.x_N[group].mean() for group in groups])
    y_N = np.array([one.y_N[group].mean() for group in groups])
    return Series(one.name, x_N, y_N, one.color, one.smooth)


def _smoothed(y_N: NDArray[np.float64], share: float = 0.06) -> NDArray[np.float64]:
    """A centred mean over a share of the curve, which gaps do not widen."""
    half = max(1, round(share * len(y_N) / 2))
    finite_N = np.isfinite(y_N)
    kernel = np.ones(2 * half + 1)
    total_N = np.convolve(np.where(finite_N, y_N, 0.0), kernel, "same")
    count_N = np.convolve(finite_N.astype(np.float64), kernel, "same")
    smooth_N: NDArray[np.float64] = np.where(finite_N, total_N / np.maximum(count_N, 1), np.nan)
    return smooth_N


def _path(frame: Frame, x_N: NDArray[np.float64], y_N: NDArray[np.float64], css: str) -> str:
    words, pen = [], "M"
    for x, y in zip(x_N, y_N, strict=True):
        if math.isfinite(y):
            words.append(f"{pen}{frame.x(x):.1f} {frame.y(min(max(y, frame.y_low), frame.y_high)):.1f}")
            pen = "L"
        else:
            pen = "M"
    return f'<path class="{css}" d="{"".join(words)}"/>'


def _svg(title: str, parts: Sequence[str], height: int = HEIGHT, told: str = "") -> str:
    safe = html.escape(title)
    label = html.escape(f"{title}. {told}" if told else title)
    return (
        f'<svg viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{label}">{"".join(parts)}</svg>'
        f"<figcaption>{safe}</figcaption>"
    )


def _legend(names: Sequence[tuple[str, int]]) -> str:
    items = "".join(f'<li><i class="swatch c{color}"></i>{html.escape(name)}</li>' for name, color in names)
    return f'<ul class="legend">{items}</ul>'
