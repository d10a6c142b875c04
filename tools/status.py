"""How a run is: who is alive, how fast, what holds it up, what is wrong. Reads files only, during a run and after.

python tools/status.py runs/demo
python tools/status.py runs/demo --watch
python tools/status.py runs/demo --json
"""

import argparse
import json
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
    parser.add_argument("--json", action="store_true", help="one JSON document instead of text")
    args = parser.parse_args(argv)

    from rich.console import Console

    from tsal_dist.insight.status import Watcher
    from tsal_dist.run_dir import RunDir

    watcher = Watcher(RunDir(args.run))
    if args.watch and not args.json:
        _watch(watcher)
        return 0
    status = watcher.look_twice()
    if args.json:
        print(json.dumps(status.to_json(), indent=1))
    else:
        console = Console()
        # In a log lines must not be folded to the width of a terminal that is not there.
        (console if console.is_terminal else Console(width=160)).print(_draw(status))
    return 0


def _watch(watcher: "Watcher") -> None:
    import time

    from rich.live import Live

    from tsal_dist.insight.status import LOOK_S

    with Live(_draw(watcher.look()), auto_refresh=False) as live:
        while True:
            status = watcher.look()
            live.update(_draw(status), refresh=True)
            if status.over:
                return
            time.sleep(LOOK_S / 2)


def _draw(status: "Status") -> "RenderableType":
    from tsal_dist.observe.panel import draw

    return draw(status.snapshot, before=status.alarm_rows(), after=status.rows(), going=status.going)


if __name__ == "__main__":
    raise SystemExit(run_entry(main))
