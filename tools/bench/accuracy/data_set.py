"""A data set to compare methods on: its folds, the amounts of labels, and the settings that all methods share."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Fold:
    """What is trained on and what is held out, packed."""

    labelled: Mapping[str, str]
    """Folder of shards by amount of labels; every smaller amount is part of the larger ones."""
    unlabelled: str
    test: str
    validation: str = ""
    """Held-out frames that methods may measure themselves on as they train; "" where they have none."""


@dataclass(frozen=True)
class DataSet:
    """One block of the table."""

    name: str
    amounts: tuple[str, ...]
    """Names of the amounts of labels, few to many."""
    folds: tuple[Fold, ...]
    steps: int
    """Student steps of every method."""
    repeats: int
    """Trainings of each method and amount: repetition r takes fold r (in turns) and seed r."""
    settings: tuple[str, ...] = ()
    video: str = ""
    """Shards with a video that is held out and has no labels, for jitter; "" takes it from the test frames."""
    about: str = ""
    """Of the table's caption: what is held out, what errors are divided by."""

    def fold(self, repeat: int) -> Fold:
        return self.folds[repeat % len(self.folds)]
