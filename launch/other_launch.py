"""Whether another launch has taken over a role of this one. Then nobody restarts it here: the two would end each other, in turns.

Somebody has started the same run twice. The processes that began later go on, those that began earlier end (StaleRun), and
the launcher of these must not start them again.
"""

from collections.abc import Mapping, Sequence

from tsal_dist.exchange.posix import PosixStore
from tsal_dist.exchange.tenure import newest_turn
from tsal_dist.run import living
from tsal_dist.run_dir import RunDir


def turns_of(run_dir: RunDir, roles: Sequence[str]) -> dict[str, int]:
    """Per role the newest turn of its first rank; taken before a crew starts."""
    if not run_dir.root.is_dir():
        return dict.fromkeys(roles, 0)
    return {role: newest_turn(PosixStore(run_dir.root), role, 0) for role in roles}


def taken_over(run_dir: RunDir, before: Mapping[str, int], beat_s: float) -> str:
    """The process of another launch that is at work in a role of a crew that has ended; "" where there is none.

    One start of a crew begins one turn. Only where there were more it is worth the seconds of looking for a heartbeat.
    """
    roles = [role for role, turn in turns_of(run_dir, list(before)).items() if turn > before[role] + 1]
    return living(run_dir, beat_s, [f"{role}-0" for role in roles]) if roles else ""
