"""One HTML page that needs nothing but itself: no network, no script, light and dark, wide and narrow."""

import base64
import html
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

STYLE = """
:root { color-scheme: light dark;
  --paper: #fbfaf7; --card: #ffffff; --ink: #1d2126; --soft: #626a73; --rule: #e3e0d8; --accent: #0b6e99;
  --c0: #0b6e99; --c1: #d1671f; --c2: #7b4fa3; --c3: #2e8540; --c4: #b3273f; --c5: #8a6d00; --bad: #c62828; --cool: #7fa7bd;
}
@media (prefers-color-scheme: dark) { :root {
  --paper: #14171a; --card: #1c2024; --ink: #e6e4de; --soft: #9aa3ab; --rule: #30363c; --accent: #6cc3ea;
  --c0: #6cc3ea; --c1: #f2a35e; --c2: #c3a0ea; --c3: #7fd08f; --c4: #f2808f; --c5: #e0c25a; --bad: #ff7b6e; --cool: #4d6b7a;
} }
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; scroll-behavior: smooth; }
body { margin: 0; background: var(--paper); color: var(--ink);
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", sans-serif; }
main, header, footer, nav { max-width: 74rem; margin: 0 auto; padding: 0 1.25rem; }
header { padding-top: 2.5rem; }
h1 { font-size: clamp(1.7rem, 5vw, 2.6rem); line-height: 1.15; letter-spacing: -0.02em; margin: 0 0 .3rem; }
h2 { font-size: 1.35rem; letter-spacing: -0.01em; margin: 3rem 0 .4rem; padding-top: 1.1rem; border-top: 1px solid var(--rule); }
h3 { font-size: 1rem; margin: 1.6rem 0 .4rem; }
p { max-width: 46rem; margin: .4rem 0 .9rem; }
.lead, .note, footer, figcaption, .photo small { color: var(--soft); }
.note { font-size: .92rem; }
a { color: var(--accent); }
nav { display: flex; flex-wrap: wrap; gap: .2rem 1.1rem; padding-top: .8rem; font-size: .92rem; }
nav a { text-decoration: none; }
.alarm { border-left: 4px solid var(--bad); padding: .5rem .9rem; margin: .6rem 0; background: var(--card); }
.tiles { display: grid; gap: .8rem; grid-template-columns: repeat(auto-fit, minmax(11rem, 1fr)); margin: 1.4rem 0; }
.tile { background: var(--card); border: 1px solid var(--rule); border-radius: .7rem; padding: .8rem 1rem; }
.tile b { display: block; font-size: 1.35rem; line-height: 1.3; white-space: nowrap; font-variant-numeric: tabular-nums; letter-spacing: -0.02em; }
.tile span { color: var(--soft); font-size: .85rem; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: .95rem; }
th, td { text-align: right; padding: .4rem .8rem; border-bottom: 1px solid var(--rule); white-space: nowrap; }
th:first-child, td:first-child { text-align: left; padding-left: 0; }
thead th { color: var(--soft); font-weight: 600; font-size: .85rem; }
td.best { font-weight: 700; color: var(--accent); }
table.words th, table.words td { text-align: left; }
table.words td { text-align: left; white-space: normal; overflow-wrap: anywhere; }
code, pre { font: .85rem/1.5 ui-monospace, "SF Mono", Menlo, Consolas, monospace; }
pre { overflow-x: auto; background: var(--card); border: 1px solid var(--rule); border-radius: .5rem; padding: .8rem; }
summary { cursor: pointer; color: var(--accent); margin: .6rem 0; }
.charts { display: grid; gap: 1rem; grid-template-columns: repeat(auto-fill, minmax(min(100%, 21rem), 1fr)); margin: 1rem 0; }
.charts figure { margin: 0; background: var(--card); border: 1px solid var(--rule); border-radius: .7rem; padding: .8rem .9rem; min-width: 0;
  display: flex; flex-direction: column; }
figcaption { order: -1; font-size: .9rem; font-weight: 600; padding-bottom: .4rem; }
svg { width: 100%; height: auto; display: block; }
.grid { stroke: var(--rule); stroke-width: 1; } .mark { stroke: var(--soft); stroke-dasharray: 3 3; }
.tick { fill: var(--soft); font-size: 11.5px; paint-order: stroke; stroke: var(--card); stroke-width: 4px; stroke-linejoin: round; }
.whisker { stroke: var(--soft); stroke-width: 1.5; } .contour { stroke: var(--rule); stroke-width: 2; } .opening { font-size: 1.12rem; max-width: 52rem; }
details > summary { font-weight: 600; } .axis { fill: var(--soft); font-size: 12px; }
.line { fill: none; stroke: var(--c); stroke-width: 2; stroke-linejoin: round; } .line.faint { opacity: .25; stroke-width: 1; }
.dot, .bar { fill: var(--c); } .landmark { fill: color-mix(in oklab, var(--bad) calc(var(--share) * 100%), var(--cool)); fill-opacity: .85; }
.c0 { --c: var(--c0); } .c1 { --c: var(--c1); } .c2 { --c: var(--c2); } .c3 { --c: var(--c3); } .c4 { --c: var(--c4); } .c5 { --c: var(--c5); }
.legend { list-style: none; display: flex; flex-wrap: wrap; gap: .2rem 1rem; margin: .5rem 0 0; padding: 0; font-size: .85rem; color: var(--soft); }
.swatch { display: inline-block; width: .8em; height: .8em; border-radius: 50%; background: var(--c); margin-right: .4em; }
.photos { display: grid; gap: .8rem; grid-template-columns: repeat(auto-fill, minmax(min(46%, 15rem), 1fr)); margin: .8rem 0 1.4rem; }
.photo { margin: 0; min-width: 0; } .photo div { position: relative; border-radius: .6rem; overflow: hidden; background: #000; }
.photo img { display: block; width: 100%; } .photo svg { position: absolute; inset: 0; height: 100%; }
.photo small { display: block; padding-top: .3rem; overflow-wrap: anywhere; line-height: 1.35; }
.p-gap { stroke: #ffffffb0; stroke-width: .8; } .p-bone { stroke: currentColor; stroke-width: .9; stroke-opacity: .75; }
.p0 { fill: #29b6f6; color: #29b6f6; } .p1 { fill: #ff9d45; color: #ff9d45; } .p2 { fill: #c79bff; color: #c79bff; }
.p3 { fill: #7fe08f; color: #7fe08f; } .p4 { fill: #ff8090; color: #ff8090; } .p5 { fill: #ffe066; color: #ffe066; }
.photo circle { stroke: #000a; stroke-width: .5; } .photo .p-truth { fill: #000a; stroke: #fff; stroke-width: .8; }
.photo label { cursor: zoom-in; display: block; } .photo input { position: absolute; opacity: 0; }
.photo:has(input:focus-visible) div { outline: 3px solid var(--accent); outline-offset: 2px; }
.photo:has(input:checked) { grid-column: 1 / -1; } .photo:has(input:checked) label { cursor: zoom-out; }
.photo:has(input:checked) div { max-width: min(100%, 92vh); }
.choose { display: flex; flex-wrap: wrap; gap: .3rem 1.2rem; font-size: .92rem; } .choose label { cursor: pointer; }
.choose i { display: inline-block; width: .8em; height: .8em; border-radius: 50%; margin: 0 .3em; vertical-align: -.05em; }
.wide { width: 100%; border-radius: .6rem; }
footer { padding-top: 3rem; padding-bottom: 3rem; font-size: .88rem; }
@media (max-width: 40rem) { body { font-size: 15px; } th, td { padding: .35rem .55rem; } .tile b { font-size: 1.12rem; }
  .tiles { grid-template-columns: 1fr 1fr; } }
@media print { .charts figure, .photo { break-inside: avoid; } nav { display: none; } }
"""

