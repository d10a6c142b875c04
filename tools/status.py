"""How a run is: who is alive, how fast, what holds it up, what is wrong. Reads files only, during a run and after.

tsal status runs/demo
tsal status runs/demo --watch
tsal status runs/demo --json
"""

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from tsal_dist.cli import run_entry

if TYPE_CHECKING:
    from rich.console import RenderableType

    from tsal_dist.insight.status import Status, Watcher


def main(argv: list[str]) -> int:
    """Look twice, a moment apart: only what moves is alive."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=Path, metavar="RUN", help="the run's folder, such as runs/demo")
    parser.add_argument("--watch", action="store_true", help="go on looking until the run is over")
    parser.add_argument(
        "--json",
        action="store_true",
        help="one JSON document instead of text; with --watch, one in a line per look",
    )
    args = parser.parse_args(argv)

    from rich.console import Console

    from tsal_dist.insight.status import Watcher
    from tsal_dist.run_dir import RunDir

    watcher = Watcher(RunDir(args.run))
    if args.watch:
        _tell(watcher) if args.json else _watch(watcher)
        return 0
    status = watcher.look_twice()
    if args.json:
        print(json.dumps(status.to_json(), indent=1))
    else:
        console = Console()
        # In a log lines must not be folded to the width of a terminal that is not there.
        (console if console.is_terminal else Console(width=160)).print(_draw(status))
    return 0


def _looks(watcher: "Watcher") -> "Iterator[Status]":
    """One look after the other, until the run is over."""
    import time

    from tsal_dist.insight.status import LOOK_S

    while True:
        status = watcher.look()
        yield status
        if status.over:
            return
        time.sleep(LOOK_S / 2)


def _watch(watcher: "Watcher") -> None:
    from rich.live import Live

    with Live(auto_refresh=False) as live:
        for status in _looks(watcher):
            live.update(_draw(status), refresh=True)


def _tell(watcher: "Watcher") -> None:
    watcher.look_twice()  # a first look cannot know who is alive, and a program believes the first line
    for status in _looks(watcher):
        print(json.dumps(status.to_json()), flush=True)


def _draw(status: "Status") -> "RenderableType":
    from tsal_dist.observe.panel import draw

    return draw(status.snapshot, before=status.alarm_rows(), after=status.rows(), going=status.going)


if __name__ == "__main__":
    raise SystemExit(run_entry(main))
