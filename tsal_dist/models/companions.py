"""Companions: coordinates of two points that go together in all labels, found by a handful of them.

A paw seen from the side has the x of the same paw seen from below; a chin lies below a mouth. Such a relation, x_j = a + b x_i
within a small deviation, is found where leaving out any label leaves it standing and chance would not give it among so many
pairs. It tells a wrong peak that looks right from a right one, which no height of a peak does: nets are sure of the wrong leg.

`learn_companions` finds relations in labels, `agree` chooses among the peaks of each map those that fit each other.
Coordinates are pixels of one kind of crop. Axes: M labelled frames, N frames, K points, R relations, C candidates.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from tsal_dist.geometry.heatmap import cell_of, cell_to_pixel, decode_heatmap, pixel_to_cell

FEWEST = 5
"""Frames that must show both points."""
MOST = 2
"""Relations for each coordinate, the tightest ones."""
CHANCE = 0.05
"""How likely it may be that unrelated coordinates give any relation at all, among all pairs."""
PEAKS = 4
LEAST_HEIGHT = 0.08
"""A lower peak is no candidate."""
SWEEPS = 3
MOST_MISFIT = 2.0
"""Deviations; a point that fits worse is looked for elsewhere, and has nothing to say where it fits nowhere."""
MOST_PULL = 20.0
"""A relation that fails by far pulls no harder than this: the companion may be the one that is wrong."""
STRIPE_FLOOR, STRIPE_BASE = 0.05, 0.02
"""How much is left of a map where no companion expects the point, and how much is added where the map is empty."""


@dataclass(frozen=True)
class Companions:
    """What labels say of points relative to each other."""

    point_R: Tensor
    axis_R: Tensor
    """The coordinate that is foretold: of this point, 0 for x and 1 for y."""
    by_R: Tensor
    by_axis_R: Tensor
    """The coordinate that foretells it."""
    offset_R: Tensor
    slope_R: Tensor
    deviation_R: Tensor
    """Pixels, as found with each label left out in turn."""


class Fitting(NamedTuple):
    """What the labels say of points beside each other, and how much of a misfit is borne."""

    known: Companions
    sigma_px: float
    most_misfit: float = MOST_MISFIT


@dataclass(frozen=True)
class Agreed:
    """The peaks that fit each other best."""

    points_NK2: Tensor
    score_NK: Tensor
    """Height of the map there."""
    misfit_NK: Tensor
    """The usual misfit of a point's relations, in deviations; 0 for a point that has none."""


def learn_companions(
    points_MK2: NDArray[np.floating], placed_MK: NDArray[np.bool_], sigma_px: float
) -> Companions:
    """Relations between coordinates of different points whose deviation is below half a sigma, where both spread more
    than a sigma."""
    count, points = placed_MK.shape
    known_MD = np.where(np.repeat(placed_MK, 2, axis=1), points_MK2.reshape(count, 2 * points), np.nan)
    found = []
    for target in range(2 * points):
        good = [
            relation
            for source in range(2 * points)
            if source // 2 != target // 2 and (relation := _relate(known_MD, target, source, sigma_px))
        ]
        found += sorted(good, key=lambda one: one[-1])[:MOST]
    place_R4 = torch.tensor([one[:2] for one in found], dtype=torch.int64).reshape(-1, 2)
    line_R3 = torch.tensor([one[2:] for one in found], dtype=torch.float32).reshape(-1, 3)
    offset_R, slope_R, deviation_R = line_R3.T.contiguous()
    return Companions(
        place_R4[:, 0] // 2,
        place_R4[:, 0] % 2,
        place_R4[:, 1] // 2,
        place_R4[:, 1] % 2,
        offset_R,
        slope_R,
        deviation_R,
    )


def _relate(
    known_MD: NDArray[np.floating], target: int, source: int, sigma_px: float
) -> tuple[int, int, float, float, float] | None:
    """Target, source, offset, slope, deviation: or None where the two coordinates do not go together."""
    both_M = ~np.isnan(known_MD[:, target]) & ~np.isnan(known_MD[:, source])
    x, y = known_MD[both_M, source], known_MD[both_M, target]
    if len(x) < FEWEST or min(x.std(), y.std()) <= sigma_px:
        return None
    x_mean, y_mean, spread = x.mean(), y.mean(), ((x - x.mean()) ** 2).sum()
    slope = ((x - x_mean) * (y - y_mean)).sum() / spread
    rest = y - y_mean - slope * (x - x_mean)
    left_out = rest / np.maximum(1 - 1 / len(x) - (x - x_mean) ** 2 / spread, 0.05)
    deviation = float(np.sqrt((left_out**2).mean()))
    shared = 1 - (rest**2).sum() / ((y - y_mean) ** 2).sum()
    by_chance = (1 - shared) ** ((len(x) - 2) / 2)
    if deviation >= sigma_px / 2 or by_chance >= CHANCE / known_MD.shape[1] ** 2:
        return None
    return target, source, float(y_mean - slope * x_mean), float(slope), deviation


