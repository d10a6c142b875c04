"""Landmarks over time without trembling: a Kalman filter per point whose noise is the point's own expected error.

A point moves at a velocity that changes at random; what the detector says of it is off by about its expected error,
part of which is the same from frame to frame and is no trembling. How much velocities change, and which part of the
error trembles, are read off the video itself: the pair is taken under which what was seen is most likely.

Offline, every frame is judged by those before and after it (Rauch, Tung and Striebel); causally, by those before.
No point is moved by more than its expected error. Axes: T frames, K points, G pairs that are tried.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

CHANGES = np.geomspace(1e-3, 3.0, 9)
"""Tried: the change of a velocity from frame to frame, in units of the usual expected error."""
SHARES = np.array([0.05, 0.1, 0.2, 0.4, 0.8])
"""Tried: the part of the expected error that trembles."""
MEAN_OF_GAUSSIAN = float(np.sqrt(np.pi / 2))
"""The mean length of an error in the plane whose coordinates scatter by 1."""
READ_FRAMES = 400
"""Frames that the pair is read off."""


@dataclass(frozen=True)
class Motion:
    """What a video's points are like: numbers in units of the usual expected error."""

    change: float
    share: float


@dataclass
class _Belief:
    """Place and velocity per pair, point and axis, and their covariance, which both axes share."""

    place_GK2: Floats
    speed_GK2: Floats
    pp_GK: Floats
    ps_GK: Floats
    ss_GK: Floats


def smooth(
    points_TK2: Floats, expected_px_TK: Floats, gap_T: Floats | None = None, causal: bool = False
) -> Floats:
    """The points of one unbroken stretch of a video. `gap_T` is the time since the frame before, in frames (1)."""
    if len(points_TK2) < 3:
        return points_TK2.copy()
    gaps_T = np.ones(len(points_TK2)) if gap_T is None else gap_T
    expected_TK = np.maximum(expected_px_TK, 1e-3)
    motion = read_motion(points_TK2[:READ_FRAMES], expected_TK[:READ_FRAMES], gaps_T[:READ_FRAMES])
    beliefs, forecasts, _ = _filter(points_TK2, expected_TK, gaps_T, [motion])
    found_TK2 = np.stack([belief.place_GK2[0] for belief in beliefs])
    if not causal:
        found_TK2 = _look_back(beliefs, forecasts, gaps_T)
    moved_TK2 = found_TK2 - points_TK2
    length_TK1 = np.linalg.norm(moved_TK2, axis=-1, keepdims=True)
    allowed = np.minimum(1.0, expected_TK[..., None] / np.maximum(length_TK1, 1e-12))
    smoothed_TK2: Floats = points_TK2 + moved_TK2 * allowed
    return smoothed_TK2


def read_motion(points_TK2: Floats, expected_px_TK: Floats, gap_T: Floats) -> Motion:
    """The pair under which the points are most likely."""
    tried = [Motion(float(change), float(share)) for change in CHANGES for share in SHARES]
    _, _, likelihood_G = _filter(points_TK2, expected_px_TK, gap_T, tried)
    return tried[int(np.argmax(likelihood_G))]


