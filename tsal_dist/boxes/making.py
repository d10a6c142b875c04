"""From labels to a box model: what is held out, how large a square the net sees, the lessons, the verdict, the file."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tsal_dist.boxes.judging import Verdict, both, judge
from tsal_dist.boxes.labelled import Asked, Shown, fingerprint, has_box, list_frames
from tsal_dist.boxes.learning import Lesson, OnStep, learn
from tsal_dist.errors import ConfigError, DataError
from tsal_dist.inference.trained import pick_device
from tsal_dist.models.box_net import BoxNote, save_box_net
from tsal_dist.pack.hold_out import refuse_copies, split_again, split_by_video
from tsal_dist.pack.inputs import Input

SUBJECT_PX, SMALL = 16, 0.1
"""The square is so large that all but this share of the subjects are so large in it..."""
SIDES_PX = (128, 320)
"""... within these bounds. Sides are multiples of the last."""
SIDE_STEP_PX = 32

Watch = Callable[[str], AbstractContextManager[OnStep]]
"""Shows how far a lesson of that name is, for as long as it takes."""


@dataclass(frozen=True)
class Split:
    """The labelled frames, and which of them are only measured on."""

    train: list[Asked]
    held: list[Asked]
    """Of other videos; () where there are no others."""

    @property
    def labels(self) -> str:
        """Fingerprint of them all."""
        return fingerprint([*self.train, *self.held])


def split_frames(inputs: Sequence[Input], share: float, seed: int, again: str = "") -> Split:
    """The videos that `pack --labels` holds out by the same share and seed, or by the same earlier folder (`again`); and as
    many of those that show no subject."""
    if again:
        train, held = split_again(inputs, again)
    else:
        train, held = split_by_video(inputs, share, seed, lambda label: has_box(label.face))
    refuse_copies(train, held)
    barren = [one for one in train if not any(has_box(label.face) for label in one.labels.values())]
    others = [one for one in train if any(has_box(label.face) for label in one.labels.values())]
    more, none_in_it = split_by_video(barren, share, seed, lambda label: not has_box(label.face))
    found = Split(list_frames([*others, *more]), list_frames([*held, *none_in_it]))
    if all(one.empty for one in found.train):
        raise ConfigError(
            f"None of the {len(found.train)} labelled frames to learn from holds a subject. Label points or boxes in some."
        )
    return found


def choose_side(shown: Sequence[Shown]) -> int:
    """Of the square that the net sees, by how small the subjects are."""
    shares_M = np.concatenate(
        [(one.boxes_B4[:, 2:] - one.boxes_B4[:, :2]).max(1) / one.longer_px for one in shown]
    )
    wanted_px = SUBJECT_PX / float(np.quantile(shares_M, SMALL))
    return int(np.clip(-(-wanted_px // SIDE_STEP_PX) * SIDE_STEP_PX, *SIDES_PX))


def make_box_model(
    out: Path, split: Split, frames: tuple[Sequence[Shown], Sequence[Shown]], lesson: Lesson, watch: Watch
) -> BoxNote:
    """Learn, measure, write. `frames` are those of the split that could be read. Where no video is held out, two more nets
    learn from half of the frames each, and are measured on the other half."""
    train, held = frames
    if not any(len(one.boxes_B4) for one in train):
        raise DataError("No frame that could be read holds a subject. Check --videos and --labels.")
    device = pick_device()
    verdicts = []
    for number, (learnt, judged) in enumerate(_halves(train) if not held else (), 1):
        with watch(f"half {number} of 2, to measure") as on_step:
            half = learn(learnt, lesson, device, on_step)
        verdicts.append(judge(half, lesson.side_px, judged))
    with watch("box net") as on_step:
        net = learn(train, lesson, device, on_step)
    if held:
        verdicts.append(judge(net, lesson.side_px, held))
    note = _note(lesson, split.labels, both(verdicts), _tell(held, verdicts))
    save_box_net(out, net, note)
    return note


def _halves(train: Sequence[Shown]) -> Iterator[tuple[Sequence[Shown], Sequence[Shown]]]:
    """Learnt from, and measured on: the first frames and the last ones, and the other way round. None where one half shows
    no subject."""
    middle = len(train) // 2
    first, last = train[:middle], train[middle:]
    if all(any(len(one.boxes_B4) for one in half) for half in (first, last)):
        yield first, last
        yield last, first


def _tell(held: Sequence[Shown], verdicts: Sequence[Verdict]) -> str:
    if held:
        videos = len({one.name for one in held})
        return f"{videos} held-out video{'s' * (videos > 1)}"
    if verdicts:
        return "the halves of the labelled frames, each by a net that learnt from the other half"
    return ""


def _note(lesson: Lesson, labels: str, verdict: Verdict, judged: str) -> BoxNote:
    threshold = round(verdict.best_threshold(), 4)
    return BoxNote(
        detector=lesson.detector,
        side_px=lesson.side_px,
        threshold=threshold,
        labels=labels,
        judged=judged,
        frames=verdict.frames,
        subjects=verdict.subjects,
        recall=verdict.recall(threshold),
        precision=verdict.precision(threshold),
    )