@torch.no_grad()
def agree(heat_NKhw: Tensor, known: Companions, stride: int, radius: int, sigma_px: float) -> Agreed:
    """Points that fit each other: of the highest peaks of each map, and one more where the map and its point's companions
    meet. A point without relations is its map's peak."""
    fine_NK2, fine_score_NK = decode_heatmap(heat_NKhw, stride, radius, squared=True)
    related = sorted({*known.point_R.tolist(), *known.by_R.tolist()})
    if not related:
        return Agreed(fine_NK2, fine_score_NK, torch.zeros_like(fine_score_NK))
    heat_NKhw = heat_NKhw.float()
    places_NKC2, height_NKC = _peaks(heat_NKhw, PEAKS, stride)
    height_NKC = torch.where(height_NKC > LEAST_HEIGHT, height_NKC, 0.0)
    puzzle = _Puzzle(known, sigma_px / 4)
    chosen_NK = puzzle.solve(places_NKC2, height_NKC)
    at_NK2, score_NK = _pick(places_NKC2, chosen_NK), _pick(height_NKC, chosen_NK)
    meeting_NKhw = puzzle.expected(heat_NKhw.clamp_min(0), at_NK2, score_NK, stride)
    more_NK12, _ = _peaks(meeting_NKhw, 1, stride)
    cell_NK12 = pixel_to_cell(more_NK12, stride).round().long()
    # Side by side, by plain numbers: a list of them would be sent to the device, and waited for.
    height, width = heat_NKhw.shape[-2:]
    column_NK1, row_NK1 = cell_NK12[..., 0].clamp(0, width - 1), cell_NK12[..., 1].clamp(0, height - 1)
    index_NK1 = row_NK1 * width + column_NK1
    raw_NK1 = heat_NKhw.flatten(-2).gather(-1, index_NK1).clamp_min(0.03)
    places_NKC2 = torch.cat([places_NKC2, more_NK12], 2)
    height_NKC = torch.cat([height_NKC, raw_NK1], 2)
    chosen_NK = puzzle.solve(places_NKC2, height_NKC)
    points_NK2, score_NK = _pick(places_NKC2, chosen_NK), _pick(height_NKC, chosen_NK)
    # The highest peak keeps its finer decoding, and so does a point that nobody foretells.
    alone_K = torch.ones(heat_NKhw.shape[1], dtype=torch.bool, device=heat_NKhw.device)
    for k in related:  # one by one: a list of places would be sent, too
        alone_K[k] = False
    own_NK = (chosen_NK == 0) | alone_K
    points_NK2 = torch.where(own_NK.unsqueeze(-1), fine_NK2, points_NK2)
    # What fits is left alone: a relation is a little wrong of every point, and only to tell a wrong one by.
    own_NK |= puzzle.misfit(fine_NK2, points_NK2) < MOST_MISFIT
    points_NK2 = torch.where(own_NK.unsqueeze(-1), fine_NK2, points_NK2)
    return Agreed(
        points_NK2, torch.where(own_NK, fine_score_NK, score_NK), puzzle.misfit(points_NK2, points_NK2)
    )


