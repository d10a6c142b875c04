"""The subjects of whole videos, found and followed before anything is packed: each becomes an input of its own.

A detector looks at every frame that will be packed, and a tracker says which box is whose. A subject's input has the
frames in which it was seen and their boxes; it is left out where it was seen seldom, as detectors err now and then. A
label goes to the subject whose box it lies in. One that lies in none is packed with its own box, as `unseen`.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from tsal_dist.errors import ConfigError
from tsal_dist.pack.box_tracker import BoxTracker
from tsal_dist.pack.boxes import Detector
from tsal_dist.pack.face import Box, Face
from tsal_dist.pack.frame_count import open_video
from tsal_dist.pack.inputs import Input, Label
from tsal_dist.pack.subject_models import load_detector

LEAST_SEEN = 5
"""Frames in which a subject is seen, or it is taken for an error of the detector."""
BRIDGED = 3
"""Frames in a row without a box that are given boxes between those before and after."""
LEAST_INSIDE = 0.5
"""Share of a label's points that lie in its subject's box, at least."""
STEPS_PER_PX = 8
"""Boxes are told in so many steps: another number of threads should not make another plan."""
UNSEEN = "unseen"

OnFrame = Callable[[str, int], None]
"""Called with a video and how many of its frames were looked at."""


@dataclass
class _Video:
    """One file: an input without labels, and the labels of all inputs of that file."""

    whole: Input
    labels: list[tuple[int, Label]] = field(default_factory=list)


def tracking(
    subject_model: str, stride: int, videos: bool, machines: bool
) -> Callable[[list[Input]], list[Input]]:
    """What takes whole videos apart, and says on a terminal how far it is. `videos` and `machines`: whether there are whole
    videos, and whether several machines share the work."""
    if not (subject_model and videos):
        raise ConfigError(
            "--subjects many follows what --face-model or --box-model finds in --videos. Name both; a table that tells subjects apart in a "
            "column `subject` goes into --lists without it."
        )
    if machines:
        raise ConfigError(
            "--subjects many and --machine were given. Subjects are followed before frames are shared out, and machines may "
            "round differently: let one machine pack, or write a table with predict and give that as --lists."
        )
    detect = load_detector(subject_model)

    def track(inputs: list[Input]) -> list[Input]:
        from rich.console import Console

        with Console(stderr=True, highlight=False).status("looking for subjects") as status:
            return track_subjects(
                *(inputs, detect, stride),
                lambda video, frames: status.update(f"looking for subjects: {video}, {frames} frames"),
            )

    return track


def track_subjects(
    inputs: Sequence[Input], detect: Detector, stride: int = 1, on_frame: OnFrame = lambda video, frames: None
) -> list[Input]:
    """Whole videos as an input for each of their subjects; other inputs as they are."""
    videos: dict[str, _Video] = {}
    others: list[Input] = []
    for one in inputs:
        if one.kind != "video" or not one.whole or one.problem is not None:
            others.append(one)
            continue
        bare = replace(one, labels={}, subject="", whole=False)
        videos.setdefault(one.path, _Video(bare)).labels += one.labels.items()
    return others + [one for video in videos.values() for one in _split(video, detect, stride, on_frame)]


def _split(video: _Video, detect: Detector, stride: int, on_frame: OnFrame) -> Iterator[Input]:
    whole = video.whole
    seen, frames = _follow(whole.path, detect, stride, on_frame)
    boxes = {who: _bridge(boxes, stride) for who, boxes in seen.items() if len(boxes) >= LEAST_SEEN}
    labels, unseen = _give_labels(boxes, video.labels)
    # Renumbered, as those that were left out had numbers too.
    for number, who in enumerate(sorted(boxes), 1):
        faces = {frame: Label(Face(box=box)) for frame, box in boxes[who].items()}
        yield replace(whole, labels=faces | labels.get(who, {}), subject=str(number))
    for number, of_nobody in enumerate(unseen, 1):
        yield replace(whole, labels=of_nobody, subject=UNSEEN if number == 1 else f"{UNSEEN}-{number}")
    if not frames:  # what is wrong with the file is found out as for any other
        yield replace(whole, whole=True)
    elif not boxes and not unseen:
        yield replace(whole, problem=("no_box", f"no subject was found in {LEAST_SEEN} of its frames"))


def _follow(
    path: str, detect: Detector, stride: int, on_frame: OnFrame
) -> tuple[dict[int, dict[int, Box]], int]:
    """For each subject the frames in which it was seen, and its box there; and how many frames there are."""
    video, tracker, frame = open_video(path), BoxTracker(), 0
    seen: dict[int, dict[int, Box]] = {}
    try:
        while video.grab():
            if frame % stride == 0:
                fine, image_HWC = video.retrieve()
                boxes_N4 = detect(np.asarray(image_HWC, np.uint8))[:, :4] if fine else np.empty((0, 4))
                boxes = list(np.round(boxes_N4.astype(np.float64) * STEPS_PER_PX) / STEPS_PER_PX)
                for who, box_4 in zip(tracker.update(image_HWC, boxes), boxes, strict=True):  # type: ignore[arg-type]
                    seen.setdefault(who, {})[frame] = _box(box_4)
                on_frame(path, frame + 1)
            frame += 1
    finally:
        video.release()
    return seen, frame


def _bridge(boxes: Mapping[int, Box], stride: int) -> dict[int, Box]:
    """With short gaps filled, so that one missed frame does not end a clip."""
    frames = sorted(boxes)
    filled = dict(boxes)
    for before, after in zip(frames, frames[1:], strict=False):
        if stride < after - before <= (BRIDGED + 1) * stride:
            ends_24 = np.array([boxes[before], boxes[after]])
            for frame in range(before + stride, after, stride):
                share = (frame - before) / (after - before)
                filled[frame] = _box((1 - share) * ends_24[0] + share * ends_24[1])
    return dict(sorted(filled.items()))


def _give_labels(
    boxes: Mapping[int, Mapping[int, Box]], labels: Sequence[tuple[int, Label]]
) -> tuple[dict[int, dict[int, Label]], list[dict[int, Label]]]:
    """Each subject's labels, with its boxes; and those of nobody, one to a frame. What fits best comes first."""
    fits = [
        (inside, -away, place, who)
        for place, (frame, label) in enumerate(labels)
        for who, of_frame in boxes.items()
        if frame in of_frame
        for inside, away in [_fit(label.face, of_frame[frame])]
        if inside >= LEAST_INSIDE
    ]
    given: dict[int, dict[int, Label]] = {}
    settled: set[int] = set()
    for _, _, place, who in sorted(fits, reverse=True):
        frame, label = labels[place]
        if place not in settled and frame not in given.get(who, {}):
            box = boxes[who][frame]
            given.setdefault(who, {})[frame] = replace(label, face=replace(label.face, box=box))
            settled.add(place)
    unseen: list[dict[int, Label]] = []
    for place, (frame, label) in enumerate(labels):
        if place not in settled:
            free = next((one for one in unseen if frame not in one), None)
            if free is None:
                unseen.append(free := {})
            free[frame] = label
    return given, unseen


def _fit(face: Face, box: Box) -> tuple[float, float]:
    """Which share of a label's points, or of its box's corners, lies in a box, and how far apart their middles are."""
    if face.points_K2 is not None and face.visible_K is not None:
        own_N2 = face.points_K2[face.visible_K > 0].astype(np.float64)
    else:
        own_N2 = np.array(face.box or ()).reshape(-1, 2)
    if not len(own_N2):
        return 0.0, 0.0
    low_2, high_2 = np.array(box[:2]), np.array(box[2:])
    inside = float(((low_2 <= own_N2) & (own_N2 <= high_2)).all(1).mean())
    return inside, float(np.linalg.norm(own_N2.mean(0) - (low_2 + high_2) / 2))


def _box(box_4: NDArray[np.float64]) -> Box:
    x1, y1, x2, y2 = box_4.tolist()
    return (x1, y1, x2, y2)
