"""Cells one after the other or several at a time, with a word on when they will be done."""

import math
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait

from tools.bench.accuracy.cells import Cell, Result
from tsal_dist.errors import TsalError

Train = Callable[[Cell], Result]


class Clock:
    """How long the rest will take, from how long cells of the same kind took, or else all of them."""

    def __init__(self, jobs: int) -> None:
        self._jobs = jobs
        self._seconds: dict[tuple[str, str], list[float]] = defaultdict(list)

    def note(self, cell: Cell, seconds: float) -> None:
        self._seconds[cell.data, cell.method].append(seconds)

    def remaining_s(self, left: Sequence[Cell]) -> float:
        """Not a number before anything is known."""
        everything = [second for kind in self._seconds.values() for second in kind]
        if not everything:
            return math.nan
        total = 0.0
        for cell in left:
            known = self._seconds.get((cell.data, cell.method)) or everything
            total += sum(known) / len(known)
        return total / max(1, min(self._jobs, len(left)))


def run_cells(
    cells: Sequence[Cell],
    train: Train,
    jobs: int,
    clock: Clock,
    done: Callable[[Cell, Result, float], None],
    failed: Callable[[Cell, TsalError], None],
) -> None:
    """Train all; `done` and `failed` are called here, one at a time. A cell that fails stops no other."""
    left = list(cells)
    with ThreadPoolExecutor(jobs) as pool:
        under_way: dict[Future[tuple[Result, float]], Cell] = {}
        waiting = iter(cells)
        try:
            while True:
                while len(under_way) < jobs and (cell := next(waiting, None)):
                    under_way[pool.submit(_timed, train, cell)] = cell
                if not under_way:
                    return
                for future in wait(under_way, return_when=FIRST_COMPLETED).done:
                    cell = under_way.pop(future)
                    left.remove(cell)
                    try:
                        result, seconds = future.result()
                    except TsalError as error:
                        failed(cell, error)
                        continue
                    clock.note(cell, seconds)
                    done(cell, result, clock.remaining_s(left))
        finally:
            pool.shutdown(cancel_futures=True)


def _timed(train: Train, cell: Cell) -> tuple[Result, float]:
    started = time.monotonic()
    return train(cell), time.monotonic() - started
