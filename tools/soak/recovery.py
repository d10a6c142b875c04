"""How long it takes until what was killed is at work again: a student, a teacher, or both, as when a machine goes down."""

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from tools.soak.run_under_test import Role

VICTIMS = {"kill a student": "student", "kill a teacher": "teacher", "kill both roles": "machine"}
"""The injuries that are timed, and whose recovery they tell of."""


@dataclass
class RecoveryTimes:
    """Tell it of every injury, and call `look` often."""

    clock: Callable[[], float] = time.monotonic
    seconds: dict[str, list[float]] = field(default_factory=lambda: {name: [] for name in VICTIMS.values()})
    _open: list[tuple[str, float, list[tuple[Role, int]]]] = field(default_factory=list)
    """Whose recovery is awaited, since when, and which lives it was that ended."""

    def begin(self, kind: str, roles: Sequence[Role]) -> None:
        """The injury `kind` is done now."""
        victim = VICTIMS.get(kind)
        if victim:
            lives = [(role, role.lives) for role in roles if victim in (role.name, "machine")]
            self._open.append((victim, self.clock(), lives))

    def look(self) -> None:
        for one in list(self._open):
            victim, since, lives = one
            if all(role.lives > before and role.ready() for role, before in lives):
                self.seconds[victim].append(self.clock() - since)
                self._open.remove(one)

    def lines(self) -> list[str]:
        return [
            f"{name}: median {statistics.median(times):.1f} s, worst {max(times):.1f} s of {len(times)}"
            if times
            else f"{name}: none was killed"
            for name, times in self.seconds.items()
        ]

    def numbers(self) -> dict[str, dict[str, float]]:
        """Median and worst of each that was killed at all."""
        return {
            name: {
                "median_s": round(statistics.median(times), 1),
                "worst_s": round(max(times), 1),
                "times": len(times),
            }
            for name, times in self.seconds.items()
            if times
        }
