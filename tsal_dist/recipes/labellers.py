"""What labellers have in common: those that remember nothing, and those that learn what is usual of a score."""

from collections.abc import Callable, Mapping

from torch import Tensor

from tsal_dist.recipes.target import Evidence, Target, Targets
from tsal_dist.recipes.weighers import SoftScore


class Plain:
    """As the function says, frame by frame: from what the sources say to targets."""

    def __init__(self, label: Callable[[Evidence], Target | Targets]) -> None:
        self._label = label

    def moments(self, evidence: Evidence) -> Tensor:
        # Where the evidence is: it travels in one tensor with the other sums of the step.
        return evidence.score_NSK.new_zeros(0)

    def observe(self, moments: Tensor) -> None:
        """Nothing is learnt."""

    def __call__(self, evidence: Evidence) -> Target | Targets:
        return self._label(evidence)

    def state_dict(self) -> Mapping[str, Tensor]:
        return {}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Nothing is remembered."""


class ByUsual:
    """Weighs each landmark by what is usual of its score; of which score is what a method adds (`moments`, `__call__`)."""

    def __init__(self, points: int, warmup: int) -> None:
        self._usual = SoftScore(points, warmup)

    def observe(self, moments: Tensor) -> None:
        self._usual.observe(moments)

    def state_dict(self) -> Mapping[str, Tensor]:
        return self._usual.state_dict()

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        self._usual.load_state_dict(state)


def peaks(evidence: Evidence) -> Target:
    """What the first source says, by the height of its peaks."""
    weight_NK = evidence.valid_NSK[:, 0] * evidence.score_NSK[:, 0].clamp(0, 1)
    return Target(evidence.points_NSK2[:, 0], weight_NK)
