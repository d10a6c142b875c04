"""A disk that is full for a while: what is only opened then is waited for, with a deadline, as what is running is."""

import logging
import time
from collections.abc import Callable
from typing import TypeVar

from tsal_dist.config.runtime import DeadlinesConfig
from tsal_dist.errors import DiskFull

log = logging.getLogger(__name__)

Opened = TypeVar("Opened")


def when_there_is_room(open_it: Callable[[], Opened], limits: DeadlinesConfig | None) -> Opened:
    """What `open_it` gives, tried again while the disk is full; once without `limits`. It must leave nothing behind when
    it raises DiskFull."""
    if limits is None:
        return open_it()
    deadline = time.monotonic() + limits.silent_s
    said = False
    while True:
        try:
            return open_it()
        except DiskFull as full:
            if time.monotonic() > deadline:
                raise
            if not said:
                log.warning("waiting up to %g s for room: %s", limits.silent_s, full)
            said = True
            time.sleep(limits.poll_s)
