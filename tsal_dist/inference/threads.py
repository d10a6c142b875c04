"""How many threads one small picture after another is worth.

Threads that wait for each other after every layer cost more than they save where the picture is small or the cores
are busy: two threads on two busy cores were found fifteen times slower than one.
"""

import time
from collections.abc import Callable

LOOKS = 3
"""Timed of each; the fastest counts."""
WORTH = 0.8
"""More threads must take at most so much of one thread's time."""


def choose_threads(
    work: Callable[[], object], set_threads: Callable[[int], None], most: int, asked: int = 0
) -> int:
    """Set `asked` threads, or one or `most`, whichever does `work` sooner; how many it is now."""
    if asked or most == 1:
        set_threads(asked or 1)
        return asked or 1
    set_threads(1)
    work()
    alone_s = _fastest_s(work)
    set_threads(most)
    if _fastest_s(work) <= WORTH * alone_s:
        return most
    set_threads(1)
    return 1


def _fastest_s(work: Callable[[], object]) -> float:
    times = []
    for _ in range(LOOKS):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return min(times)
