"""Normalised landmark error of a test set: mean, median, per landmark, CED, AUC, failure rate.

NME of a face = mean over its visible points of |prediction - truth|, divided by the face's length. A test set's
NME is the mean over faces. CED(t) is the share of faces with NME <= t; AUC at t is the area under it up to t,
divided by t; the failure rate at t is 1 - CED(t).
"""

from dataclasses import dataclass, field, fields

import numpy as np
from numpy.typing import NDArray

from tsal_dist.errors import DataError
from tsal_dist.metrics.normalizer import Normalizer, lengths

THRESHOLDS = (0.07, 0.08, 0.10)
# Resolution of the stored CED, and so of the median; the last bin holds everything from 1 on.
BIN = 1e-4
NUM_BINS = 10_001


@dataclass
class FaceErrors:
    """Sums over faces. Two test sets, or two ranks' halves of one, are `a + b`, or the sum of their `vector`s."""

    num_points: int
    normalizer: Normalizer
    faces: float = 0.0
    nme_sum: float = 0.0
    nme_square_sum: float = 0.0
    unlabelled: float = 0.0
    """Frames without a visible true point: skipped."""
    bad_length: float = 0.0
    """Frames whose normaliser is zero, negative or unknown: skipped, since one of them can explode the mean."""
    not_finite: float = 0.0
    """Faces of which a predicted point is not a number: never dropped, and counted with an error of 1 at least, however good
    their other points are."""
    area: NDArray[np.float64] = field(default_factory=lambda: np.zeros(len(THRESHOLDS)))
    failed: NDArray[np.float64] = field(default_factory=lambda: np.zeros(len(THRESHOLDS)))
    histogram: NDArray[np.float64] = field(default_factory=lambda: np.zeros(NUM_BINS))
    point_sum: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))
    point_count: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))
    lean_sum: NDArray[np.float64] = field(default_factory=lambda: np.zeros(2))
    """How far a face's points lie to the right of the truth and below it on average, over faces."""

    def __post_init__(self) -> None:
        if not self.point_sum.size:
            self.point_sum, self.point_count = np.zeros(self.num_points), np.zeros(self.num_points)

    def add(
        self,
        predicted_NK2: NDArray[np.floating],
        truth_NK2: NDArray[np.floating],
        visible_NK: NDArray[np.bool_],
        box_N4: NDArray[np.floating] | None = None,
    ) -> NDArray[np.float64]:
        """Count N faces and return their nme_N, not a number for those that were skipped."""
        if predicted_NK2.shape != truth_NK2.shape or truth_NK2.shape[1] != self.num_points:
            raise DataError(
                f"Predictions {predicted_NK2.shape} and truth {truth_NK2.shape} should both be "
                f"(faces, {self.num_points}, 2). Evaluate with the landmark layout the model was trained for."
            )
        visible_NK = visible_NK.astype(bool)
        length_N = lengths(self.normalizer, truth_NK2, visible_NK, box_N4)
        labelled_N = visible_NK.any(1)
        sound_N = np.isfinite(length_N) & (length_N > 0)
        self.unlabelled += float((~labelled_N).sum())
        self.bad_length += float((labelled_N & ~sound_N).sum())

        keep_N = labelled_N & sound_N
        nme_N = np.full(len(truth_NK2), np.nan)
        nme_N[keep_N] = self._count(
            predicted_NK2[keep_N].astype(np.float64), truth_NK2[keep_N], visible_NK[keep_N], length_N[keep_N]
        )
        return nme_N

    def _count(
        self,
        predicted_NK2: NDArray[np.float64],
        truth_NK2: NDArray[np.floating],
        visible_NK: NDArray[np.bool_],
        length_N: NDArray[np.float64],
    ) -> NDArray[np.float64]:
        off_NK2 = (predicted_NK2 - truth_NK2) / length_N[:, None, None]
        error_NK = np.linalg.norm(off_NK2, axis=-1)
        broken_NK = visible_NK & ~np.isfinite(error_NK)
        self.not_finite += float(broken_NK.any(1).sum())
        error_NK = np.where(visible_NK, np.where(broken_NK, 1.0, error_NK), 0.0)
        nme_N: NDArray[np.float64] = error_NK.sum(1) / visible_NK.sum(1)
        nme_N = np.where(broken_NK.any(1), np.maximum(nme_N, 1.0), nme_N)

        self.faces += len(nme_N)
        self.nme_sum += float(nme_N.sum())
        self.nme_square_sum += float((nme_N**2).sum())
        for index, threshold in enumerate(THRESHOLDS):
            # The area under one face's step from 0 to 1 at its NME.
            self.area[index] += np.clip(1 - nme_N / threshold, 0, None).sum()
            self.failed[index] += (nme_N > threshold).sum()
        bin_N = np.minimum(nme_N / BIN, NUM_BINS - 1).astype(np.int64)
        self.histogram += np.bincount(bin_N, minlength=NUM_BINS)
        self.point_sum += error_NK.sum(0)
        self.point_count += visible_NK.sum(0)
        self.lean_sum += leans(off_NK2, visible_NK).sum(0)
        return nme_N

    @property
    def vector(self) -> NDArray[np.float64]:
        """All sums in one array, whose element-wise sum over ranks is the whole test set's."""
        return np.concatenate([np.atleast_1d(getattr(self, name)) for name in _sums()])

    def with_vector(self, vector: NDArray[np.float64]) -> "FaceErrors":
        """The same question with these sums: undoes `vector`."""
        whole = FaceErrors(self.num_points, self.normalizer)
        start = 0
        for name in _sums():
            mine = getattr(self, name)
            size = np.size(mine)
            part = vector[start : start + size]
            setattr(whole, name, part.copy() if isinstance(mine, np.ndarray) else float(part[0]))
            start += size
        return whole

    def __add__(self, other: "FaceErrors") -> "FaceErrors":
        if (self.num_points, self.normalizer) != (other.num_points, other.normalizer):
            raise DataError(
                f"Errors over {self.num_points} points by {self.normalizer!r} and over {other.num_points} points "
                f"by {other.normalizer!r} cannot be added. Evaluate both with the same normalizer."
            )
        return self.with_vector(self.vector + other.vector)

    @property
    def skipped(self) -> float:
        """Frames that no score counts."""
        return self.unlabelled + self.bad_length

    @property
    def nme(self) -> float:
        return _ratio(self.nme_sum, self.faces)

    @property
    def nme_std(self) -> float:
        return float(np.sqrt(max(_ratio(self.nme_square_sum, self.faces) - self.nme**2, 0.0)))

    @property
    def median(self) -> float:
        """The NME that half of the faces stay under, to the width of a bin."""
        if not self.faces:
            return float("nan")
        reached = np.cumsum(self.histogram)
        index = int(np.searchsorted(reached, self.faces / 2))
        before = reached[index] - self.histogram[index]
        return float((index + (self.faces / 2 - before) / self.histogram[index]) * BIN)

    @property
    def nme_per_point(self) -> NDArray[np.float64]:
        """Mean normalised error of each landmark, not a number for one that was never visible."""
        with np.errstate(invalid="ignore"):
            return self.point_sum / self.point_count

    @property
    def lean_2(self) -> NDArray[np.float64]:
        """How far points lie to the right of the truth and below it on average: what all faces have in common."""
        return self.lean_sum / max(self.faces, 1)

    def auc(self, threshold: float) -> float:
        return _ratio(float(self.area[THRESHOLDS.index(threshold)]), self.faces)

    def failure_rate(self, threshold: float) -> float:
        return _ratio(float(self.failed[THRESHOLDS.index(threshold)]), self.faces)

    def ced(self, limit: float = 0.10) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """The curve: errors from 0 to `limit`, and the share of faces at or below each."""
        num_bins = min(round(limit / BIN), NUM_BINS - 1)
        share = np.concatenate([[0.0], np.cumsum(self.histogram)[:num_bins]]) / max(self.faces, 1)
        return np.arange(num_bins + 1, dtype=np.float64) * BIN, share

    def summary(self) -> dict[str, float | str]:
        """The numbers of a table row; the normaliser's name travels with them."""
        row: dict[str, float | str] = {"normalizer": self.normalizer, "faces": self.faces}
        row |= {"nme": self.nme, "nme_std": self.nme_std, "nme_median": self.median}
        for threshold in THRESHOLDS:
            row[f"auc_{threshold:.2f}"] = self.auc(threshold)
            row[f"failure_{threshold:.2f}"] = self.failure_rate(threshold)
        return row | {
            "unlabelled": self.unlabelled,
            "bad_length": self.bad_length,
            "not_finite": self.not_finite,
        }


def leans(off_NK2: NDArray[np.float64], visible_NK: NDArray[np.bool_]) -> NDArray[np.float64]:
    """How far each face's points lie to the right of the truth and below it on average. `off_NK2`: prediction minus truth, in
    lengths of the face. A point that is no number leans nowhere."""
    judged_NK = visible_NK & np.isfinite(off_NK2).all(-1)
    leans_N2: NDArray[np.float64] = (
        np.where(judged_NK[..., None], off_NK2, 0.0).sum(1) / visible_NK.sum(1)[:, None]
    )
    return leans_N2


def _sums() -> list[str]:
    return [each.name for each in fields(FaceErrors) if each.name not in ("num_points", "normalizer")]


def _ratio(total: float, count: float) -> float:
    return total / count if count else float("nan")
