"""How much landmarks shake on a video whose face moves smoothly."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass
class Jitter:
    """Mean over frames and points of |x(t+1) - 2 x(t) + x(t-1)|, divided by the face's length. Sums merge."""

    total: float = 0.0
    count: float = 0.0

    def add(self, points_TK2: NDArray[np.floating], length_T: NDArray[np.floating]) -> None:
        """Count the consecutive frames of one video; a frame without a valid length breaks the chain there. Frames that are far
        apart in time tell how the subject moves, and are not for here."""
        points_TK2 = points_TK2.astype(np.float64)
        bend_TK = np.linalg.norm(points_TK2[2:] - 2 * points_TK2[1:-1] + points_TK2[:-2], axis=-1)
        sound_T = np.isfinite(length_T) & (length_T > 0) & np.isfinite(points_TK2).all((1, 2))
        keep_T = sound_T[2:] & sound_T[1:-1] & sound_T[:-2]
        self.total += float((bend_TK[keep_T] / length_T[1:-1][keep_T, None]).sum())
        self.count += float(keep_T.sum() * points_TK2.shape[1])

    def __add__(self, other: "Jitter") -> "Jitter":
        return Jitter(self.total + other.total, self.count + other.count)

    @property
    def mean(self) -> float:
        return self.total / self.count if self.count else float("nan")
