"""A large trained detector teaches a small one of another kind: where the points are, and how it sees them.

At each point the student's embedding, brought to the teacher's width by a layer that learns with it, is turned towards the
teacher's: 1 minus their cosine, so that neither's scale matters.
"""

from dataclasses import replace

from pydantic import Field

from tsal_dist.config.section import Section
from tsal_dist.models.embedding import embedding_width
from tsal_dist.recipes.api import Member, Recipe, Source, Task
from tsal_dist.recipes.following import Frozen, find_teacher
from tsal_dist.recipes.labellers import Plain, peaks
from tsal_dist.recipes.students import ShowsEmbedding
from tsal_dist.recipes.target import Evidence, Target
from tsal_dist.recipes.terms import EmbeddingDirection, TargetHeatmaps


class Settings(Section):
    """The teacher does not change, so its labels do not age."""

    teacher: str = ""
    """The teacher's run folder, or an exported file of weights."""

    embedding: float = Field(1.0, ge=0)
    """Weight of the embeddings beside the maps."""


def recipe(settings: Settings, task: Task) -> Recipe:
    """One frozen teacher; a student that shows its embedding."""
    build = find_teacher(settings.teacher, task)
    width = embedding_width(build())

    def label(evidence: Evidence) -> Target:
        return replace(peaks(evidence), more={"embedding": evidence.more["look"]})

    return Recipe(
        label=Plain(label),
        sources=(Source("look", "feature", size=width),),
        terms=(TargetHeatmaps(), EmbeddingDirection(settings.embedding)),
        panel={"teacher": Member(Frozen(), build=build)},
        student=ShowsEmbedding(width),
    )
