"""The collapse gauge: whether a detector still says something on frames that nobody labelled.

Self-training has a trap: predicting "nothing" everywhere is cheaper than being wrong. Its sign is the height of
the peaks, long before the error on labelled frames shows it. Axes: N frames, K points.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tsal_dist.errors import TrainingError


def measure(
    peak_NK: NDArray[np.floating], points_NK2: NDArray[np.floating], weight_NK: NDArray[np.floating]
) -> dict[str, float]:
    """One batch in numbers: peak heights, share of points that teach, spread of predictions over the batch."""
    used_K = (weight_NK > 0).mean(0)
    return {
        "peak_mean": float(peak_NK.mean()),
        "peak_p10": float(np.percentile(peak_NK, 10)),
        "used_mean": float(used_K.mean()),
        "used_min": float(used_K.min()),
        "spread_px": float(points_NK2.std(0).mean()),
    }


@dataclass
class CollapseGauge:
    """Stops a run whose mean peak fell under `share` of what it was at the end of burn-in.

    One batch may be hard, so a running mean over about 1 / (1 - keep) batches is compared.
    """

    share: float = 0.5
    keep: float = 0.95
    reference: float | None = None
    running: float | None = None

    def observe(self, peak_mean: float) -> None:
        """Take in one batch of unlabelled frames; raise TrainingError where the detector has collapsed."""
        self.running = (
            peak_mean if self.running is None else self.keep * self.running + (1 - self.keep) * peak_mean
        )
        if self.reference is not None and not self.running >= self.share * self.reference:
            raise TrainingError(
                f"The detector collapsed: its mean peak on unlabelled frames is {self.running:.3f}, under "
                f"{self.share:g} of the {self.reference:.3f} it had after burn-in. Lower train.loss.unlabelled, "
                f"lengthen train.burn_in_steps, or tighten method.max_disagreement."
            )

    def end_burn_in(self) -> None:
        """What the detector says now is what it must not fall far below."""
        self.reference = self.running

    def state_dict(self) -> dict[str, float | None]:
        return {"reference": self.reference, "running": self.running}

    def load_state_dict(self, state: dict[str, float | None]) -> None:
        self.reference, self.running = state["reference"], state["running"]
