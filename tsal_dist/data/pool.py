"""Processes that read clips ahead of the training loop.

    ticket = pool.submit(request)   returns at once
    pool.take(ticket)               its clip, or why it cannot be read; waits for it

Each worker has one socket to its parent, and an end of file on it means death, in both directions: a killed
worker is an error at the parent's next call, and a killed parent leaves no worker behind. Pixels return through
anonymous shared memory, one slot per request, without a name that could leak. Workers are spawned, never forked:
a fork would copy the locks of torch's and pyarrow's threads. Which worker reads a clip changes nothing in it.
"""

import ctypes
import dataclasses
import faulthandler
import multiprocessing
import os
import signal
import time
from collections import deque
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from multiprocessing.util import Finalize

import cv2
import numpy as np

from tsal_dist.data.request import BuildReader, ClipRequest, ReadAhead, Reads, Unreadable
from tsal_dist.errors import ConfigError, DataError
from tsal_dist.records import Clip

NO_IMAGE = np.empty((0, 0, 0, 3), np.uint8)
# Bounds what waits in one socket, so that a send by the parent never blocks on a busy worker.
MOST_PER_WORKER = 64
_SIGNALS = {signal.SIGINT, signal.SIGTERM, signal.SIGUSR1}


def _attempt(reader: Reads, request: ClipRequest) -> Clip | Unreadable:
    try:
        return reader.read(request)
    except (DataError, OSError) as error:
        return Unreadable(request, str(error))


class InProcess:
    """The same two calls without a process: for whoever goes through a set once (evaluations, gates, exports, pages), where no
    training waits that decoding could run beside, and for `data.workers=0`."""

    def __init__(self, build_reader: BuildReader) -> None:
        self._reader = build_reader()
        self._waiting: dict[int, ClipRequest] = {}
        self._tickets = 0

    def submit(self, request: ClipRequest) -> int:
        self._tickets += 1
        self._waiting[self._tickets] = request
        return self._tickets

    def take(self, ticket: int) -> Clip | Unreadable:
        return _attempt(self._reader, self._waiting.pop(ticket))

    def close(self) -> None:
        self._waiting.clear()
        self._reader.close()


@dataclass
class _Worker:
    process: SpawnProcess
    socket: Connection
    tickets: deque[int]
    """What it was given and has not answered, oldest first; it answers in that order."""


