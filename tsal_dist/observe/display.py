"""What a person sees of a run that goes on: a block that stays in place on a terminal, a line now and then in a log.

The process that shows it reads the other role's part from the run's files, as anybody could.
"""

import logging
import time
from collections.abc import Callable
from types import TracebackType

from rich.console import Console
from rich.live import Live

from tsal_dist.errors import TsalError
from tsal_dist.observe.panel import draw, format_line
from tsal_dist.observe.snapshot import read_snapshot
from tsal_dist.run_dir import RunDir

logger = logging.getLogger(__name__)

LIVE_S, LINE_S = 0.5, 30.0
"""How often a terminal and a log are told."""


class Display:
    """Shows how far a run is; `update` may be called at every step and decides itself when to speak."""

    def __init__(
        self,
        run_dir: RunDir,
        every_s: float = LINE_S,
        console: Console | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._run_dir = run_dir
        self._clock = clock
        console = console or Console(stderr=True)
        self._live = Live(console=console, auto_refresh=False) if console.is_terminal else None
        self._every_s = LIVE_S if self._live else every_s
        self._told = clock() if not self._live else -float("inf")  # a log's first line would know nothing
        self._step: int | None = None

    def update(self, step: int | None = None) -> None:
        """Tell that the student has taken `step` steps; without it, what the files know is shown."""
        self._step = step
        if self._clock() - self._told >= self._every_s:
            self._tell()

    def __enter__(self) -> "Display":
        if self._live:
            self._live.start()
            self._tell()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._tell()  # how it ended stays on the screen
        if self._live:
            self._live.stop()

    def _tell(self) -> None:
        self._told = self._clock()
        try:
            snapshot = read_snapshot(self._run_dir)
        except (OSError, TsalError) as error:  # on NFS a file may be replaced in the middle of a look
            logger.debug("nothing is shown this time: %s", error)
            return
        if self._live:
            self._live.update(draw(snapshot, self._step), refresh=True)
        else:
            logger.info(format_line(snapshot, self._step))
