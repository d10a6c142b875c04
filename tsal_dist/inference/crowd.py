"""Landmarks of every subject of a video: each is followed by its own landmarks, and newcomers are looked for.

Whoever is followed is looked at first; then, in some frames, a detector of subjects or a search says where others may be.
What two looks agree on is one subject. Which one it is is told by places and colours (`BoxTracker`): a subject that was lost is
found again near to where it was going. Whether there is one at all is judged as for a single subject, by evidence that
adds up over frames; newcomers have to be surer than those that are followed, as many are looked at. Where nothing was
measured of the detector, a subject is what a detector of subjects finds too.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np

from tsal_dist.inference.looking import Box, Eyes, Floats, gather_evidence, same_as, tight_box
from tsal_dist.inference.pictures import Image, Picture
from tsal_dist.inference.prediction import (
    LOOK_AGAIN_EVERY,
    LOST_SCORE,
    SMOOTH,
    SURE,
    THRESHOLD,
    Found,
    Trusted,
    nothing_found,
)
from tsal_dist.inference.presence import Belief
from tsal_dist.pack.box_tracker import BoxTracker, middle_of

BORN = 0.8
"""Probability from which a newcomer counts as found."""
SEEK_EVERY = 10
"""Frames between two searches of the whole picture for newcomers: each is some hundred looks."""
CLOSER = 2
"""Looks at a box that a detector of subjects gave, before it counts: its boxes are not those of the landmarks."""
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
class Followed:
    """What is known of a subject when the next frame comes."""

    box_4: Box
    belief: Belief = field(default_factory=Belief)
    presence: float = float("nan")
    frames: int = 0
    unseen: int = 0
    """Frames since a detector of subjects found it."""


@dataclass(frozen=True)
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
        self._tracker = BoxTracker()
        self._followed: dict[int, Followed] = {}
        self._numbers: dict[int, int] = {}
        """Of the tracks that ever counted as found: what the subject is called. Others may come to nothing."""
        self._presence = float("nan")
        self._frame = 0
        self._lost = False

    def next(self, picture: Picture) -> list[Found]:
        """Who is there."""
        detected = self._seek(picture.image_HWC)
        sights = [self._look(picture.image_HWC, one, detected) for one in self._followed.values()]
        followed_4 = [one.own_4 for one in sights]
        for box_4 in detected or []:
            if not any(_holds(box_4, own_4) for own_4 in followed_4):
                sights.append(self._meet(picture.image_HWC, box_4))
        if sights:
            self._presence = max(one.of.presence for one in sights)
        distinct = self._distinct([one for one in sights if self._promises(one)])
        tracks = self._tracker.update(picture.image_HWC, [one.own_4 for one in distinct])
        told = {track: self._tell(picture, track, one) for track, one in zip(tracks, distinct, strict=True)}
        self._lost = not set(self._followed) <= set(told)
        self._followed = {track: one for track, (one, _) in told.items()}
        self._frame += 1
        found = sorted((one for _, one in told.values() if one), key=lambda one: one.subject)
        return found or [nothing_found(self._eyes, picture, self._presence)]

    def _seek(self, image_HWC: Image) -> list[Box] | None:
        """Where others may be; None in frames in which nobody asks. Who was just lost is looked for at once."""
        due = self._frame % self._seeker.every == 0 or self._lost
        return self._seeker.find(image_HWC) if due else None

    def _look(self, image_HWC: Image, one: Followed, detected: list[Box] | None) -> _Sight:
        """Closely at where somebody should be."""
        look = self._eyes.closely(image_HWC, one.box_4)
        own_4 = tight_box(look.points_CK2[0], image_HWC)
        one.frames += 1
        if detected is not None and self._seeker.detects:
            found = any(_holds(box_4, own_4) for box_4 in detected)
            one.unseen = 0 if found else one.unseen + 1
        expected_px_K, log_odds = np.full(look.score_CK.shape[1], np.nan), 0.0
        if self._trust:
            expected_px_K = self._trust.expected_px(look)[0]
            if not (one.presence >= SURE and one.frames % LOOK_AGAIN_EVERY):
                log_odds = self._trust.log_odds(gather_evidence(self._eyes, image_HWC, own_4))
                one.presence = one.belief.observe(log_odds)
        merit = float(look.score_CK[0].mean() * look.agreement_C[0])
        return _Sight(
            *(one, one.box_4, own_4, look.points_CK2[0], look.score_CK[0], expected_px_K, merit, log_odds)
        )

    def _meet(self, image_HWC: Image, box_4: Box) -> _Sight:
        """A look at somebody new."""
        for _ in range(CLOSER if self._seeker.detects else 0):
            box_4 = tight_box(self._eyes.look(image_HWC, [box_4]).points_CK2[0], image_HWC)
        return self._look(image_HWC, Followed(box_4), None)

    def _promises(self, sight: _Sight) -> bool:
        """Whether it is somebody, or may turn out to be in the next frame."""
        if self._trust:
            return sight.of.presence >= min(0.5, self._threshold)
        return float(sight.score_K.mean()) >= LOST_SCORE and sight.of.unseen <= UNSEEN

    @staticmethod
    def _distinct(sights: list[_Sight]) -> list[_Sight]:
        """One sight of each subject: the best of those that overlap."""
        kept: list[_Sight] = []
        for sight in sorted(sights, key=lambda one: -one.merit):
            if not same_as(sight.own_4, [one.own_4 for one in kept]):
                kept.append(sight)
        return kept

    def _whose(self, track: int, sight: _Sight) -> Followed:
        """What is known of the subject that the tracker takes this sight for. What was known of somebody else, whose points
        jumped here, does not count for it."""
        own = self._followed.get(track)
        if sight.of not in self._followed.values():  # a newcomer, or somebody where no look found him
            return sight.of if own is None or sight.of.presence > own.presence else own
        if own is None:
            own = Followed(sight.own_4, unseen=sight.of.unseen)
            if self._trust:
                own.presence = own.belief.observe(sight.log_odds)
        return own

    def _tell(self, picture: Picture, track: int, sight: _Sight) -> tuple[Followed, Found | None]:
        """What is known of one subject from now on, and what is told: None while a newcomer is not sure enough."""
        one = self._whose(track, sight)
        one.box_4 = SMOOTH * sight.own_4 + (1 - SMOOTH) * sight.looked_at_4
        least = self._threshold if track in self._numbers else max(BORN, self._threshold)
        if self._trust and one.presence < least:
            return one, None
        found = Found(
            *(picture.path, picture.frame, picture.pts_ms),
            *(sight.looked_at_4, sight.points_K2, sight.score_K, sight.expected_px_K),
            presence=one.presence,
            found=True,
            layout=self._eyes.layout,
            subject=self._numbers.setdefault(track, len(self._numbers) + 1),
        )
        return one, found


def _holds(box_4: Box, other_4: Box) -> bool:
    """Whether the other's middle lies in a box."""
    middle_2 = middle_of(other_4)
    return bool(((box_4[:2] <= middle_2) & (middle_2 <= box_4[2:])).all())
