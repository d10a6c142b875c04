"""Landmarks of every subject of a video: each is followed by its own landmarks, and newcomers are looked for.

Whoever is followed is looked at first; then, in some frames, a detector of subjects or a search says where others may be.
What two looks agree on is one subject. Which one it is is told by places and colours (`BoxTracker`): a subject that was lost is
found again near to where it was going. Whether there is one at all is judged as for a single subject, by evidence that
adds up over frames; newcomers have to be surer than those that are followed, as many are looked at. Where nothing was
measured of the detector, a subject is what a detector of subjects finds too.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

import numpy as np

from tsal_dist.inference.ahead import Ahead
from tsal_dist.inference.looking import SAME, Box, Eyes, Floats, box_around, same_as
from tsal_dist.inference.pictures import Image, Picture
from tsal_dist.inference.prediction import (
    LOST_SCORE,
    THRESHOLD,
    Found,
    Judged,
    Trusted,
    nothing_found,
)
from tsal_dist.pack.box_tracker import BoxTracker, middle_of

BORN = 0.8
"""Probability from which a newcomer counts as found."""
SEEK_EVERY = 10
"""Frames between two searches of the whole picture for newcomers: each is some hundred looks."""
CLOSER = 2
"""Looks at a box that a detector of subjects gave, before it counts: its boxes are not those of the landmarks."""
NEWCOMER_OVERLAP = 0.2
"""A newcomer whose box overlaps with another's by more (intersection over union) is waited for until they are apart."""
UNSEEN = 5
"""Frames that a subject stays without a detector of subjects finding it, where nothing else tells."""


@dataclass(frozen=True)
class Seeker:
    """Says where subjects may be."""

    find: Callable[[Image], list[Box]]
    """The best first."""
    every: int
    """It is asked in every so many frames."""
    detects: bool
    """Whether what it finds is a subject, and not only worth a look."""


@dataclass(eq=False)
class Followed(Judged):
    """What is known of a subject when the next frame comes."""

    box_4: Box
    ahead: Ahead = field(default_factory=Ahead)
    unseen: int = 0
    """Frames since a detector of subjects found it."""


@dataclass(frozen=True, eq=False)
class _Sight:
    """What one look at one box saw."""

    of: Followed
    looked_at_4: Box
    own_4: Box
    points_K2: Floats
    score_K: Floats
    expected_px_K: Floats
    merit: float
    log_odds: float
    """What this frame alone says of there being somebody; 0 where that was not asked."""
    new: bool = False
    """Whether it is of nobody who was followed."""


def follow_all(
    eyes: Eyes,
    pictures: Iterator[Picture],
    seeker: Seeker,
    trust: Trusted | None = None,
    threshold: float = THRESHOLD,
) -> Iterator[tuple[Picture, list[Found]]]:
    """The subjects of each picture by their numbers; where there is none, one `Found` says so."""
    crowd, path = _Crowd(eyes, seeker, trust, threshold), ""
    for picture in pictures:
        if picture.path != path:
            path, crowd = picture.path, _Crowd(eyes, seeker, trust, threshold)
        yield picture, crowd.next(picture)


