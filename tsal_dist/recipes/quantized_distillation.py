"""A trained detector teaches one whose weights have few bits: it learns with the weights that it will be used with.

Its weights are rounded while a step is computed, and exact where the step is taken, so that small steps add up. For nets and
chips that lose by rounding; docs/jobs.md says when it was worth nothing.
"""

from typing import Literal

from pydantic import Field

from tsal_dist.config.section import Section
from tsal_dist.recipes.api import Member, Recipe, Source, Task, unchanged
from tsal_dist.recipes.following import Frozen, find_teacher
from tsal_dist.recipes.labellers import Plain, peaks
from tsal_dist.recipes.quantise import in_bits
from tsal_dist.recipes.terms import TargetHeatmaps


class Settings(Section):
    """The teacher does not change, so its labels do not age."""

    teacher: str = ""
    """The teacher's run folder, or an exported file of weights."""

    bits: Literal[4, 8, 32] = 8
    """Of each weight; 32 leaves them exact. Two bits would be off by half of what a weight is."""

    taught: float = Field(0.7, ge=0, lt=1)
    """The teacher's share of what maps are learnt from; the labels have the rest."""


def recipe(settings: Settings, task: Task) -> Recipe:
    """One frozen teacher; a student that computes in few bits."""
    return Recipe(
        label=Plain(peaks),
        sources=(Source("look"),),
        terms=(TargetHeatmaps(settings.taught / (1 - settings.taught)),),
        panel={"teacher": Member(Frozen(), build=find_teacher(settings.teacher, task))},
        around=unchanged if settings.bits == 32 else in_bits(settings.bits, task.points),
    )
