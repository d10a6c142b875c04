"""A loss before its division: the one place where the size of the batch enters."""

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Term:
    """Sum and count of one loss over one process's share of a batch."""

    total: Tensor
    """Scalar with a gradient."""
    count: Tensor
    """Scalar without one: frames, points or cells, as the loss says."""

    def __add__(self, other: "Term") -> "Term":
        return Term(self.total + other.total, self.count + other.count)

    def mean(self, count: Tensor | None = None, share: float = 1.0) -> Tensor:
        """total / count, and 0 for an empty batch.

        With several processes pass the count summed over all of them, and as `share` their number: DDP averages
        gradients over processes where the formula wants their sum.
        """
        whole = self.count if count is None else count
        # Any count below the smallest proper one is empty; the total is 0 then.
        return self.total * share / whole.clamp_min(1e-6)
