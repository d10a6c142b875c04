"""Asked to leave before there is anything to save: leave at once, and ask to be started again.

Starting takes seconds: torch is imported, processes find each other. Whoever can save listens later (`dist.shutdown`) and
takes over what was asked meanwhile: Python may drop what a handler raises, where it strikes in the midst of an import.
"""

import signal
from types import FrameType, TracebackType
from typing import Any

from tsal_dist.errors import AskedToLeave


class EarlyLeave:
    """Listens for SIGTERM and SIGUSR1 within a `with` block; the main thread's, as Python demands."""

    SIGNALS = (signal.SIGTERM, signal.SIGUSR1)

    def __init__(self) -> None:
        self.reason = ""
        self._before: dict[signal.Signals, Any] = {}

    def __call__(self, number: int, frame: FrameType | None) -> None:
        self.reason = signal.Signals(number).name
        raise AskedToLeave(f"{self.reason} came before training had begun; there was nothing to save.")

    def __enter__(self) -> "EarlyLeave":
        self._before = {number: signal.signal(number, self) for number in self.SIGNALS}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
