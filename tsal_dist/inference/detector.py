"""A detector at work on footage, wherever it came from: what is asked of it, and what it found.

detector = open_detector(run="runs/mine")
found = detector.predict(["clip.mp4"], smooth="offline")
found.write_table(Path("landmarks.csv")); found.draw("overlay.mp4")
"""

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa

from tsal_dist.errors import ConfigError, DataError
from tsal_dist.inference.crowd import SEEK_EVERY, Seeker, follow_all
from tsal_dist.inference.fates import Fate, find_fate, summarise, tell_fate
from tsal_dist.inference.looking import Box, Eyes, search_all
from tsal_dist.inference.overlay import MOST_ERROR, open_overlay, plan_overlays
from tsal_dist.inference.pictures import (
    FrameRange,
    Image,
    Picture,
    Source,
    find_sources,
    read_pictures,
)
from tsal_dist.inference.prediction import THRESHOLD, Found, Trusted, follow
from tsal_dist.inference.smoothing import smooth
from tsal_dist.inference.table import build_table, write_table
from tsal_dist.pack.subject_models import load_detector

Smooth = Literal["", "offline", "causal"]
OnFrame = Callable[[int, int], None]
"""Called with how many frames are done, and of how many."""


@dataclass(frozen=True)
class Options:
    """How to look and what to show."""

    frames: FrameRange = FrameRange()
    first_box: Box | None = None
    boxes: Mapping[tuple[str, int | None], Box] = field(default_factory=dict)
    threshold: float = THRESHOLD
    most_error: float = MOST_ERROR
    smooth: Smooth = ""
    subjects: Literal["one", "many"] = "one"
    subject_model: str = ""
    """What finds subjects: a name or a file, as the packer takes it."""

    def __post_init__(self) -> None:
        given = [
            flag
            for flag, value in (
                ("--first-box", self.first_box is not None),
                ("--boxes", bool(self.boxes)),
                ("--face-model or --box-model", bool(self.subject_model)),
            )
            if value
        ]
        if len(given) > 1:
            raise ConfigError(f"{' and '.join(given)} both say where the subject is. Leave one of them out.")
        if self.subjects == "many" and given and not self.subject_model:
            raise ConfigError(
                f"{given[0]} is of one subject, and --subjects many finds its own. Leave one of them out."
            )


@dataclass(frozen=True)
class Predictions:
    """What was found, frame by frame."""

    sources: list[Source]
    rows: list[Found]
    options: Options = Options()
    unread: Mapping[str, str] = field(default_factory=dict)
    """Why a source could not be read, by its path."""

    @property
    def table(self) -> pa.Table:
        """As `write_table` writes it, with paths from the working folder."""
        return build_table(self.rows, Path(), self.options.most_error)

    def write_table(self, path: Path) -> None:
        """As .parquet or .csv."""
        write_table(path, self.rows, self.options.most_error)

    def draw(self, out: str) -> None:
        """Read the sources again, and write them with their landmarks: a file for one, a folder for more."""
        rows = self._by_path()
        for source, path in zip(self.sources, plan_overlays(out, self.sources), strict=True):
            if path and source.path not in self.unread:
                draw_rows(path, source, rows[source.path], self.options)

    def fates(self) -> list[str]:
        """What became of each source, a line for each."""
        return [tell_fate(fate, self.options.frames) for fate in self._fates()]

    def summary(self) -> str:
        """A sentence: in how many frames there is a subject, and how far off its points are expected to be."""
        return summarise(self._fates(), self.options.subjects == "many", self.options.most_error)

    def _fates(self) -> list[Fate]:
        rows, unread = self._by_path(), self.unread
        return [
            Fate(source, unread[source.path])
            if source.path in unread
            else find_fate(source, rows[source.path], self.options.most_error)
            for source in self.sources
        ]

    def _by_path(self) -> dict[str, list[Found]]:
        rows: dict[str, list[Found]] = {source.path: [] for source in self.sources}
        for row in self.rows:
            rows[row.path].append(row)
        return rows


def draw_rows(path: Path, source: Source, rows: Sequence[Found], options: Options) -> None:
    """Read a source again, and write it with the landmarks that were found."""
    of_frame: dict[int | None, list[Found]] = {}
    for row in rows:
        of_frame.setdefault(row.frame, []).append(row)
    how = {"sound": options.frames == FrameRange(), "numbered": options.subjects == "many"}
    with open_overlay(path, source, options.most_error, **how) as overlay:
        for picture in read_pictures(source, options.frames):
            if picture.frame in of_frame:
                overlay.add(picture, of_frame[picture.frame])


