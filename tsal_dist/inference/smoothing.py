"""Landmarks over time without trembling: a Kalman filter per point whose noise is the point's own expected error.

A point moves at a velocity that changes at random; what the detector says of it is off by about its expected error,
part of which is the same from frame to frame and is no trembling. How much velocities change, and which part of the
error trembles, are read off the video itself: the pair is taken under which what was seen is most likely.

Offline, every frame is judged by those before and after it (Rauch, Tung and Striebel). Causally, by those before, and
there a filter that trembles less lags more. So the subject's motion as a whole, which many points tell together and which
is fast, may be filtered apart from the points' motion within it, which is slow and can be held; and the calmest filter is
taken that lags by little against what is known afterwards.
No point is moved by more than its expected error. Axes: T frames, K points, G pairs that are tried.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Complexes = NDArray[np.complex128]

CHANGES = np.geomspace(1e-4, 3.0, 13)
"""Tried: the change of a velocity from frame to frame, in units of the usual expected error."""
SHARES = np.geomspace(0.01, 0.8, 8)
"""Tried: the part of the expected error that trembles."""
MEAN_OF_GAUSSIAN = float(np.sqrt(np.pi / 2))
"""The mean length of an error in the plane whose coordinates scatter by 1."""
READ_FRAMES = 400
"""Frames that the pair is read off."""
WORSE = 0.02
"""Causally, points lag; of the square of their expected error so much may be added by it: one percent of the error at most."""
CALMER = (1.0, 1.4, 2.0, 2.8, 4.0, 5.6, 8.0, 11.0, 16.0)
"""Tried, causally: velocities change by so much less than is most likely. What a detector is off by is alike in neighbouring
frames, and the likelihood of the next frame takes a part of that for motion."""
PLACE, TURN, WITHIN = 1.0, 2.0, 4.0
"""How much calmer than that a subject's place, its size and turn, and its points within it are taken to be."""
LEAST_SIZE = 0.3
"""A subject that shrinks below this share of its first size is not split into a whole and its points."""


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


class _Step(NamedTuple):
    """One frame of the filter."""

    forecast: _Belief
    """What was believed of it before it was seen."""
    belief: _Belief
    """And after."""
    likelihood_G: Floats
    """Of all frames so far."""


def smooth(
    points_TK2: Floats, expected_px_TK: Floats, gap_T: Floats | None = None, causal: bool = False
) -> Floats:
    """The points of one unbroken stretch of a video. `gap_T` is the time since the frame before, in frames (1)."""
    if len(points_TK2) < 3:
        return points_TK2.copy()
    gaps_T = np.ones(len(points_TK2)) if gap_T is None else gap_T
    expected_TK = np.maximum(expected_px_TK, 1e-3)
    alone = _Alone.of(points_TK2, expected_TK, gaps_T)
    found_TK2 = alone.both_ways()
    if causal:
        found_TK2 = _look_ahead(alone, found_TK2)
    return _claimed(found_TK2, points_TK2, expected_TK)


def _claimed(found_TK2: Floats, points_TK2: Floats, expected_TK: Floats) -> Floats:
    """No point is moved by more than its expected error."""
    moved_TK2 = found_TK2 - points_TK2
    length_TK1 = np.linalg.norm(moved_TK2, axis=-1, keepdims=True)
    allowed = np.minimum(1.0, expected_TK[..., None] / np.maximum(length_TK1, 1e-12))
    claimed_TK2: Floats = points_TK2 + moved_TK2 * allowed
    return claimed_TK2


def _look_ahead(alone: "_Alone", steady_TK2: Floats) -> Floats:
    """What is believed of each frame, knowing those before it: the calmest way that strays little from where the points are,
    knowing those after it too."""
    apart, calmer = _choose(alone.begin(), steady_TK2[:READ_FRAMES])
    way = _Together.of(*alone.seen) if apart else None
    return (way or alone).calmed(calmer)


def _choose(alone: "_Alone", steady_TK2: Floats) -> tuple[bool, float]:
    """Whether the subject is filtered apart from its points, and how much calmer than is most likely."""
    points_TK2, expected_TK, _ = alone.seen
    most = _apart(points_TK2, steady_TK2) + WORSE * float((expected_TK**2).mean())
    best, least = (False, CALMER[0]), np.inf
    for way in (alone, _Together.of(*alone.seen)):
        if way is None:
            continue
        for calmer in CALMER:
            found_TK2 = _claimed(way.calmed(calmer), points_TK2, expected_TK)
            trembling = _trembling(found_TK2)
            if trembling < least and _apart(found_TK2, steady_TK2) <= most:
                best, least = (isinstance(way, _Together), calmer), trembling
    return best


def _apart(one_TK2: Floats, other_TK2: Floats) -> float:
    """The mean square of how far."""
    return float(((one_TK2 - other_TK2) ** 2).sum(-1).mean())


def _trembling(points_TK2: Floats) -> float:
    return float(np.linalg.norm(np.diff(points_TK2, 2, axis=0), axis=-1).mean())


@dataclass(frozen=True)
class _Alone:
    """Each point for itself."""

    seen: tuple[Floats, Floats, Floats]
    """Points, expected errors, gaps."""
    motion: Motion

    @staticmethod
    def of(points_TK2: Floats, expected_TK: Floats, gaps_T: Floats) -> "_Alone":
        few = slice(READ_FRAMES)
        motion = read_motion(points_TK2[few], expected_TK[few], gaps_T[few])
        return _Alone((points_TK2, expected_TK, gaps_T), motion)

    def begin(self) -> "_Alone":
        """The frames that the motion was read off."""
        points_TK2, expected_TK, gaps_T = self.seen
        few = slice(READ_FRAMES)
        return _Alone((points_TK2[few], expected_TK[few], gaps_T[few]), self.motion)

    def both_ways(self) -> Floats:
        """Smoothed by frames before and after."""
        return _look_back(list(_filter(*self.seen, [self.motion])), self.seen[2])

    def calmed(self, calmer: float) -> Floats:
        """Filtered by frames before, with velocities that change less than is most likely."""
        motion = Motion(self.motion.change / calmer, self.motion.share)
        return np.stack([step.belief.place_GK2[0] for step in _filter(*self.seen, [motion])])


