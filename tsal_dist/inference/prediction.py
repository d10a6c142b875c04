"""Landmarks on footage that nobody labelled: frame by frame, the box following the subject by its own landmarks.

Where no box is given, boxes all over the first frame are looked into and moved to what is found in them, or a detector of
subjects says where to begin. From then on the box is the landmarks' own, smoothed and moved on. Each frame says whether there is a
subject at all; while there is none, it is searched for, less and less often. One subject is followed here; several are in
`crowd`.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from tsal_dist.inference.ahead import Ahead
from tsal_dist.inference.looking import Box, Eyes, Look, box_around, gather_evidence, search
from tsal_dist.inference.pictures import Image, Picture
from tsal_dist.inference.presence import Belief, Presence
from tsal_dist.records import UNNAMED, Layout

Floats = NDArray[np.float64]

LOST_SCORE = 0.15
"""Mean peak below which the subject counts as lost where nothing was measured of the detector."""
THRESHOLD = 0.5
"""Probability from which a subject counts as found."""
SURE, LOOK_AGAIN_EVERY = 0.98, 5
"""While a subject is this sure to be there, its presence is judged in every so many frames only..."""
FALLS = 0.8
"""... and whenever its peaks are lower than this share of what they were when it was judged last."""
MOST_WAITING = 8
"""Frames between two searches at most."""


Finds = Callable[[Image], Box | None]
"""Where in a picture a subject is, or None."""


class Trusted(Protocol):
    """What was measured of a detector."""

    @property
    def presence(self) -> Presence | None:
        """What tells a subject from none, where it was learnt: that takes more frames than how far off points are."""
        ...

    def expected_px(self, look: Look) -> Floats:
        """By how much the points CK of a look are expected to be off, in pixels of the picture."""
        ...


@dataclass(frozen=True)
class Found:
    """One frame's landmarks, in its own pixels."""

    path: str
    frame: int | None
    """Counted from 0; None for an image that belongs to no video."""
    pts_ms: float
    box_4: Box
    points_K2: Floats
    score_K: Floats
    expected_px_K: Floats
    """By how much each point is expected to be off; not a number where nothing was measured of the detector."""
    presence: float
    """Probability that there is a subject; not a number where nothing tells."""
    found: bool
    """Whether there is a subject. If not, the points mean nothing."""
    layout: Layout = UNNAMED
    """What the points are called and which are joined."""
    subject: int = 0
    """Which of the video's subjects it is, from 1; 0 where one is followed."""

    @property
    def size_px(self) -> float:
        """The subject's size: the root of its points' box's area, or of the longer side's for flat ones; of a lone point, of
        the box that it was found in."""
        corners_C2 = self.points_K2 if len(self.points_K2) > 1 else self.box_4.reshape(2, 2)
        extent_2 = np.maximum(np.ptp(corners_C2, axis=0), 1.0)
        return float(np.sqrt(np.prod(np.maximum(extent_2, extent_2.max() / 4))))


@dataclass(kw_only=True)
class Judged:
    """Whether a subject that is followed is there, frame after frame."""

    belief: Belief = field(default_factory=Belief)
    presence: float = float("nan")
    judged_score: float = 0.0
    """Its mean peak when its presence was judged last."""
    frames: int = 0

    def judge(
        self, judge: Presence, eyes: Eyes, image_HWC: Image, own_4: Box, score: float, anew: bool = False
    ) -> float | None:
        """What this frame alone says, in log-odds; None where it was not asked, as the subject is sure to be there and looks
        as before. `anew`: it was not followed here."""
        as_before = score >= FALLS * self.judged_score and self.frames % LOOK_AGAIN_EVERY
        if self.presence >= SURE and as_before and not anew:
            return None
        self.judged_score = score
        log_odds = judge.log_odds(gather_evidence(eyes, image_HWC, own_4))
        self.presence = self.belief.observe(log_odds)
        return log_odds


@dataclass
class _Track(Judged):
    """What is known of a video's subject when its next frame comes."""

    box_4: Box | None = None
    ahead: Ahead = field(default_factory=Ahead)
    searches: int = 0
    """In vain, in a row."""
    waiting: int = 0
    """Frames until the next search."""