PHOTO_COLORS = ("#29b6f6", "#ff9d45", "#c79bff", "#7fe08f", "#ff8090", "#ffe066")
"""Bright on any photograph, in light and in dark mode; the style's p0 to p5."""


@dataclass(frozen=True)
class Section:
    """A chapter of the page; `body` is HTML."""

    key: str
    title: str
    body: str


@dataclass(frozen=True)
class Marks:
    """What one model says of a photo, in its pixels."""

    name: str
    points_K2: NDArray[np.float64]
    color: int


@dataclass(frozen=True)
class Truth:
    """Where the points are, in the photo's pixels."""

    points_K2: NDArray[Any]
    visible_K: NDArray[np.bool_]


def build_page(title: str, lead: str, top: str, sections: Sequence[Section], foot: str) -> str:
    """The whole document. `lead` and `foot` are plain text, `top` is HTML."""
    links = "".join(f'<a href="#{one.key}">{html.escape(one.title)}</a>' for one in sections)
    body = "".join(
        f'<section id="{one.key}"><h2>{html.escape(one.title)}</h2>{one.body}</section>' for one in sections
    )
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<link rel="icon" href="data:,">'
        f"<title>{html.escape(title)}</title><style>{STYLE}</style></head><body>"
        f'<header><h1>{html.escape(title)}</h1><p class="lead">{html.escape(lead)}</p></header><nav>{links}</nav>'
        f"<main>{top}{body}</main><footer>{html.escape(foot)}</footer></body></html>\n"
    )


def tiles(facts: Sequence[tuple[str, str]]) -> str:
    """The few numbers that come first: value, what it is."""
    found = "".join(
        f'<div class="tile"><b>{html.escape(value)}</b><span>{html.escape(name)}</span></div>'
        for value, name in facts
    )
    return f'<div class="tiles">{found}</div>'


def table(
    head: Sequence[str], rows: Sequence[Sequence[str]], best: Sequence[int | None] = (), words: bool = False
) -> str:
    """A table; `best` names for each column the row that stands out, `words` lets cells wrap."""
    top = "".join(f"<th>{html.escape(name)}</th>" for name in head)
    lines = []
    for number, row in enumerate(rows):
        cells = "".join(
            f"<td{' class=best' if column < len(best) and best[column] == number else ''}>{html.escape(cell)}</td>"
            for column, cell in enumerate(row)
        )
        lines.append(f"<tr>{cells}</tr>")
    css = ' class="words"' if words else ""
    return f'<div class="scroll"><table{css}><thead><tr>{top}</tr></thead><tbody>{"".join(lines)}</tbody></table></div>'


