"""The heart of a process that is not there: who looks at a run's folder sees somebody at work."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tsal_dist.exchange.beat import Heart
from tsal_dist.exchange.posix import PosixStore


@contextmanager
def beating(run: Path, role: str) -> Iterator[None]:
    """It beats, as rank 0 of `role`, as long as this lasts."""
    heart, leave = Heart(PosixStore(run), role, 0, 9), threading.Event()

    def live() -> None:
        while not leave.wait(0.02):
            heart.beat("train", 3)

    heart.beat("train", 3)
    life = threading.Thread(target=live)
    life.start()
    try:
        yield
    finally:
        leave.set()
        life.join()
