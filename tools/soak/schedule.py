"""What happens when: a pure function of minutes and seed, so that a soak that found something can be run again.

Every kind comes once before any comes twice. Kills end after two thirds of the time: the processes that live then, live
long enough for a leak to show.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass

KILLS = (
    "kill a student",
    "kill a teacher",
    "kill both roles",
    "ask the student to leave",
    "ask the teacher to leave",
    "wake a zombie",
    "change the shards",
    "start on a stale listing",
)
STALLS = ("stall the student", "stall the teacher", "stall the teacher past its deadline")
DAMAGE = ("flip a bit", "cut a segment", "punch a hole", "tear the log")
MEDDLING = ("damage control files", "plant a stranger", "clean a living run")
FILL, JUMP, STALE = "fill the disk", "jump the clock", "start on a stale listing"
KINDS = (*KILLS, *STALLS, *DAMAGE, *MEDDLING, "jump file times", JUMP, FILL)
MOST_SEGMENTS_DAMAGED = 7
"""The runtime forgives eight in a run; then it ends it, as it should, and a test of its own holds that."""
GAP_S = (6.0, 18.0)
"""Between an injury's end and the next one."""
KILL_SHARE = 2 / 3


@dataclass(frozen=True)
class Event:
    """One injury; `dice` seeds what it chooses."""

    at_s: float
    kind: str
    dice: int


def plan_events(minutes: float, seed: int, kinds: Sequence[str] = KINDS) -> list[Event]:
    """Injuries in order of time; fewer than one per kind where the minutes do not suffice."""
    rng = random.Random(seed)
    events: list[Event] = []
    waiting: list[str] = []
    damaged = 0
    now_s, end_s = rng.uniform(*GAP_S), 60 * minutes
    while now_s < end_s:
        allowed = [kind for kind in kinds if kind not in KILLS or now_s < KILL_SHARE * end_s]
        allowed = [kind for kind in allowed if damaged < MOST_SEGMENTS_DAMAGED or kind not in DAMAGE[:3]]
        if not allowed:
            break
        waiting = [kind for kind in waiting if kind in allowed] or rng.sample(allowed, len(allowed))
        # Kills are possible for a while only, so of those that wait they come first.
        kind = next((kind for kind in waiting if kind in KILLS and len(events) % 2), waiting[0])
        waiting.remove(kind)
        damaged += kind in DAMAGE[:3]
        events.append(Event(now_s, kind, rng.randrange(2**32)))
        now_s += rng.uniform(*GAP_S)
    return events