@dataclass
class Detector:
    """A detector, and how far it can be trusted."""

    eyes: Eyes
    trust: Trusted | None
    name: str
    """For tables and captions."""
    unknown: str = ""
    """What was not measured of it and why, for a user to read; "" where nothing is missing."""

    def predict(self, what: str | Sequence[str], **options: Any) -> Predictions:
        """Landmarks on videos, images, folders of them, or a camera; see `Options`."""
        chosen = Options(**options)
        sources = find_sources([what] if isinstance(what, str) else what)
        rows: list[Found] = []
        unread: dict[str, str] = {}
        for source, found in read_each(sources, lambda source: self.look_at(source, chosen)):
            if isinstance(found, str):
                unread[source.path] = found
            else:
                rows += smooth_rows(found, chosen.smooth)
        return Predictions(sources, rows, chosen, unread)

    def look_at(self, source: Source, options: Options) -> list[Found]:
        """All rows of one source, not smoothed."""
        return [row for _, found in self.follow(source, options) for row in found]

    def follow(self, source: Source, options: Options) -> Iterator[tuple[Picture, list[Found]]]:
        """One source frame by frame, not smoothed; of each frame its subjects, or one row that says there is none."""
        pictures = read_pictures(source, options.frames)
        if options.subjects == "many":
            return follow_all(self.eyes, pictures, self._seeker(options), self.trust, options.threshold)
        alone = follow(
            *(self.eyes, pictures, options.first_box, options.boxes, self.trust, options.threshold),
            find=partial(_first, find_subjects(options.subject_model)) if options.subject_model else None,
        )
        return ((picture, [found]) for picture, found in alone)

    def _seeker(self, options: Options) -> Seeker:
        if options.subject_model:
            return Seeker(find_subjects(options.subject_model), every=1, detects=True)
        if self.trust is None or self.trust.presence is None:
            raise ConfigError(
                f"--subjects many: nothing tells a subject from none, as {self.name} was never measured on held-out frames, or on "
                "a single one, or knows a single landmark. Train with data.validation, or name what finds subjects (--face-model, "
                "--box-model)."
            )
        return Seeker(partial(search_all, self.eyes), every=SEEK_EVERY, detects=False)


@cache
def find_subjects(name: str) -> Callable[[Image], list[Box]]:
    """The subjects of a picture, the best first. The net is read once, however many videos there are."""
    detect = load_detector(name)

    def find(image_HWC: Image) -> list[Box]:
        found_N5 = detect(image_HWC)
        return list(found_N5[np.argsort(-found_N5[:, 4], kind="stable"), :4].astype(np.float64))

    return find


def _first(find: Callable[[Image], list[Box]], image_HWC: Image) -> Box | None:
    return next(iter(find(image_HWC)), None)


def read_each(
    sources: Sequence[Source], read: Callable[[Source], list[Found]]
) -> Iterator[tuple[Source, list[Found] | str]]:
    """Each source with its rows, or with why it has none: one that is broken does not cost the others. Raises where none can
    be read."""
    unread = 0
    for source in sources:
        found: list[Found] | str
        try:
            found = read(source)
        except (ConfigError, DataError) as error:
            unread += 1
            if unread == len(sources):
                raise
            found = str(error)
        yield source, found


def smooth_rows(rows: list[Found], how: Smooth) -> list[Found]:
    """Rows whose points tremble less, each subject for itself; where no error is known, and of images, they stay as they
    are."""
    if not how:
        return rows
    smoothed = list(rows)
    for stretch in _stretches(rows):
        for place, row in zip(stretch, _smooth_stretch([rows[place] for place in stretch], how), strict=True):
            smoothed[place] = row
    return smoothed


def _stretches(rows: list[Found]) -> list[list[int]]:
    """Places of rows that show one subject in frame after frame of one video."""
    stretches: list[list[int]] = []
    last: dict[tuple[str, int], list[int]] = {}
    for place, row in enumerate(rows):
        if not _can_be_smoothed(row):
            continue
        stretch = last.get((row.path, row.subject))
        if stretch is None or row.frame != (rows[stretch[-1]].frame or 0) + 1:
            stretch = last[row.path, row.subject] = []
            stretches.append(stretch)
        stretch.append(place)
    return stretches


def _can_be_smoothed(row: Found) -> bool:
    return row.found and row.frame is not None and bool(np.isfinite(row.expected_px_K).all())


def _smooth_stretch(rows: list[Found], how: Smooth) -> list[Found]:
    """Frames of one video that all hold the subject."""
    times_ms = np.array([row.pts_ms for row in rows])
    gap_T = np.diff(times_ms, prepend=times_ms[0])
    usual_ms = float(np.median(gap_T[1:])) if len(rows) > 1 else 0.0
    gap_T = np.clip(gap_T / usual_ms, 0.2, 10.0) if usual_ms > 0 else np.ones(len(rows))
    points_TK2 = np.stack([row.points_K2 for row in rows])
    expected_TK = np.stack([row.expected_px_K for row in rows])
    found_TK2 = smooth(points_TK2, expected_TK, gap_T, causal=how == "causal")
    return [
        dataclasses.replace(row, points_K2=points_K2) for row, points_K2 in zip(rows, found_TK2, strict=True)
    ]
