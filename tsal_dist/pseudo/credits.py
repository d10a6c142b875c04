"""Backpressure: a producer parks at high water of untrained rows and goes on at low water.

Rows are freed when they are trained, not when they are read. The slowest living group counts. A group whose cursor
stands still for `group_ttl_s` is forgotten while another one lives; when none is left, `PeerLost` gives control back
to the teacher, which then ends or waits on as its loop sees fit. It is never wedged.
"""

import time
from collections.abc import Callable, Sequence

from tsal_dist.errors import ConfigError, PeerLost
from tsal_dist.exchange.store import Store, ensure
from tsal_dist.pseudo.cursor import cursor_name, load_cursor


def check_limits(*, low_rows: int, segment_rows: int, plan_rows: int, producers: int, unit: int) -> None:
    """Raise where these numbers could stop producers and planner in front of each other.

    All producers may be parked with just over `low_rows` each; that must be enough for one plan of all ranks, or
    nothing would ever be trained and freed again.
    """
    if segment_rows % unit:
        raise ConfigError(f"Segments of {segment_rows} rows cannot hold whole clips of {unit} frames.")
    if (low_rows + 1) * producers < plan_rows:
        need = -(-plan_rows // producers)
        raise ConfigError(
            f"{producers} producers parked just above {low_rows} rows hold fewer than the {plan_rows} rows of one "
            f"step, so both sides could wait for ever. Raise low water to {need} or lower the batch."
        )


class Credits:
    """One producer's view of its readers."""

    def __init__(
        self,
        store: Store,
        producer: str,
        groups: Sequence[str],
        high_rows: int,
        low_rows: int,
        group_ttl_s: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if not groups or not 0 <= low_rows < high_rows:
            raise ConfigError(
                f"Credits need a group and 0 <= low water < high water, not {list(groups)}, {low_rows}, {high_rows}."
            )
        self._store = store
        self._producer = producer
        self._high_rows = high_rows
        self._low_rows = low_rows
        self._ttl_s = group_ttl_s
        self._clock = clock
        self._beats: dict[str, tuple[str, float]] = {}
        self._trained_rows = 0
        self.parked = False
        for group in groups:
            ensure(store, cursor_name(group))
            self._beats[group] = ("", clock())

    def may_publish(self, committed_rows: int) -> bool:
        """Whether another segment may be started. Reads cursors only where the last answer does not suffice."""
        limit = self._low_rows if self.parked else self._high_rows - 1
        if committed_rows - self._trained_rows > limit:
            self._trained_rows = self._look()
        self.parked = committed_rows - self._trained_rows > limit
        return not self.parked

    def _look(self) -> int:
        """Rows trained by the slowest living group."""
        now = self._clock()
        rows: list[int] = []
        for group, (beat, since) in self._beats.items():
            cursor = load_cursor(self._store, group)
            if cursor is not None and cursor.beat != beat:
                self._beats[group] = (cursor.beat, now)
            elif now - since > self._ttl_s:
                continue
            rows.append(cursor.trained.get(self._producer, 0) if cursor else 0)
        if not rows:
            raise PeerLost(
                f"No reader of {self._store.where()} has moved for {self._ttl_s:g} s (groups "
                f"{', '.join(self._beats)}). Restart the student; what was committed waits for it."
            )
        return min(rows)
