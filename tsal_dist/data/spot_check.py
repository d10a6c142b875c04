"""Tars on this machine held against their manifest, in the background and a little at a time.

Index and frame table of a shard are compared when it is opened (`ShardSet.tables`), and every image when it is read. The
tar as a whole is not: to read a data set before the first step would take hours. So a thread of one process per machine
goes through the tars of its disks while the run trains, and one that differs ends the run (`require`) before training or a
checkpoint goes on with it. Each machine looks, as each may have a copy of its own; in an order of its own, so that runs of
short attempts come to look at all of them.

What lies in an object store is left out: nothing takes its name in the shard cache that was not compared whole.
"""

import hashlib
import logging
import os
import random
import threading
from collections.abc import Iterable, Iterator
from types import TracebackType

from tsal_dist.clock import Clock
from tsal_dist.data.shard_set import LocalTar, ShardSet, not_as_packed
from tsal_dist.errors import DataError

log = logging.getLogger(__name__)

PIECE_BYTES = 1 << 20
"""Read and hashed in one go, without the interpreter's lock: a millisecond or less."""
ROUND_S = 24 * 3600.0
"""A round over all tars begins this long after the one before at the earliest: disks rot slowly."""
LEAVE_S = 1.0
"""A disk that hangs must not keep the process from leaving."""


class SpotCheck:
    """Compares the local tars of `sets` for as long as its `with` block lasts, at most `mb_per_s` of them; 0 looks at
    nothing. The thread is not niced: one that is put off while it holds the interpreter's lock would stop the training.
    """

    def __init__(
        self,
        sets: Iterable[ShardSet],
        mb_per_s: float,
        clock: Clock,
        order: random.Random | None = None,
    ) -> None:
        tars = {tar.path: tar for shards in sets for tar in shards.local_tars()} if mb_per_s else {}
        self._tars = list(tars.values())
        self._piece_s = PIECE_BYTES / (mb_per_s * 1e6) if mb_per_s else 0.0
        self._clock = clock
        self._order = order or random.Random()  # not the training's: it must not draw from that
        self._found: DataError | None = None
        self._leaving = threading.Event()
        self._thread: threading.Thread | None = None

    def require(self) -> None:
        """DataError where a tar was found that is not the one of its manifest."""
        if self._found:
            raise self._found

    def turns(self) -> Iterator[float]:
        """One piece per turn; after each, the seconds to rest. It ends where a tar differs, or where there is none."""
        while self._tars:
            began_s, unread = self._clock.now_s(), []
            for tar in self._order.sample(self._tars, len(self._tars)):
                try:
                    yield from self._compare(tar)
                except OSError as error:
                    unread.append(f"{tar.url} ({error})")
                if self._found:
                    return
            self._report(self._clock.now_s() - began_s, unread)
            yield max(0.0, began_s + ROUND_S - self._clock.now_s())

    def __enter__(self) -> "SpotCheck":
        if self._tars:
            self._thread = threading.Thread(target=self._run, name="spot-check", daemon=True)
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._leaving.set()
        if self._thread:
            self._thread.join(LEAVE_S)

    def _run(self) -> None:
        for rest_s in self.turns():
            if self._leaving.wait(rest_s):
                return

    def _compare(self, tar: LocalTar) -> Iterator[float]:
        digest = hashlib.sha256()
        handle = os.open(tar.path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            while piece := os.read(handle, PIECE_BYTES):
                digest.update(piece)
                yield self._piece_s
        finally:
            os.close(handle)
        if digest.hexdigest() != tar.sha256:
            self._found = DataError(
                f"{not_as_packed(tar.url, digest.hexdigest(), tar.sha256)} data.spot_check_mb_s=0 goes on without this "
                "look at whole tars; frames whose image is damaged are left out then."
            )

    def _report(self, took_s: float, unread: list[str]) -> None:
        if unread:
            log.warning(
                "%d of %d tars were not compared with their manifests, as they cannot be read: %s",
                len(unread), len(self._tars), "; ".join(unread[:3]),
            )  # fmt: skip
        compared = len(self._tars) - len(unread)
        gb = sum(tar.size_bytes for tar in self._tars) / 1e9
        log.info("%d tars (%.2f GB) were compared with their manifests in %.0f s", compared, gb, took_s)
