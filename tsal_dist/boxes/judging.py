"""How many subjects a box net finds in frames that it did not learn from, and from which score on it should be believed."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tsal_dist.boxes.labelled import Shown
from tsal_dist.models.box_net import BoxNet
from tsal_dist.pack.boxes import overlap
from tsal_dist.pack.subject_models import detector_in_square

FITS = 0.5
"""Intersection over union from which a box counts as that of a subject."""
LEAST_SCORE = 0.05
"""Boxes below are not looked at."""
USUAL_THRESHOLD = 0.3
"""Where there is nothing to choose one by."""


@dataclass(frozen=True, eq=False)
class Verdict:
    """All boxes that were found, with whether each covers a subject that no better box covers."""

    score_M: NDArray[np.float64]
    right_M: NDArray[np.bool_]
    frames: int
    subjects: int

    def recall(self, threshold: float) -> float | None:
        """Share of the subjects that are found; None without any."""
        return float(self.right_M[self.score_M >= threshold].sum() / self.subjects) if self.subjects else None

    def precision(self, threshold: float) -> float | None:
        """Share of the boxes that cover one; None without any."""
        told_M = self.right_M[self.score_M >= threshold]
        return float(told_M.mean()) if len(told_M) else None

    def best_threshold(self) -> float:
        """Where most subjects are found for the fewest wrong boxes (the best F1), in the middle between the scores that it
        may lie between."""
        if not self.right_M.any():
            return USUAL_THRESHOLD
        order = np.argsort(-self.score_M, kind="stable")
        score_M, hits_M = self.score_M[order], self.right_M[order].cumsum()
        last_M = np.append(score_M[1:] < score_M[:-1], True)  # alike scores stay or go together
        f1_M = np.where(last_M, 2 * hits_M / (np.arange(1, len(score_M) + 1) + self.subjects), 0.0)
        best = int(np.argmax(f1_M))
        below = score_M[best + 1] if best + 1 < len(score_M) else LEAST_SCORE
        return float((score_M[best] + below) / 2)


def judge(net: BoxNet, side_px: int, shown: Iterable[Shown]) -> Verdict:
    """On these frames."""
    detect = detector_in_square(net.find, side_px, LEAST_SCORE)
    scores: list[float] = []
    right: list[bool] = []
    frames = subjects = 0
    for one in shown:
        found_N5 = detect(one.image_HWC).astype(np.float64)
        scores += found_N5[:, 4].tolist()
        right += which_fit(found_N5[:, :4], one.boxes_B4)
        frames, subjects = frames + 1, subjects + len(one.boxes_B4)
    return Verdict(np.array(scores), np.array(right, np.bool_), frames, subjects)


def both(verdicts: Sequence[Verdict]) -> Verdict:
    """Several as one; none as one of nothing."""
    return Verdict(
        np.concatenate([np.empty(0), *(one.score_M for one in verdicts)]),
        np.concatenate([np.empty(0, np.bool_), *(one.right_M for one in verdicts)]),
        sum(one.frames for one in verdicts),
        sum(one.subjects for one in verdicts),
    )


def which_fit(found_N4: NDArray[np.float64], boxes_B4: NDArray[np.float64]) -> list[bool]:
    """Of boxes with the best first: each takes the free subject that it covers best."""
    free = np.ones(len(boxes_B4), np.bool_)
    fit = []
    for box_4 in found_N4:
        alike_B = np.where(free, overlap(boxes_B4, box_4), 0.0) if len(boxes_B4) else np.zeros(1)
        best = int(np.argmax(alike_B))
        fit.append(bool(alike_B[best] >= FITS))
        if fit[-1]:
            free[best] = False
    return fit
