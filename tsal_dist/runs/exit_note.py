"""The note that a role leaves for its launcher: whose it is to write."""

import logging
from collections.abc import Iterable

from tsal_dist.dist.topology import Seat
from tsal_dist.errors import ExchangeError, ExitCode
from tsal_dist.exchange.exit_note import Ending, write_note
from tsal_dist.exchange.room import when_there_is_room
from tsal_dist.exchange.tenure import Tenure
from tsal_dist.run import Run

log = logging.getLogger(__name__)


def leave_note(
    run: Run, seat: Seat, tenures: Iterable[Tenure], code: ExitCode, reason: str, attempt: int
) -> None:
    """Rank 0's last act. Whose turn is over says nothing: the note is its successor's."""
    if seat.rank != 0 or any(tenure.over for tenure in tenures):
        return
    path = run.dir.exit_note("student" if seat.role == "inline" else seat.name)
    try:
        when_there_is_room(
            lambda: write_note(path, Ending(code, reason, attempt)), run.config.runtime.deadlines
        )
    except ExchangeError as error:
        log.warning("no note says how this ended: %s", error)
