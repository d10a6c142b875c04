"""Inspections ahead of need: the planner asks for the segments it is about to open and waits for the next one only.

On a local disk an inspection costs a millisecond and runs where it is asked for. Where a read takes tens of
milliseconds (object stores), `threads` of them run at once.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from tsal_dist.pseudo.admission import Inspection, inspect_segment
from tsal_dist.pseudo.log import Record
from tsal_dist.pseudo.topic import Topic

Task = TypeVar("Task")
Result = TypeVar("Result")
KEEP_VERIFIED = 4


class Inspector:
    """Runs reads for the planner, one after the other or `threads` at once."""

    def __init__(self, topic: Topic, threads: int) -> None:
        self._topic = topic
        self._pool = ThreadPoolExecutor(threads, "inspect") if threads > 1 else None
        self._ahead: dict[tuple[str, int], Future[Inspection]] = {}
        self._limit = 4 * threads
        self._verified: dict[tuple[str, int], bytes] = {}

    def expect(self, producer: str, record: Record) -> bool:
        """Start an inspection that will be asked for soon; False when enough are under way."""
        if self._pool is None or len(self._ahead) >= self._limit:
            return False
        key = producer, record.seq
        if key not in self._ahead:
            self._ahead[key] = self._pool.submit(inspect_segment, self._topic, producer, record)
        return True

    def inspect(self, producer: str, record: Record) -> Inspection:
        future = self._ahead.pop((producer, record.seq), None)
        found = future.result() if future else inspect_segment(self._topic, producer, record)
        if not found.fault:
            self._verified[producer, record.seq] = found.data
            while len(self._verified) > KEEP_VERIFIED:
                del self._verified[next(iter(self._verified))]
        return found

    def take_verified(self, producer: str, seq: int) -> bytes | None:
        """The bytes of a segment that was inspected lately, once: a reader in this process need not read it again."""
        return self._verified.pop((producer, seq), None)

    def map(self, read: Callable[[Task], Result], tasks: Sequence[Task]) -> list[Result]:
        """`read` of every task, in the order of the tasks."""
        if self._pool is None:
            return [read(task) for task in tasks]
        return list(self._pool.map(read, tasks))

    def close(self) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