@dataclass(frozen=True)
class _Together:
    """The subject's place, its size and turn, and its points within it, each for itself."""

    place: _Alone
    turn: _Alone
    within: _Alone
    shape_K: Complexes
    """The first frame's, around its middle."""
    size_px: float

    @staticmethod
    def of(points_TK2: Floats, expected_TK: Floats, gaps_T: Floats) -> "_Together | None":
        """None where there is no shape to speak of."""
        z_TK = points_TK2[..., 0] + 1j * points_TK2[..., 1]
        # The same weights in every frame: a middle of points whose weights change moves without any of them.
        weight_K = np.median(expected_TK, axis=0) ** -2
        weight_K = weight_K / weight_K.sum()
        place_T = z_TK @ weight_K
        centred_TK = z_TK - place_T[:, None]
        shape_K = centred_TK[0]
        size_px = float(np.sqrt(weight_K @ np.abs(shape_K) ** 2))
        if len(shape_K) < 3 or size_px < 1:
            return None
        turn_T = centred_TK @ (weight_K * shape_K.conj()) / size_px**2
        if np.abs(turn_T).min() < LEAST_SIZE:
            return None
        whole_T1 = np.median(expected_TK, axis=1, keepdims=True)
        return _Together(
            _Alone.of(_as_points(place_T[:, None]), whole_T1, gaps_T),
            _Alone.of(_as_points(size_px * turn_T[:, None]), whole_T1, gaps_T),
            _Alone.of(_as_points(centred_TK / turn_T[:, None] - shape_K), expected_TK, gaps_T),
            shape_K,
            size_px,
        )

    def calmed(self, calmer: float) -> Floats:
        """As `_Alone`; the whole less so than what is within it."""
        place_T1 = _as_complex(self.place.calmed(PLACE * calmer))
        turn_T1 = _as_complex(self.turn.calmed(TURN * calmer)) / self.size_px
        within_TK = _as_complex(self.within.calmed(WITHIN * calmer))
        return _as_points(place_T1 + turn_T1 * (self.shape_K + within_TK))


def _as_points(z_TK: Complexes) -> Floats:
    return np.stack([z_TK.real, z_TK.imag], -1)


def _as_complex(points_TK2: Floats) -> Complexes:
    z_TK: Complexes = points_TK2[..., 0] + 1j * points_TK2[..., 1]
    return z_TK


def read_motion(points_TK2: Floats, expected_px_TK: Floats, gap_T: Floats) -> Motion:
    """The pair under which the points are most likely. What is believed under each, a hundred beliefs per frame, is let go."""
    tried = [Motion(float(change), float(share)) for change in CHANGES for share in SHARES]
    likelihood_G = np.zeros(len(tried))
    for step in _filter(points_TK2, expected_px_TK, gap_T, tried):
        likelihood_G = step.likelihood_G
    return tried[int(np.argmax(likelihood_G))]


def _filter(points_TK2: Floats, expected_TK: Floats, gap_T: Floats, tried: list[Motion]) -> Iterator[_Step]:
    """Frame by frame; what is needed later is kept by whoever asks."""
    usual = float(np.median(expected_TK))
    change_G1 = np.array([[motion.change * usual] for motion in tried])
    share_G1 = np.array([[motion.share] for motion in tried])
    shape = (len(tried), points_TK2.shape[1])
    still_GK2 = np.zeros((*shape, 2))
    wide = np.full(shape, usual**2)
    belief = _Belief(
        points_TK2[0] + still_GK2, still_GK2, _noise(share_G1, expected_TK[0]), np.zeros(shape), wide
    )
    likelihood_G = np.zeros(len(tried))
    yield _Step(belief, belief, likelihood_G)
    for points_K2, expected_K, gap in zip(points_TK2[1:], expected_TK[1:], gap_T[1:], strict=True):
        noise_GK = _noise(share_G1, expected_K)
        forecast = _forecast(belief, change_G1, float(gap))
        spread_GK = forecast.pp_GK + noise_GK
        surprise_GK2 = points_K2 - forecast.place_GK2
        squared_GK = (surprise_GK2**2).sum(-1) / spread_GK
        # A jump is a jump under every pair: without a bound a single one would decide.
        likelihood_G = likelihood_G - (np.log(spread_GK) + 0.5 * np.minimum(squared_GK, 25.0)).sum(1)
        belief = _correct(forecast, surprise_GK2, spread_GK)
        yield _Step(forecast, belief, likelihood_G)


def _noise(share_G1: Floats, expected_K: Floats) -> Floats:
    """By how much what is said of a frame's points trembles, squared."""
    noise_GK: Floats = (share_G1 * expected_K / MEAN_OF_GAUSSIAN) ** 2
    return noise_GK


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


def _look_back(steps: list[_Step], gap_T: Floats) -> Floats:
    """From the last frame to the first: what is believed of a frame, knowing those after it."""
    last = steps[-1].belief
    place_K2, speed_K2 = last.place_GK2[0], last.speed_GK2[0]
    places = [place_K2]
    for step, after, gap in zip(steps[-2::-1], steps[:0:-1], gap_T[:0:-1], strict=True):
        belief, later = step.belief, after.forecast
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
