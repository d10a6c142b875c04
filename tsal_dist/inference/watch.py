"""Looks at footage that somebody waits for: a bar on standard error, drawn as it goes, and a camera until it is interrupted."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from tsal_dist.inference.detector import Detector, Options
from tsal_dist.inference.overlay import open_overlay
from tsal_dist.inference.pictures import FrameRange, Source, count_pictures
from tsal_dist.inference.prediction import Found


def watch(detector: Detector, source: Source, options: Options, overlay: Path | None) -> list[Found]:
    """One source's rows; drawn at once where `overlay` says where. A camera is watched until it is interrupted."""
    rows: list[Found] = []
    done = 0
    whole = options.frames == FrameRange()
    numbered = options.subjects == "many"
    count = count_pictures(source, options.frames)
    name = f"{detector.name}, {Path(source.path).name}"
    looks = detector.follow(source, options)
    with (
        open_overlay(overlay, source, options.most_error, whole, numbered) as drawn,
        progress_bar(name) as on_frame,
    ):
        try:
            for picture, found in looks:
                rows += found
                done += 1
                drawn.add(picture, found)
                on_frame(done, count)
        except KeyboardInterrupt:
            if source.kind != "live" or not rows:
                raise
    return rows


class Show(Protocol):
    """Called with how many are done, of how many, and what else there is to say."""

    def __call__(self, done: int, of: int, more: str = "") -> None: ...


@contextmanager
def progress_bar(name: str, unit: str = "frames") -> Iterator[Show]:
    """A bar on standard error that begins with the first of them, with their rate and what is left."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn(name), BarColumn(), MofNCompleteColumn(), TextColumn(unit),
        TextColumn("{task.fields[rate]}"), TextColumn("{task.fields[more]}"), TextColumn("left"), TimeRemainingColumn(),
    )  # fmt: skip
    progress = Progress(*columns, console=Console(stderr=True))

    def show(done: int, of: int, more: str = "") -> None:
        if not progress.tasks:
            progress.start()
            progress.add_task("", total=None, rate="", more="")
        task = progress.tasks[0]
        rate = f"{done / (task.elapsed or 1e-9):.1f}/s"
        progress.update(task.id, completed=done, total=of or None, rate=rate, more=more)

    try:
        yield show
    finally:
        if progress.tasks:
            progress.stop()
