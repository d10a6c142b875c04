"""Whether there is a subject: learnt from frames that hold one and from the same frames with it destroyed.

A detector is trained on subjects alone and finds one everywhere. What it says where there is none differs all the
same, and a logistic regression on that evidence tells the two apart. It may not be swayed by what it was never shown:
every number counts in its own direction only, and none for more than it does on a usual subject, so that nothing makes
up for what is missing elsewhere. Its threshold is set by the destroyed frames, so that few of them pass. Over a video the evidence of frames adds up, as subjects stay or stay away for a while.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tsal_dist.errors import CheckpointError, DataError
from tsal_dist.inference.pictures import Image

Floats = NDArray[np.float64]

FALSE_ALARMS = 0.03
"""Share of frames without a subject that may pass for one, each judged by itself."""
DECAY = 1.0
"""Ridge of the regression: with a few dozen frames, no number may be believed too much."""
MOST = 4.0
"""A single frame says at most so much (in log-odds), or a long past could not be overcome."""
STAYS = 0.97
"""Probability that what holds for a frame holds for the next one."""
ROUNDS = 50


@dataclass(frozen=True)
class Presence:
    """Log-odds of a subject: evidence, standardised, times weights, plus an offset."""

    most_E: Floats
    """What evidence counts for at most: its median over subjects."""
    mean_E: Floats
    scale_E: Floats
    weight_E: Floats
    offset: Floats
    rates_2: Floats
    """Of the frames it was learnt from: the share of destroyed ones that pass, and of whole ones that do not."""

    def log_odds(self, evidence_E: Floats) -> float:
        """Above 0: there is a subject."""
        standard_E = (np.minimum(evidence_E, self.most_E) - self.mean_E) / self.scale_E
        return float(standard_E @ self.weight_E + self.offset)

    def to_arrays(self) -> dict[str, Floats]:
        """By name, for a file."""
        return {each.name: getattr(self, each.name) for each in fields(self)}

    @staticmethod
    def from_arrays(arrays: Mapping[str, ArrayLike]) -> "Presence":
        """Undoes `to_arrays`; other names are left alone."""
        missing = [each.name for each in fields(Presence) if each.name not in arrays]
        if missing:
            raise CheckpointError(
                f"What tells a subject from none lacks {', '.join(missing)}. Measure the detector again."
            )
        return Presence(**{each.name: np.asarray(arrays[each.name], np.float64) for each in fields(Presence)})


class Belief:
    """Whether a video's subject is there, frame after frame."""

    def __init__(self) -> None:
        self.log_odds = 0.0

    def observe(self, frame_log_odds: float) -> float:
        """The probability after one more frame."""
        before = 1 / (1 + np.exp(-self.log_odds))
        expected = STAYS * before + (1 - STAYS) * (1 - before)
        said = float(np.clip(frame_log_odds, -MOST, MOST))
        self.log_odds = float(np.log(expected / (1 - expected))) + said
        return float(1 / (1 + np.exp(-self.log_odds)))


def learn(whole_NE: Floats, destroyed_NE: Floats) -> Presence:
    """A regression from the evidence of frames with a subject and of frames without one."""
    if len(whole_NE) < 2 or len(destroyed_NE) < 2:
        raise DataError(
            "Telling a subject from none needs at least two labelled frames. Measure on shards that hold more."
        )
    most_E = np.median(whole_NE, axis=0)
    evidence_NE = np.minimum(np.concatenate([whole_NE, destroyed_NE]), most_E)
    mean_E, scale_E = evidence_NE.mean(0), np.maximum(evidence_NE.std(0), 1e-6)
    design_NE = np.column_stack([(evidence_NE - mean_E) / scale_E, np.ones(len(evidence_NE))])
    truth_N = np.r_[np.ones(len(whole_NE)), np.zeros(len(destroyed_NE))]
    # Both kinds count alike, however many there are of each.
    heavy_N = np.where(truth_N == 1, 0.5 / len(whole_NE), 0.5 / len(destroyed_NE)) * len(truth_N)
    weight_E = _rising_logistic(design_NE, truth_N, heavy_N)
    odds_N = design_NE @ weight_E
    whole_odds, destroyed_odds = odds_N[: len(whole_NE)], odds_N[len(whole_NE) :]
    bar = max(0.0, float(np.quantile(destroyed_odds, 1 - FALSE_ALARMS, method="higher")) + 1e-6)
    rates = np.array([(destroyed_odds > bar).mean(), (whole_odds <= bar).mean()])
    parts = (most_E, mean_E, scale_E, weight_E[:-1], np.array(weight_E[-1] - bar), rates)
    return Presence(*(np.array(each, np.float64) for each in parts))


def destroy(image_HWC: Image, box_4: Floats, cuts: int, random: np.random.Generator) -> Image:
    """The picture with its subject cut into `cuts` by `cuts` tiles and more around it, none left where it was."""
    side = max(4, round(float((box_4[2:] - box_4[:2]).max()) / cuts))
    height, width = image_HWC.shape[:2]
    x0, y0 = (int(round(float(edge))) % side for edge in box_4[:2])
    columns = range(x0, max(width - side, x0) + 1, side)
    rows = range(y0, max(height - side, y0) + 1, side)
    places = [(y, x) for y in rows for x in columns if y + side <= height and x + side <= width]
    order = random.permutation(len(places))
    torn = image_HWC.copy()
    # Along a shuffled circle every tile takes the next one's place, so that none can stay.
    for one, other in zip(order, np.roll(order, 1), strict=True):
        (y, x), (from_y, from_x) = places[one], places[other]
        torn[y : y + side, x : x + side] = image_HWC[from_y : from_y + side, from_x : from_x + side]
    return torn


def _rising_logistic(design_NE: Floats, truth_N: Floats, heavy_N: Floats) -> Floats:
    """Weights none of which but the last, the offset, is below 0: what would be is left out, worst first."""
    kept = np.ones(design_NE.shape[1], np.bool_)
    while True:
        weight_E = np.zeros(len(kept))
        weight_E[kept] = _logistic(design_NE[:, kept], truth_N, heavy_N)
        worst = int(np.argmin(weight_E[:-1]))
        if weight_E[worst] >= 0:
            return weight_E
        kept[worst] = False


def _logistic(design_NE: Floats, truth_N: Floats, heavy_N: Floats) -> Floats:
    """Weights of a ridge logistic regression, by Newton's method; the last one, the offset, is free."""
    weight_E = np.zeros(design_NE.shape[1])
    ridge_EE = np.diag(np.r_[np.full(design_NE.shape[1] - 1, DECAY), 1e-9])
    for _ in range(ROUNDS):
        chance_N = 1 / (1 + np.exp(-np.clip(design_NE @ weight_E, -30, 30)))
        slope_E = design_NE.T @ (heavy_N * (truth_N - chance_N)) - ridge_EE @ weight_E
        bend_N = heavy_N * np.maximum(chance_N * (1 - chance_N), 1e-6)
        step_E = np.linalg.solve(design_NE.T @ (design_NE * bend_N[:, None]) + ridge_EE, slope_E)
        weight_E = weight_E + step_E
        if np.abs(step_E).max() < 1e-9:
            break
    return weight_E
