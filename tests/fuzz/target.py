"""What a parser promises to a stranger, in one place: the tests and the coverage-guided fuzzer hold it to the same."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tsal_dist.errors import TsalError


def no_check(result: Any) -> None:
    """For formats whose parser says all there is to say."""


@dataclass(frozen=True)
class Target:
    """One parser.

    `parse` takes bytes to what the program would see, and may raise TsalError and nothing else. `place` must stand in
    every message. `check` asserts what holds for every result. A `sealed` format carries a checksum over all that
    counts, so damage is refused or changes nothing.
    """

    name: str
    whole: bytes
    """A valid input."""
    truth: Any
    """What it means."""
    parse: Callable[[bytes], Any]
    place: str
    sealed: bool = False
    check: Callable[[Any], None] = no_check

    def __repr__(self) -> str:
        return self.name

    def hold(self, data: bytes) -> bool:
        """Feed `data`; AssertionError or any other surprise is a defect. Returns whether it was accepted."""
        try:
            found = self.parse(data)
        except TsalError as error:
            text = str(error)
            assert self.place in text, f"the message does not name {self.place!r}: {text}"
            assert len(text) > len(self.place) + 10, f"the message gives no rule: {text}"
            return False
        self.check(found)
        if self.sealed:
            assert found == self.truth, "damage went unnoticed and changed the numbers"
        return True
