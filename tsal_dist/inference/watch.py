"""Looks at footage that somebody waits for: a bar on standard error, drawn as it goes, and a camera until it is interrupted."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tsal_dist.inference.detector import Detector, OnFrame, Options
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


@contextmanager
def progress_bar(name: str) -> Iterator[OnFrame]:
    """A bar on standard error that begins with the first frame."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn(name),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("frames"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=False) as progress:
        tasks: list[Any] = []

        def on_frame(done: int, of: int) -> None:
            if not tasks:
                tasks.append(progress.add_task("", total=of or None))
            progress.update(tasks[0], completed=done, total=of or None)

        yield on_frame
