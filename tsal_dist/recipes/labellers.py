"""Labellers that remember nothing: one function from what the sources say to targets."""

from collections.abc import Callable, Mapping

from torch import Tensor

from tsal_dist.recipes.target import Evidence, Target, Targets


class Plain:
    """As the function says, frame by frame."""

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


def peaks(evidence: Evidence) -> Target:
    """What the first source says, by the height of its peaks."""
    weight_NK = evidence.valid_NSK[:, 0] * evidence.score_NSK[:, 0].clamp(0, 1)
    return Target(evidence.points_NSK2[:, 0], weight_NK)