def follow(
    eyes: Eyes,
    pictures: Iterator[Picture],
    first_box: Box | None = None,
    boxes: Mapping[tuple[str, int | None], Box] | None = None,
    trust: Trusted | None = None,
    threshold: float = THRESHOLD,
    find: Finds | None = None,
) -> Iterator[tuple[Picture, Found]]:
    """Landmarks of each picture. `first_box` is of the first frame of each video; `boxes` names frames' own boxes, and a
    frame without one follows the last. A subject whose box is given counts as found. One that is not is found by `find`,
    without which the detector itself searches."""
    track, path = _Track(), ""
    how = _How(eyes, trust, threshold, find or partial(search, eyes), at_once=find is not None)
    for picture in pictures:
        if picture.path != path:  # another video, another subject
            path, track = picture.path, _Track(first_box)
        given = (boxes or {}).get((picture.path, picture.frame))
        if given is None and track.frames == 0:
            given = first_box
        yield picture, _next(how, picture, track, given)


class _How(NamedTuple):
    """What subjects are followed with."""

    eyes: Eyes
    trust: Trusted | None
    threshold: float
    find: Finds
    at_once: bool
    """Whether finding costs so little that a subject which is lost is looked for in the same frame: one that moves by a
    third of its size per frame is no longer where its landmarks' box was."""


def _next(how: _How, picture: Picture, track: _Track, given: Box | None) -> Found:
    """This frame's landmarks; `track` is brought up to date."""
    followed_4 = track.box_4 if given is None else given
    track.frames += 1
    if followed_4 is not None:
        seen = _look(how, picture, track, followed_4, given=given is not None)
        if seen.promising or not how.at_once:
            _take_note(track, seen, searched=False)
            return seen.found
    elif track.waiting:
        track.waiting -= 1
        return nothing_found(how.eyes, picture, track.presence)
    box_4 = how.find(picture.image_HWC)
    if box_4 is None:
        track.box_4 = None
        return nothing_found(how.eyes, picture, track.presence)
    seen = _look(how, picture, track, box_4, searched=True)
    _take_note(track, seen, searched=True)
    return seen.found


class _Seen(NamedTuple):
    """What there is in a box."""

    found: Found
    promising: bool
    """A subject, or what may turn out to be one in the next frame."""
    own_4: Box
    """The landmarks' own box."""


def _look(
    how: _How, picture: Picture, track: _Track, box_4: Box, given: bool = False, searched: bool = False
) -> _Seen:
    look = how.eyes.closely(picture.image_HWC, box_4)
    points_K2, score_K = look.points_CK2[0], look.score_CK[0]
    own_4 = box_around(points_K2, picture.image_HWC, box_4)
    expected_px_K = np.full(len(score_K), np.nan)
    score = float(score_K.mean())
    found = promising = given or score >= LOST_SCORE
    if how.trust:
        expected_px_K = how.trust.expected_px(look)[0]
    if how.trust and how.trust.presence:
        log_odds = track.judge(how.trust.presence, how.eyes, picture.image_HWC, own_4, score, anew=searched)
        if log_odds is not None:
            promising = log_odds > 0
        found = given or track.presence >= how.threshold
    told = Found(
        *(picture.path, picture.frame, picture.pts_ms, box_4, points_K2, score_K, expected_px_K),
        presence=track.presence,
        found=found,
        layout=how.eyes.layout,
    )
    return _Seen(told, found or promising, own_4)


def _take_note(track: _Track, seen: _Seen, searched: bool) -> None:
    """Where to look in the next frame."""
    if searched:
        track.ahead = Ahead()
    if seen.promising:
        track.box_4 = track.ahead.box(seen.own_4, seen.found.box_4)
        track.searches = 0
        return
    track.box_4 = None
    track.searches += searched
    track.waiting = min(max(0, track.searches - 1), MOST_WAITING)


def nothing_found(eyes: Eyes, picture: Picture, presence: float) -> Found:
    """A frame without a subject, such as one that was not looked at as there was nothing a moment ago."""
    points = eyes.num_points
    return Found(
        *(picture.path, picture.frame, picture.pts_ms),
        box_4=np.zeros(4),
        points_K2=np.zeros((points, 2)),
        score_K=np.zeros(points),
        expected_px_K=np.full(points, np.nan),
        presence=presence,
        found=False,
        layout=eyes.layout,
    )
