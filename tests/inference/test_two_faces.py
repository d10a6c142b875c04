"""Two rendered faces in one film: BlazeFace finds them, and an oracle that knows their landmarks stands for a detector.

What is on trial is everything between the two: who is who when they pass each other, and when one leaves.
"""

import cv2
import numpy as np
import pytest

from tsal_dist.inference import detector as detector_module
from tsal_dist.inference.detector import Detector
from tsal_dist.inference.looking import Look
from tsal_dist.inference.pictures import Picture
from tsal_dist.records import UNNAMED
from tsal_dist.synthetic.clip import ClipSpec, render_clip

pytestmark = pytest.mark.slow  # renders a hundred faces

FRAMES, FACE_PX, WIDTH, HEIGHT = 56, 160, 420, 180


class Film:
    """Heads that are cut out of their clips and move over one background, the later ones in front."""

    def __init__(self, clips, starts, steps):
        random = np.random.default_rng(0)
        coarse_HWC = random.integers(60, 180, (6, 12, 3)).astype(np.uint8)
        back_HWC = cv2.resize(coarse_HWC, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)
        self.now = 0
        self.images, self.points, self.seen = [], [], []
        for t in range(FRAMES):
            image_HWC, owner_HW = back_HWC.copy(), np.full((HEIGHT, WIDTH), -1)
            points = []
            for who, (clip, start, step) in enumerate(zip(clips, starts, steps, strict=True)):
                place = (start + step * t, 10)
                points.append(clip.points[t] + np.array(place, float))
                paste(image_HWC, owner_HW, clip.frames[t], clip.points[t], place, who)
            self.images.append(image_HWC)
            self.points.append(points)
            self.seen.append([self._share_seen(owner_HW, at_K2, who) for who, at_K2 in enumerate(points)])

    @staticmethod
    def _share_seen(owner_HW, points_K2, who):
        x_K, y_K = np.rint(points_K2).astype(int).T
        inside_K = (x_K >= 0) & (x_K < WIDTH) & (y_K >= 0) & (y_K < HEIGHT)
        return float((owner_HW[y_K[inside_K], x_K[inside_K]] == who).sum() / len(x_K))

    def pictures(self, source, frames):
        for t, image_HWC in enumerate(self.images):
            self.now = t
            yield Picture(source.path, t, 40.0 * t, image_HWC)


def paste(image_HWC, owner_HW, face_HWC, points_K2, place, who):
    mask_HW = np.zeros((FACE_PX, FACE_PX), np.uint8)
    low_2, high_2 = points_K2.min(0), points_K2.max(0)
    half_2 = (high_2 - low_2) / 2 * [1.25, 1.5]
    middle_2 = (low_2 + high_2) / 2 - [0, 0.15 * half_2[1]]
    cv2.ellipse(mask_HW, middle_2.astype(int).tolist(), half_2.astype(int).tolist(), 0, 0, 360, 1, -1)
    x, y = place
    left, right = max(0, x), min(WIDTH, x + FACE_PX)
    if left < right:
        mask_Hw = mask_HW[:, left - x : right - x] > 0
        image_HWC[y : y + FACE_PX, left:right][mask_Hw] = face_HWC[:, left - x : right - x][mask_Hw]
        owner_HW[y : y + FACE_PX, left:right][mask_Hw] = who


class Oracle:
    """The landmarks of the face that is nearest to the box's middle, if enough of it is seen; else a low peak in the box."""

    num_points, layout = 68, UNNAMED

    def __init__(self, film):
        self._film = film

    def closely(self, image_HWC, box_4):
        return self.look(image_HWC, [box_4])

    def look(self, image_HWC, boxes):
        found, scores = [], []
        for box_4 in boxes:
            middle_2, side_px = (box_4[:2] + box_4[2:]) / 2, (box_4[2:] - box_4[:2]).max()
            there = [
                (np.linalg.norm(points_K2.mean(0) - middle_2), who)
                for who, points_K2 in enumerate(self._film.points[self._film.now])
                if self._film.seen[self._film.now][who] > 0.5
            ]
            away_px, who = min(there, default=(np.inf, -1))
            hit = away_px < 0.6 * side_px
            found.append(self._film.points[self._film.now][who] if hit else np.tile(middle_2, (68, 1)))
            scores.append(0.9 if hit else 0.05)
        ones_C = np.ones(len(boxes))
        return Look(np.stack(found), np.repeat(np.array(scores)[:, None], 68, 1), ones_C, ones_C)


def numbers_of(film, monkeypatch):
    """For each face, the number that its finds have in each frame; None where it was not found."""
    monkeypatch.setattr(detector_module, "read_pictures", film.pictures)
    monkeypatch.setattr(
        detector_module, "find_sources", lambda names: [detector_module.Source("video", "film")]
    )
    rows = (
        Detector(Oracle(film), None, "oracle")
        .predict("film", subjects="many", subject_model="blazeface")
        .rows
    )
    told = [[None] * FRAMES for _ in film.points[0]]
    for row in rows:
        if row.found:
            off = [np.abs(row.points_K2 - points_K2).max() for points_K2 in film.points[row.frame]]
            who = int(np.argmin(off))
            assert off[who] < 1, "nobody is found where nobody is"
            assert told[who][row.frame] is None, "nobody is found twice"
            told[who][row.frame] = row.subject
    return told


@pytest.fixture(scope="module")
def clips():
    return [render_clip(ClipSpec(11, number, FRAMES, FACE_PX)) for number in (2, 6)]


def test_two_that_pass_each_other_are_who_they_were(clips, monkeypatch):
    """One is hidden behind the other for a while."""
    film = Film(clips, (0, 260), (4, -4))
    hidden = [t for t in range(FRAMES) if film.seen[t][0] < 0.5]
    assert 6 <= len(hidden) <= 30
    behind, before = numbers_of(film, monkeypatch)
    assert set(behind) - {None} == {behind[hidden[0] - 3]}
    assert set(before) - {None} == {before[hidden[0] - 3]}
    assert {behind[-1], before[-1]} == {1, 2}
    assert not any(behind[t] for t in hidden)
    seen = [t for t in range(FRAMES) if t not in hidden]
    assert sum(behind[t] is not None for t in seen) > 0.8 * len(seen)
    assert sum(one is not None for one in before) > 0.9 * FRAMES


def test_one_that_leaves_is_gone_and_the_other_stays(clips, monkeypatch):
    film = Film(clips, (10, 250), (0, 6))
    stays, leaves = numbers_of(film, monkeypatch)
    gone = next(t for t in range(FRAMES) if film.seen[t][1] < 0.5)
    assert gone < FRAMES - 20
    assert set(stays[2:]) == {stays[2]}
    assert set(leaves[:gone]) - {None} == {3 - stays[2]}
    assert sum(one is not None for one in leaves[:gone]) > 0.8 * gone
    assert not any(leaves[gone:])