class _Puzzle:
    """Relations by the points that they touch, each read in both directions."""

    def __init__(self, known: Companions, least_px: float) -> None:
        columns = (known.point_R, known.axis_R, known.by_R, known.by_axis_R)
        places = [column.tolist() for column in columns]
        deviation = (known.deviation_R.square() + least_px**2).sqrt().tolist()
        lines = known.offset_R.tolist(), known.slope_R.tolist(), deviation
        self._relations = list(zip(*places, *lines, strict=True))
        touched = {point for one in self._relations for point in (one[0], one[2])}
        self._touching = {
            k: [one for one in self._relations if k in (one[0], one[2])] for k in sorted(touched)
        }

    def solve(self, places_NKC2: Tensor, height_NKC: Tensor) -> Tensor:
        """Which candidate of each point: point after point the best beside the others as they stand, several times over."""
        seen_NKC = torch.where(height_NKC > 0, height_NKC.clamp_min(1e-3).log(), -50.0)
        chosen_NK = torch.zeros(height_NKC.shape[:2], dtype=torch.int64, device=height_NKC.device)
        at_NK2, sure_NK = places_NKC2[:, :, 0].clone(), height_NKC[..., 0].clamp(0, 1).clone()
        own_NK = height_NKC[..., 0].clamp(0.05, 1)
        for _ in range(SWEEPS):
            for k, relations in self._touching.items():
                cost_NC = -seen_NKC[:, k]
                for one in relations:
                    other = one[2] if one[0] == k else one[0]
                    # A companion speaks as loud as it is sure, and no louder than the point itself is.
                    pull_N = sure_NK[:, other] * (sure_NK[:, other] / own_NK[:, k]).clamp_max(1)
                    squared_NC = self._gap(one, k, places_NKC2[:, k], at_NK2).square()
                    cost_NC = cost_NC + 0.5 * pull_N.unsqueeze(1) * squared_NC.clamp_max(MOST_PULL)
                chosen_NK[:, k] = cost_NC.argmin(1)
                at_NK2[:, k] = _pick(places_NKC2[:, k : k + 1], chosen_NK[:, k : k + 1])[:, 0]
                sure_NK[:, k] = _pick(height_NKC[:, k : k + 1], chosen_NK[:, k : k + 1])[:, 0].clamp(0, 1)
        return chosen_NK

    def expected(self, heat_NKhw: Tensor, at_NK2: Tensor, score_NK: Tensor, stride: int) -> Tensor:
        """Each map times what the companions of its point expect."""
        maps_NKhw = heat_NKhw + STRIPE_BASE
        for target, axis, source, by, offset, slope, deviation in self._relations:
            cells = heat_NKhw.shape[-1 - axis]
            pixel_c = cell_to_pixel(torch.arange(cells, device=at_NK2.device, dtype=at_NK2.dtype), stride)
            gap_Nc = (pixel_c - (offset + slope * at_NK2[:, source, by]).unsqueeze(1)) / deviation
            there_Nc = STRIPE_FLOOR + (1 - STRIPE_FLOOR) * torch.exp(-gap_Nc.square() / 2)
            sure_N1 = score_NK[:, source].clamp(0, 1).unsqueeze(1)
            factor_Nc = 1 - sure_N1 + sure_N1 * there_Nc
            stripe = factor_Nc.unsqueeze(1) if axis == 0 else factor_Nc.unsqueeze(2)
            maps_NKhw[:, target] = maps_NKhw[:, target] * stripe
        return maps_NKhw

    def misfit(self, points_NK2: Tensor, others_NK2: Tensor) -> Tensor:
        """The median over a point's relations of how many deviations it is off, the other points being where they are."""
        found_NK = torch.zeros_like(points_NK2[..., 0])
        for k, relations in self._touching.items():
            gaps = [self._gap(one, k, points_NK2[:, k : k + 1], others_NK2).abs()[:, 0] for one in relations]
            found_NK[:, k] = torch.stack(gaps).quantile(0.5, dim=0)
        return found_NK

    @staticmethod
    def _gap(one: tuple[float, ...], k: int, mine_NC2: Tensor, at_NK2: Tensor) -> Tensor:
        """Deviations by which candidates of point k, or the other points as they stand, fail a relation."""
        target, axis, source, by, offset, slope, deviation = one
        target, axis, source, by = int(target), int(axis), int(source), int(by)
        y_NC = mine_NC2[..., axis] if target == k else at_NK2[:, target, axis].unsqueeze(1)
        x_NC = mine_NC2[..., by] if source == k else at_NK2[:, source, by].unsqueeze(1)
        return (y_NC - offset - slope * x_NC) / deviation


def _peaks(heat_NKhw: Tensor, count: int, stride: int) -> tuple[Tensor, Tensor]:
    """The highest local maxima of each map, each at the centre of mass of the 3 x 3 cells around it."""
    height, width = heat_NKhw.shape[-2:]
    top_NKhw = F.max_pool2d(heat_NKhw, 3, stride=1, padding=1)
    peaks_NKL = torch.where(top_NKhw == heat_NKhw, heat_NKhw, 0.0).flatten(-2)
    height_NKC, index_NKC = peaks_NKL.topk(min(count, height * width), dim=-1)
    cell_NKC2 = cell_of(index_NKC, width)
    around_NKL = F.pad(heat_NKhw.clamp_min(0), (1, 1, 1, 1)).flatten(-2)
    mass, moved = torch.zeros_like(height_NKC), torch.zeros_like(cell_NKC2, dtype=heat_NKhw.dtype)
    for row in (-1, 0, 1):
        for column in (-1, 0, 1):
            at_NKC = (cell_NKC2[..., 1] + 1 + row) * (width + 2) + cell_NKC2[..., 0] + 1 + column
            here_NKC = around_NKL.gather(-1, at_NKC)
            mass = mass + here_NKC
            moved = moved + torch.stack([here_NKC * column, here_NKC * row], -1)
    return cell_to_pixel(cell_NKC2 + moved / mass.clamp_min(1e-6).unsqueeze(-1), stride), height_NKC


def _pick(values: Tensor, chosen_NK: Tensor) -> Tensor:
    """The chosen candidate's value, or its x and y."""
    index = chosen_NK.unsqueeze(-1)
    if values.dim() == index.dim():
        return values.gather(2, index).squeeze(2)
    return values.gather(2, index.unsqueeze(-1).expand(-1, -1, -1, values.shape[-1])).squeeze(2)