class _Crowd:
    """The subjects of one video."""

    def __init__(self, eyes: Eyes, seeker: Seeker, trust: Trusted | None, threshold: float) -> None:
        self._eyes, self._seeker, self._trust, self._threshold = eyes, seeker, trust, threshold
        self._judge = trust.presence if trust else None
        self._tracker = BoxTracker()
        self._followed: dict[int, Followed] = {}
        """By their numbers."""
        self._unsure: list[Followed] = []
        """Newcomers that have to be looked at again before they count."""
        self._presence = float("nan")
        self._frame = 0
        self._lost = False

    def next(self, picture: Picture) -> list[Found]:
        """Who is there."""
        sights = self._sights(picture.image_HWC)
        if sights:
            self._presence = max(one.of.presence for one in sights)
        distinct = self._distinct([one for one in sights if self._promises(one)])
        sure = [one for one in distinct if not one.new or self._sure_enough(one.of)]
        self._unsure = [self._moved_on(one.of, one) for one in distinct if one not in sure]
        numbers = self._tracker.update(picture.image_HWC, [one.own_4 for one in sure])
        followed = {number: self._whose(number, one) for number, one in zip(numbers, sure, strict=True)}
        self._lost = not set(self._followed) <= set(followed)
        self._followed = followed
        self._frame += 1
        seen = sorted(zip(numbers, sure, strict=True), key=lambda pair: pair[0])
        found = [self._tell(picture, number, one) for number, one in seen if self._counts(followed[number])]
        for number, one in seen:
            self._moved_on(followed[number], one)
        return found or [nothing_found(self._eyes, picture, self._presence)]

    def _sights(self, image_HWC: Image) -> list[_Sight]:
        """Looks at everybody who is followed, and then at others."""
        detected = self._seek(image_HWC)
        sights = []
        for number, one in self._followed.items():
            sight = self._look(image_HWC, one, detected)
            near = self._tracker.reaches(number, sight.own_4)
            sights.append(sight if near else self._another(sight))
        sights += [replace(self._look(image_HWC, one, detected), new=True) for one in self._unsure]
        known_4 = [one.own_4 for one in sights]
        for box_4 in detected or []:
            if not any(_holds(box_4, own_4) for own_4 in known_4):
                sights.append(self._meet(image_HWC, box_4))
        return sights

    def _seek(self, image_HWC: Image) -> list[Box] | None:
        """Where others may be; None in frames in which nobody asks. Who was just lost is looked for at once."""
        due = self._frame % self._seeker.every == 0 or self._lost
        return self._seeker.find(image_HWC) if due else None

    def _look(self, image_HWC: Image, one: Followed, detected: list[Box] | None) -> _Sight:
        """Closely at where somebody should be."""
        look = self._eyes.closely(image_HWC, one.box_4)
        own_4 = box_around(look.points_CK2[0], image_HWC, one.box_4)
        one.frames += 1
        if detected is not None and self._seeker.detects:
            found = any(_holds(box_4, own_4) for box_4 in detected)
            one.unseen = 0 if found else one.unseen + 1
        expected_px_K, log_odds = np.full(look.score_CK.shape[1], np.nan), 0.0
        if self._trust:
            expected_px_K = self._trust.expected_px(look)[0]
        if self._judge:
            score = float(look.score_CK[0].mean())
            log_odds = one.judge(self._judge, self._eyes, image_HWC, own_4, score) or 0.0
        merit = float(look.score_CK[0].mean() * look.agreement_C[0])
        return _Sight(
            *(one, one.box_4, own_4, look.points_CK2[0], look.score_CK[0], expected_px_K, merit, log_odds)
        )

    def _meet(self, image_HWC: Image, box_4: Box) -> _Sight:
        """A look at somebody new."""
        for _ in range(CLOSER if self._seeker.detects else 0):
            box_4 = box_around(self._eyes.look(image_HWC, [box_4]).points_CK2[0], image_HWC, box_4)
        return replace(self._look(image_HWC, Followed(box_4), None), new=True)

    def _another(self, sight: _Sight) -> _Sight:
        """Points that jumped away are of nobody who is followed: what was known of him does not count for them."""
        one = Followed(sight.looked_at_4, unseen=sight.of.unseen)
        if self._judge:
            one.presence = one.belief.observe(sight.log_odds)
        return replace(sight, of=one, new=True)

    def _promises(self, sight: _Sight) -> bool:
        """Whether it is somebody, or may turn out to be in the next frame."""
        if self._judge:
            return sight.of.presence >= min(0.5, self._threshold)
        return float(sight.score_K.mean()) >= LOST_SCORE and sight.of.unseen <= UNSEEN

    def _sure_enough(self, newcomer: Followed) -> bool:
        return self._judge is None or newcomer.presence >= max(BORN, self._threshold)

    def _counts(self, one: Followed) -> bool:
        return self._judge is None or one.presence >= self._threshold

    @staticmethod
    def _distinct(sights: list[_Sight]) -> list[_Sight]:
        """One sight of each subject: the best of those that overlap. Newcomers stand further apart from those before them."""
        kept: list[_Sight] = []
        for sight in sorted(sights, key=lambda one: (one.new, -one.merit)):
            others = [one.own_4 for one in kept]
            if not same_as(sight.own_4, others, NEWCOMER_OVERLAP if sight.new else SAME):
                kept.append(sight)
        return kept

    def _whose(self, number: int, sight: _Sight) -> Followed:
        """What is known of the subject that the tracker takes this sight for."""
        own = self._followed.get(number)
        if own is None or (sight.new and sight.of.presence > own.presence):
            return sight.of
        return own

    @staticmethod
    def _moved_on(one: Followed, sight: _Sight) -> Followed:
        """With the box to look at in the next frame."""
        one.box_4 = one.ahead.box(sight.own_4, sight.looked_at_4)
        return one

    def _tell(self, picture: Picture, number: int, sight: _Sight) -> Found:
        return Found(
            *(picture.path, picture.frame, picture.pts_ms),
            *(sight.looked_at_4, sight.points_K2, sight.score_K, sight.expected_px_K),
            presence=self._followed[number].presence,
            found=True,
            layout=self._eyes.layout,
            subject=number,
        )


def _holds(box_4: Box, other_4: Box) -> bool:
    """Whether the other's middle lies in a box."""
    middle_2 = middle_of(other_4)
    return bool(((box_4[:2] <= middle_2) & (middle_2 <= box_4[2:])).all())