class Workers:
    """`workers` processes behind two calls; see the top of this page.

    `deadline_s` is how long `take` waits without hearing from any worker.
    """

    def __init__(
        self,
        build_reader: BuildReader,
        workers: int,
        clips_ahead: int,
        frame_bytes: int,
        frames_per_clip: int,
        deadline_s: float = 120.0,
    ) -> None:
        self._deadline_s = deadline_s
        self._frames_per_clip = frames_per_clip
        slots = max(workers, min(clips_ahead, workers * MOST_PER_WORKER))
        context = multiprocessing.get_context("spawn")
        slot_bytes = frame_bytes * frames_per_clip
        memory = context.RawArray(ctypes.c_ubyte, slots * slot_bytes)
        self._slots = np.ctypeslib.as_array(memory).reshape(slots, slot_bytes)
        self._free = list(range(slots))
        self._backlog: deque[int] = deque()
        self._requests: dict[int, ClipRequest] = {}
        self._slot_of: dict[int, int] = {}
        self._done: dict[int, Clip | Unreadable] = {}
        self._tickets = 0
        self._workers: list[_Worker] = []
        # Runs at exit before multiprocessing terminates and joins its children, which would wait for ever on
        # workers that ignore SIGTERM.
        self._finalizer = Finalize(self, _stop, args=(self._workers,), exitpriority=10)
        for number in range(workers):
            mine, theirs = context.Pipe(duplex=True)
            process = context.Process(
                target=_serve,
                args=(theirs, build_reader, memory, slot_bytes),
                name=f"clips-{number}",
                daemon=True,
            )
            # Blocked until the worker has its own handlers: a signal to the job may come while it starts.
            before = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
            try:
                process.start()
            finally:
                signal.pthread_sigmask(signal.SIG_SETMASK, before)
            theirs.close()  # the worker's end lives in the worker alone, or its death would not close it
            self._workers.append(_Worker(process, mine, deque()))

    def submit(self, request: ClipRequest) -> int:
        """Give a request to the least busy worker, as soon as there is a slot for its pixels."""
        if request.num_frames > self._frames_per_clip:
            raise ConfigError(
                f"A clip of {request.num_frames} frames was asked of readers made for {self._frames_per_clip}."
            )
        self._tickets += 1
        self._requests[self._tickets] = request
        self._backlog.append(self._tickets)
        self._collect(0.0)
        return self._tickets

    def take(self, ticket: int) -> Clip | Unreadable:
        """A request's clip; waits for it. A dead or silent worker is a DataError."""
        patience = time.monotonic() + self._deadline_s
        while ticket not in self._done:
            if self._collect(min(1.0, self._deadline_s)):
                patience = time.monotonic() + self._deadline_s
            elif time.monotonic() > patience:
                self._silent(ticket)
        return self._done.pop(ticket)

    def close(self) -> None:
        """Stop the workers; a request under way is forgotten."""
        self._finalizer()

    @property
    def pids(self) -> list[int]:
        return [worker.process.pid or 0 for worker in self._workers]

    def _collect(self, timeout_s: float) -> int:
        """Take in what workers have answered; return how many answers came."""
        came = 0
        ready = wait([worker.socket for worker in self._workers], timeout_s)
        for worker in [each for each in self._workers if each.socket in ready]:
            try:
                while worker.socket.poll():
                    self._take_in(worker, worker.socket.recv())
                    came += 1
            except (EOFError, ConnectionError):
                self._died(worker)
        self._hand_out()
        return came

    def _hand_out(self) -> None:
        while self._backlog and self._free:
            worker = min(self._workers, key=lambda each: len(each.tickets))
            if len(worker.tickets) == MOST_PER_WORKER:
                return
            ticket, slot = self._backlog.popleft(), self._free.pop()
            worker.tickets.append(ticket)
            self._slot_of[ticket] = slot
            try:
                worker.socket.send((slot, self._requests[ticket]))
            except OSError:
                self._died(worker)

    def _take_in(self, worker: _Worker, answer: "tuple[Clip, tuple[int, ...]] | str") -> None:
        ticket = worker.tickets.popleft()
        request, slot = self._requests.pop(ticket), self._slot_of.pop(ticket)
        if isinstance(answer, str):
            self._done[ticket] = Unreadable(request, answer)
        else:
            clip, shape = answer
            # One copy out of the slot: the caller may keep a clip for as long as it likes.
            image = self._slots[slot, : int(np.prod(shape))].reshape(shape).copy()
            self._done[ticket] = dataclasses.replace(clip, image_THWC=image)
        self._free.append(slot)

    def _died(self, worker: _Worker) -> None:
        worker.process.join(1.0)
        code = worker.process.exitcode
        cause = (
            f"was killed by signal {-code}"
            if code is not None and code < 0
            else f"ended with exit code {code}"
        )
        where = _describe(self._requests[worker.tickets[0]]) if worker.tickets else "nothing"
        pid = worker.process.pid
        self.close()
        raise DataError(
            f"Data worker {pid} {cause} while it read {where}. "
            "Signal 9 is mostly the kernel out of memory: use fewer workers or a smaller prefetch."
        )

    def _silent(self, ticket: int) -> None:
        # A request that still waits its turn is held up by whatever the busiest worker does.
        worker = next(
            (each for each in self._workers if ticket in each.tickets),
            max(self._workers, key=lambda each: len(each.tickets)),
        )
        where = _describe(self._requests[worker.tickets[0]])
        pid = worker.process.pid
        if pid is not None and worker.process.is_alive():
            os.kill(pid, signal.SIGUSR1)  # it writes its stack to stderr
            time.sleep(0.2)
        self.close()
        raise DataError(
            f"Data worker {pid} gave no clip for {self._deadline_s:.0f} s while it read {where}; its stack is in the "
            "log if it could still answer. Look at the storage below the shards."
        )


def _describe(request: ClipRequest) -> str:
    return f"shard {request.ref.shard} frame {request.ref.index}"


def _stop(workers: list[_Worker]) -> None:
    for worker in workers:
        worker.socket.close()
    for worker in workers:
        worker.process.join(1.0)
        if worker.process.is_alive():
            worker.process.kill()
            worker.process.join(5.0)
        worker.process.close()
    workers.clear()


def _serve(
    socket: Connection, build_reader: BuildReader, memory: "ctypes.Array[ctypes.c_ubyte]", slot_bytes: int
) -> None:
    """A worker's life: answer requests in order until the parent is gone."""
    # The scheduler's signals go to every process of a job; only the parent decides when to stop.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    faulthandler.register(signal.SIGUSR1)  # a worker that is asked where it hangs must not die of it
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
    cv2.setNumThreads(0)
    slots = np.ctypeslib.as_array(memory).reshape(-1, slot_bytes)
    reader = build_reader()
    try:
        while True:
            slot, request = socket.recv()
            answer = _attempt(reader, request)
            if isinstance(answer, Unreadable):
                socket.send(answer.reason)
                continue
            image = answer.image_THWC
            slots[slot, : image.size] = image.reshape(-1)
            socket.send((dataclasses.replace(answer, image_THWC=NO_IMAGE), image.shape))
    except (EOFError, ConnectionError):
        pass  # the parent closed its end, or died
    finally:
        reader.close()


def build_pool(
    build_reader: BuildReader, ahead: ReadAhead, clips_ahead: int, crop_px: int, frames_per_clip: int
) -> InProcess | Workers:
    """A pool for so many clips ahead, each of at most `frames_per_clip` crops."""
    if ahead.workers == 0:
        return InProcess(build_reader)
    frame_bytes = crop_px * crop_px * 3
    return Workers(build_reader, ahead.workers, clips_ahead, frame_bytes, frames_per_clip, ahead.deadline_s)