def _filter(
    points_TK2: Floats, expected_TK: Floats, gap_T: Floats, tried: list[Motion]
) -> tuple[list[_Belief], list[_Belief], Floats]:
    """After each frame what is believed, what was forecast for it, and how likely all of it was."""
    usual = float(np.median(expected_TK))
    change_G1 = np.array([[motion.change * usual] for motion in tried])
    share_G1 = np.array([[motion.share] for motion in tried])
    noise_TGK = (share_G1 * expected_TK[:, None] / MEAN_OF_GAUSSIAN) ** 2
    shape = (len(tried), points_TK2.shape[1])
    still_GK2 = np.zeros((*shape, 2))
    wide = np.full(shape, usual**2)
    belief = _Belief(points_TK2[0] + still_GK2, still_GK2, noise_TGK[0], np.zeros(shape), wide)
    beliefs, forecasts, likelihood_G = [belief], [belief], np.zeros(len(tried))
    for points_K2, noise_GK, gap in zip(points_TK2[1:], noise_TGK[1:], gap_T[1:], strict=True):
        forecast = _forecast(belief, change_G1, float(gap))
        spread_GK = forecast.pp_GK + noise_GK
        surprise_GK2 = points_K2 - forecast.place_GK2
        squared_GK = (surprise_GK2**2).sum(-1) / spread_GK
        # A jump is a jump under every pair: without a bound a single one would decide.
        likelihood_G = likelihood_G - (np.log(spread_GK) + 0.5 * np.minimum(squared_GK, 25.0)).sum(1)
        belief = _correct(forecast, surprise_GK2, spread_GK)
        beliefs.append(belief)
        forecasts.append(forecast)
    return beliefs, forecasts, likelihood_G


def _forecast(belief: _Belief, change_G1: Floats, gap: float) -> _Belief:
    """A frame later: the place has gone on by the velocity, and both are less certain."""
    q_G1 = change_G1**2
    return _Belief(
        belief.place_GK2 + gap * belief.speed_GK2,
        belief.speed_GK2,
        belief.pp_GK + 2 * gap * belief.ps_GK + gap**2 * belief.ss_GK + q_G1 * gap**3 / 3,
        belief.ps_GK + gap * belief.ss_GK + q_G1 * gap**2 / 2,
        belief.ss_GK + q_G1 * gap,
    )


def _correct(forecast: _Belief, surprise_GK2: Floats, spread_GK: Floats) -> _Belief:
    """The forecast after a look at the frame."""
    to_place_GK, to_speed_GK = forecast.pp_GK / spread_GK, forecast.ps_GK / spread_GK
    return _Belief(
        forecast.place_GK2 + to_place_GK[..., None] * surprise_GK2,
        forecast.speed_GK2 + to_speed_GK[..., None] * surprise_GK2,
        forecast.pp_GK - to_place_GK * forecast.pp_GK,
        forecast.ps_GK - to_place_GK * forecast.ps_GK,
        forecast.ss_GK - to_speed_GK * forecast.ps_GK,
    )


def _look_back(beliefs: list[_Belief], forecasts: list[_Belief], gap_T: Floats) -> Floats:
    """From the last frame to the first: what is believed of a frame, knowing those after it."""
    place_K2, speed_K2 = beliefs[-1].place_GK2[0], beliefs[-1].speed_GK2[0]
    places = [place_K2]
    for belief, later, gap in zip(beliefs[-2::-1], forecasts[:0:-1], gap_T[:0:-1], strict=True):
        pp, ps, ss = belief.pp_GK[0], belief.ps_GK[0], belief.ss_GK[0]
        later_pp, later_ps, later_ss = later.pp_GK[0], later.ps_GK[0], later.ss_GK[0]
        area = np.maximum(later_pp * later_ss - later_ps**2, 1e-30)
        # The covariance of this frame's place and velocity with the next one's, times that one's inverse.
        pp_next, sp_next = pp + gap * ps, ps + gap * ss
        gain_pp = (pp_next * later_ss - ps * later_ps) / area
        gain_ps = (ps * later_pp - pp_next * later_ps) / area
        gain_sp = (sp_next * later_ss - ss * later_ps) / area
        gain_ss = (ss * later_pp - sp_next * later_ps) / area
        new_place_K2, new_speed_K2 = place_K2 - later.place_GK2[0], speed_K2 - later.speed_GK2[0]
        place_K2 = belief.place_GK2[0] + gain_pp[:, None] * new_place_K2 + gain_ps[:, None] * new_speed_K2
        speed_K2 = belief.speed_GK2[0] + gain_sp[:, None] * new_place_K2 + gain_ss[:, None] * new_speed_K2
        places.append(place_K2)
    return np.stack(places[::-1])
