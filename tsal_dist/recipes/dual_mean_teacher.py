"""Two students side by side, an averaging teacher of each; a point is learnt where the two teachers agree.

The target is the geometric mean of the two teachers' maps around the point: what only one of them sees is not in it.
"""

from pydantic import Field

from tsal_dist.config.section import Section
from tsal_dist.recipes import weighers
from tsal_dist.recipes.api import Member, Recipe, Source, Task
from tsal_dist.recipes.following import Newest
from tsal_dist.recipes.labellers import Plain
from tsal_dist.recipes.patches import lay_patches
from tsal_dist.recipes.students import Twin
from tsal_dist.recipes.target import Evidence, Target
from tsal_dist.recipes.terms import TargetHeatmaps


class Settings(Section):
    """The averages are `train.average`."""

    max_disagreement: float = Field(1.67, gt=0)
    """Distance between the teachers, in sigmas, beyond which a point teaches nothing."""

    patch: int = Field(15, ge=3)
    """Cells across of the maps that are compared; an odd number."""


def recipe(settings: Settings, task: Task) -> Recipe:
    """Each teacher follows one of the twins; the twins learn the same."""

    def label(evidence: Evidence) -> Target:
        one, other = evidence.source("first"), evidence.source("second")
        gap_NK = (evidence.points_NSK2[:, one] - evidence.points_NSK2[:, other]).norm(dim=-1)
        agreed_NK = weighers.agreement(gap_NK, task.sigma_px, settings.max_disagreement)
        seen_NK = evidence.valid_NSK[:, one] & evidence.valid_NSK[:, other]
        fresh_N1 = evidence.fresh_N.unsqueeze(-1)
        assert evidence.cell_N22 is not None, "sources with patches say how large their cells are"
        cells = (task.crop_px // task.stride,) * 2
        first, second = (
            lay_patches(
                evidence.more[name], evidence.points_NSK2[:, at], evidence.cell_N22, cells, task.stride
            )
            for name, at in (("first", one), ("second", other))
        )
        points_NK2 = (evidence.points_NSK2[:, one] + evidence.points_NSK2[:, other]) / 2
        notes = {"agreement": agreed_NK, "fresh": fresh_N1.expand_as(agreed_NK)}
        return Target(points_NK2, agreed_NK * seen_NK * fresh_N1, notes, heat_NKhw=(first * second).sqrt())

    return Recipe(
        label=Plain(label),
        sources=tuple(
            Source(name, "patch", member, size=settings.patch)
            for name, member in (("first", "teacher"), ("second", "other"))
        ),
        terms=(TargetHeatmaps(),),
        panel={"teacher": Member(Newest(), Twin.detector), "other": Member(Newest(), Twin.other)},
        student=Twin(),
    )