def charts(figures: Sequence[str]) -> str:
    """Charts side by side where there is room."""
    return '<div class="charts">' + "".join(f"<figure>{one}</figure>" for one in figures if one) + "</div>"


def heading(text: str) -> str:
    return f"<h3>{html.escape(text)}</h3>"


def paragraph(text: str, css: str = "") -> str:
    return f"<p{f' class={css}' if css else ''}>{html.escape(text)}</p>"


def bullets(lines: Sequence[str]) -> str:
    return "<ul>" + "".join(f"<li>{html.escape(line)}</li>" for line in lines) + "</ul>"


def fold(summary: str, text: str) -> str:
    """Something long that few will open."""
    return f"<details><summary>{html.escape(summary)}</summary><pre>{html.escape(text)}</pre></details>"


def unfold(summary: str, body: str) -> str:
    """HTML that waits until it is asked for."""
    return f"<details><summary>{html.escape(summary)}</summary>{body}</details>" if body else ""


def choices(names: Sequence[tuple[str, str]], shown: int) -> str:
    """Switches that show and hide marks in the section they stand in: name, colour. The first `shown` are on.

    No script: the style asks `:has`.
    """
    rules = "".join(
        f"section:has(#show{number}:not(:checked)) .layer{number} {{ display: none; }}"
        for number in range(len(names))
    )
    boxes = "".join(
        f'<label><input type="checkbox" id="show{number}"{" checked" if number < shown else ""}>'
        f'<i style="background:{color};border:1px solid var(--soft)"></i>{html.escape(name)}</label>'
        for number, (name, color) in enumerate(names)
    )
    return f'<style>{rules}</style><div class="choose">{boxes}</div>'


def photo(
    image_HWC: NDArray[np.uint8],
    truth: Truth | None,
    found: Sequence[Marks],
    caption: Sequence[str],
    lines: Sequence[tuple[int, int]] = (),
) -> str:
    """A frame with true points (small rings) and found ones (dots, joined by `lines`), and a line from each truth to the
    first model's dot. Clicked, it takes the whole width."""
    size = image_HWC.shape[0]
    layers = [_layer(number, one, truth, lines, size / 110) for number, one in enumerate(found, 1)]
    rings = ""
    if truth is not None:
        rings = "".join(
            f'<circle class="p-truth" cx="{x:.1f}" cy="{y:.1f}" r="{size / 190:.1f}"/>'
            for x, y in truth.points_K2[truth.visible_K]
        )
    words = "<br>".join(html.escape(line) for line in caption)
    told = html.escape(", ".join(line for line in reversed(caption) if line))
    return (
        f'<figure class="photo"><label><input type="checkbox" aria-label="Enlarge {told}"><div>'
        f'<img alt="{told}" src="{_jpeg(image_HWC)}">'
        f'<svg viewBox="0 0 {size} {size}" aria-hidden="true">{"".join(layers)}<g class="layer0">{rings}</g></svg></div>'
        f"</label><small>{words}</small></figure>"
    )


def picture(image_HWC: NDArray[np.uint8], told: str) -> str:
    """A drawing as wide as the page; `told` says what it shows to whoever cannot see it."""
    return f'<img class="wide" alt="{html.escape(told)}" src="{_jpeg(image_HWC)}">'


def _jpeg(image_HWC: NDArray[np.uint8]) -> str:
    """The image itself, as an address."""
    done, jpeg = cv2.imencode(
        ".jpg", cv2.cvtColor(image_HWC, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, 82]
    )
    assert done, "an 8-bit RGB image can always be encoded"
    return f"data:image/jpeg;base64,{base64.b64encode(jpeg.tobytes()).decode()}"


def _layer(
    number: int, one: Marks, truth: Truth | None, lines: Sequence[tuple[int, int]], radius: float
) -> str:
    """What one model says."""
    places = one.points_K2
    bones = "".join(
        f'<line class="p-bone" x1="{places[a, 0]:.1f}" y1="{places[a, 1]:.1f}" x2="{places[b, 0]:.1f}" y2="{places[b, 1]:.1f}"/>'
        for a, b in lines
    )
    dots = "".join(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius:.1f}"/>' for x, y in places)
    gaps = ""
    if number == 1 and truth is not None:
        gaps = "".join(
            f'<line class="p-gap" x1="{a:.1f}" y1="{b:.1f}" x2="{c:.1f}" y2="{d:.1f}"/>'
            for (a, b), (c, d) in zip(truth.points_K2[truth.visible_K], places[truth.visible_K], strict=True)
        )
    return f'<g class="layer{number} p{one.color}">{bones}{gaps}{dots}</g>'


def photos(found: Sequence[str]) -> str:
    return f'<div class="photos">{"".join(found)}</div>'
