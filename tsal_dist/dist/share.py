"""Which part of a list is whose, where several machines do it together."""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

Item = TypeVar("Item")


@dataclass(frozen=True)
class Share:
    """What one of several machines does of a list that all of them know."""

    number: int
    """From 1."""
    of: int

    def choose(self, items: Sequence[Item]) -> Sequence[Item]:
        """Neighbours, which may have a video in common; as many for every machine, or one less."""
        first, behind = ((number * len(items)) // self.of for number in (self.number - 1, self.number))
        return items[first:behind]


def read_share(text: str) -> Share:
    """From I/N on a command line."""
    number, _, of = text.partition("/")
    if not (number.isdigit() and of.isdigit() and 1 <= int(number) <= int(of)):
        raise argparse.ArgumentTypeError(f"{text!r} is not I/N with I from 1 to N, such as 3/20")
    return Share(int(number), int(of))
