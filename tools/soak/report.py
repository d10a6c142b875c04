"""What a soak tells its reader: injuries, lives, recovery, growth, books and findings; and all of it in one line of JSON."""

import json
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from tools.soak.process_growth import ProcessGrowth
from tools.soak.recovery import RecoveryTimes
from tools.soak.run_under_test import RunUnderTest
from tools.soak.schedule import KINDS


@dataclass
class Soaked:
    """One soak, when it is over."""

    minutes: float
    seed: int
    missing: Sequence[str]
    """Kinds of injuries that cannot be done here."""
    done: Counter[str]
    hurt_s: float
    whole_s: float
    books: dict[str, Any]
    found: list[str] = field(default_factory=list)


def report(soaked: Soaked, run: RunUnderTest, growth: ProcessGrowth, recovery: RecoveryTimes) -> None:
    print("\ninjuries")
    for kind in KINDS:
        print(f"  {soaked.done[kind]:3}  {kind}" + ("  (left out)" if kind in soaked.missing else ""))
    print("lives")
    for role in run.roles:
        print(f"  {role.lives:3}  {role.name}")
    print("killed, and at work again after")
    for line in recovery.lines():
        print(f"  {line}")
    print(
        "memory and descriptors of lives that were long enough"
        + ("" if growth.growths() else ": none, not judged")
    )
    for one in growth.growths():
        print(f"  {one.role} {one.pid}: {one.seconds:.0f} s, {one.rss_mb:.0f} MB {one.rss_mb_per_min:+.2f} MB/min, "
              f"{one.descriptors} descriptors {one.descriptors_per_min:+.2f}/min")  # fmt: skip
    print("books")
    for name, value in soaked.books.items():
        print(f"  {name}: {value}")
    print("no violation" if not soaked.found else "violations")
    for text in soaked.found:
        print(f"  {text}")
    print(json.dumps(_numbers(soaked, run, growth, recovery)))


def _numbers(
    soaked: Soaked, run: RunUnderTest, growth: ProcessGrowth, recovery: RecoveryTimes
) -> dict[str, Any]:
    return {
        "soak": "failed" if soaked.found else "passed",
        "minutes": soaked.minutes,
        "seed": soaked.seed,
        "hurt_s": round(soaked.hurt_s),
        "whole_s": round(soaked.whole_s),
        "injuries": dict(soaked.done),
        "left_out": list(soaked.missing),
        "lives": {role.name: role.lives for role in run.roles},
        "recovery": recovery.numbers(),
        "growth": [vars(one) for one in growth.growths()],
        "cores": os.cpu_count(),
        **soaked.books,
        "violations": soaked.found,
    }
