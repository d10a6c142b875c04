"""The first meeting of the roles: rank 0 waits for the other role, and the ranks above it for rank 0."""

import logging
from collections.abc import Callable, Iterable

from tsal_dist.clock import Clock
from tsal_dist.config.runtime import DeadlinesConfig
from tsal_dist.dist.collectives import broadcast_json
from tsal_dist.exchange.beat import Peer
from tsal_dist.exchange.fence import Handshake

log = logging.getLogger(__name__)


def meet(
    handshake: Handshake,
    peer: Peer,
    wait_s: float,
    limits: DeadlinesConfig,
    clock: Clock,
    give_up: Callable[[], bool],
    in_place: Callable[[], Iterable[Peer]] = tuple,
) -> None:
    """Rank 0's part: until the other role has answered or `wait_s` have passed, which is PeerLost.

    It may be longer than a collective may last, so the ranks above are told now and then that there is nothing new; and so
    is whoever reads the log.
    """
    began_s = told_s = clock.now_s()

    def give_up_or_tell() -> bool:
        nonlocal told_s
        if clock.now_s() - told_s > limits.silent_s:
            told_s = clock.now_s()
            log.info(
                "%s %d has not come yet: %.0f of at most %.0f s have passed", *peer, told_s - began_s, wait_s
            )
            tell_of_meeting(False)
        return give_up()

    try:
        handshake.meet([peer], wait_s, limits.poll_s, give_up_or_tell, in_place)
    finally:
        tell_of_meeting(True)


def tell_of_meeting(over: bool) -> None:
    """Rank 0's word to those that `await_meeting`."""
    broadcast_json(over)


def await_meeting() -> None:
    """The part of the ranks above 0."""
    while not broadcast_json(None):
        pass
