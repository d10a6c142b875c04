"""Which frames go into which shard: a pure function of the inputs and the options, named by a fingerprint.

A video stays in one shard where it fits, else it is cut where a shard is full; its frames stay contiguous and
in order. Labels outside of the chosen share are dropped here, so that no worker ever sees them.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import cv2

from tsal_dist.errors import ConfigError, DataError
from tsal_dist.pack.face import Face, annotated_box
from tsal_dist.pack.inputs import Input, Label
from tsal_dist.pack.video_facts import Probe
from tsal_dist.records import Layout
from tsal_dist.shards.frames import OK
from tsal_dist.shards.manifest import FORMAT, FaceCrops

BoxFrom = Literal["annotation", "full", "detector"]


@dataclass(frozen=True)
class PackOptions:
    """Everything besides the inputs that changes a byte of the result."""

    split: str
    labelled: float = 1.0
    """Share of the labelled frames (or videos) that keep their labels."""
    labelled_by: Literal["frame", "video"] = "frame"
    seed: int = 0
    stride: int = 1
    """Every n-th frame of a whole video."""
    size_px: int = 0
    """Longer side of a stored frame at most; 0 keeps every size."""
    crop_px: int = 0
    """Longer side at most of what is kept around a face; 0 keeps whole pictures."""
    crop_margin: float = 0.8
    """What is kept beside the box on each side, as a share of its longer side. A reader that grows boxes by .2, turns them
    by 20 degrees and enlarges them by 15 % sees up to .6."""
    quality: int = 90
    shard_frames: int = 1000
    box: BoxFrom = "annotation"
    subject_model: str = ""
    """Digest of the file that finds subjects."""
    subjects: Literal["one", "many"] = "one"
    """Whether all subjects of whole videos were followed, each with its boxes."""
    scheme: str = ""
    """Name of the landmark layout; "" is `<K> points`."""

    def __post_init__(self) -> None:
        rules = [
            ("--labelled", self.labelled, 0 <= self.labelled <= 1, "from 0 to 1"),
            ("--stride", self.stride, self.stride >= 1, "at least 1"),
            ("--size", self.size_px, self.size_px == 0 or self.size_px >= 16, "0 or at least 16"),
            ("--crop", self.crop_px, self.crop_px == 0 or self.crop_px >= 16, "0 or at least 16"),
            ("--crop-margin", self.crop_margin, 0 <= self.crop_margin <= 8, "from 0 to 8"),
            ("--quality", self.quality, 1 <= self.quality <= 100, "from 1 to 100"),
            ("--shard-frames", self.shard_frames, self.shard_frames >= 1, "at least 1"),
            ("--split", self.split, self.split.replace("-", "").replace("_", "").isalnum(), "a plain word"),
        ]
        for flag, value, holds, rule in rules:
            if not holds:
                raise ConfigError(f"{flag} is {value!r}; it must be {rule}.")
        if self.crop_px and self.size_px:
            raise ConfigError(
                f"--crop {self.crop_px} and --size {self.size_px} both bound the stored pictures. Leave --size away."
            )
        if self.crop_px and self.box == "full":
            raise ConfigError(
                "--crop cuts out the face box, and --box full says that it is the whole frame. Give boxes "
                "(--boxes, --face-model, --box-model, annotations), or leave --crop away."
            )

    @property
    def face_crops(self) -> FaceCrops | None:
        """What the manifest says of it."""
        return FaceCrops(side_px=self.crop_px, margin=self.crop_margin) if self.crop_px else None

    def to_summary(self) -> dict[str, Any]:
        """All that a plan's fingerprint covers. Without crops, and of one subject, nothing is said of them: folders that
        were begun before there were any are finished by the same plan."""
        said = asdict(self)
        said["face_model"] = said.pop("subject_model")  # as it was called when the first folders were begun
        if not self.crop_px:
            del said["crop_px"], said["crop_margin"]
        if self.subjects == "one":
            del said["subjects"]
        return said


@dataclass(frozen=True)
class Piece:
    """Frames of one input that lie in one shard."""

    source: Input
    """With the labels of these frames only."""
    frames: Sequence[int]
    """Rising; the numbers that the decoder must reach."""
    to_end: bool
    """Whether frames after the last one, one stride apart, belong here too if the file has them."""


@dataclass(frozen=True)
class ShardPlan:
    name: str
    pieces: tuple[Piece, ...]

    @property
    def frames(self) -> int:
        return sum(len(piece.frames) for piece in self.pieces)


@dataclass(frozen=True)
class Plan:
    options: PackOptions
    shards: tuple[ShardPlan, ...]
    sources: tuple[tuple[Input, Probe], ...]
    """Every input with what probing found, the unusable ones included."""
    points: int
    layout: Layout
    """What the landmarks are called."""
    summary: dict[str, Any]
    """What the fingerprint covers, in a form that can be compared when it differs."""

    @property
    def fingerprint(self) -> str:
        return hashlib.sha256(json.dumps(self.summary, sort_keys=True).encode()).hexdigest()

    @property
    def scheme(self) -> str:
        return self.options.scheme or f"{self.points} points"

    @property
    def first_pixel(self) -> set[int]:
        """What the annotations call the first pixel: 0, 1, or both where formats are mixed."""
        faces = (label.face for one, _ in self.sources for label in one.labels.values())
        return {face.first_pixel for face in faces if face.points_K2 is not None}

    @property
    def frames(self) -> int:
        return sum(shard.frames for shard in self.shards)


def build_plan(
    inputs: Sequence[Input], probes: Sequence[Probe], options: PackOptions, first_shard: int = 0
) -> Plan:
    """Lay probed inputs out over shards, numbered from `first_shard`."""
    sources = list(zip(inputs, probes, strict=True))
    usable = [(one, seen) for one, seen in sources if seen.status == OK]
    if not usable:
        causes = ", ".join(f"{one.name}: {seen.reason}" for one, seen in sources[:3])
        raise DataError(f"None of the {len(sources)} inputs can be packed ({causes}). Check the paths.")
    _check_subjects([one for one, _ in usable], options)
    points = _count_points(one for one, _ in usable)
    layout = _common_layout([one for one, _ in usable], points)
    wanted = [_wanted_frames(one, seen, options.stride) for one, seen in usable]
    for (one, seen), frames in zip(usable, wanted, strict=True):
        _check_labelled_frames(one, seen, frames, options.stride)
    labelled = [_with_frames(one, frames) for (one, _), frames in zip(usable, wanted, strict=True)]
    labelled = _keep_share([_check_points(one, points) for one in labelled], options)
    bins = _fill(labelled, wanted, options.shard_frames)
    digits = max(5, len(str(first_shard + len(bins))))
    return Plan(
        options,
        tuple(
            ShardPlan(f"{options.split}-{first_shard + number:0{digits}d}", tuple(pieces))
            for number, pieces in enumerate(bins)
        ),
        tuple(sources),
        points,
        layout,
        {
            **{f"option {name}": value for name, value in options.to_summary().items()},
            "format": FORMAT,
            "OpenCV": cv2.__version__,
            "inputs": len(sources),
            "content of the inputs": _digest(f"{one.name} {one.kind} {seen.digest}" for one, seen in sources),
            "annotations": _digest(_spell(one) for one, _ in sources),
            **({"names": list(layout.names)} if layout.names else {}),
            **({"skeleton": [list(pair) for pair in layout.skeleton]} if layout.skeleton else {}),
        },
    )


def _digest(lines: Iterable[str]) -> str:
    return hashlib.sha256("\n".join(lines).encode("utf-8", "surrogateescape")).hexdigest()[:16]


def _spell(one: Input) -> str:
    labels = (f"{k}:{v.problem}:{v.face.digest().hex()}" for k, v in sorted(one.labels.items()))
    return f"{one.name} {one.whole} {one.box} {_digest(labels)}"


def _count_points(inputs: Iterable[Input]) -> int:
    """K, of the first face that has points; others must agree or are recorded as failed."""
    faces = (label.face for one in inputs for label in one.labels.values())
    return next((len(face.points_K2) for face in faces if face.points_K2 is not None), 0)


def _common_layout(inputs: Sequence[Input], points: int) -> Layout:
    """The names that the lists agree on. A list without names fits any: its points are told by their order."""
    named = [one for one in inputs if len(one.layout.names) == points and points]
    for one in named[1:]:
        for ours, theirs in zip(named[0].layout.names, one.layout.names, strict=True):
            if ours != theirs:
                raise ConfigError(
                    f"The labels of {named[0].name} call a landmark {ours!r} where those of {one.name} have {theirs!r}. "
                    "Bring the lists into one order of landmarks, or pack them into folders of their own."
                )
    return named[0].layout if named else Layout()


def _check_points(one: Input, points: int) -> Input:
    def check(label: Label) -> Label:
        found = label.face.points_K2
        if label.problem or found is None or len(found) == points:
            return label
        return replace(label, problem=f"{len(found)} landmarks where the first subject has {points}")

    return replace(one, labels={frame: check(label) for frame, label in one.labels.items()})


def _wanted_frames(one: Input, seen: Probe, stride: int) -> Sequence[int]:
    return range(0, seen.frames, stride) if one.whole else sorted(one.labels)


def _check_labelled_frames(one: Input, seen: Probe, frames: Sequence[int], stride: int) -> None:
    """No label of a whole video is dropped in silence."""
    strangers = sorted(set(one.labels) - set(frames)) if one.whole and not one.annotations else []
    if strangers and strangers[-1] >= seen.frames:
        raise ConfigError(
            f"The labels name frame {strangers[-1] + 1} of {one.name}, which has {seen.frames}: frames are counted from 1. "
            "Correct the labels."
        )
    # A box alone is of no use without its frame, and --boxes has one for each.
    labelled = [frame for frame in strangers if one.labels[frame].face.points_K2 is not None]
    if labelled:
        raise ConfigError(
            f"Frame {labelled[0] + 1} of {one.name} is labelled, and --stride {stride} leaves it out. Use a stride of 1, or "
            "give the labels as --lists apart from the videos."
        )


def _check_subjects(inputs: Sequence[Input], options: PackOptions) -> None:
    """Where a video has several subjects, every frame that is packed must have a box of its own subject."""
    count = Counter(one.path for one in inputs if one.kind != "still")
    for one in inputs:
        if one.kind == "still" or count[one.path] == 1 or not (one.whole or options.box != "annotation"):
            continue
        which = "the whole frame" if options.box == "full" else "a frame without a label"
        raise ConfigError(
            f"{one.path} has {count[one.path]} subjects, and {which} is the box of none of them. Let them be followed (--subjects "
            "many with --face-model or --box-model), or pack the labelled frames alone: their table as --lists, without --videos."
        )


def _with_frames(one: Input, frames: Sequence[int]) -> Input:
    """Only the labels of frames that are packed, each with the box that it will be stored with."""
    labels = {frame: one.labels[frame] for frame in frames if frame in one.labels}
    return replace(
        one,
        labels={
            frame: replace(label, face=replace(label.face, box=annotated_box(label.face)))
            for frame, label in labels.items()
        },
    )


def _keep_share(inputs: list[Input], options: PackOptions) -> list[Input]:
    """Drop the landmarks of all but a seeded share; the count is exact, the choice does not depend on order."""

    def rank(name: str) -> bytes:
        return hashlib.sha256(f"{options.seed}:{name}".encode("utf-8", "surrogateescape")).digest()

    def unit(one: Input, frame: int) -> str:
        return one.name if options.labelled_by == "video" else f"{one.name}:{frame}"

    units = {
        unit(one, frame)
        for one in inputs
        for frame, label in one.labels.items()
        if label.face.points_K2 is not None and not label.problem
    }
    kept = set(sorted(units, key=rank)[: round(options.labelled * len(units))])

    def omit(face: Face) -> Face:
        return Face(box=face.box, face_px=face.face_px)

    return [
        replace(
            one,
            labels={
                frame: label if unit(one, frame) in kept else replace(label, face=omit(label.face))
                for frame, label in one.labels.items()
            },
        )
        for one in inputs
    ]


def _fill(inputs: list[Input], wanted: list[Sequence[int]], limit: int) -> list[list[Piece]]:
    """Shards of at most `limit` frames. A video that fits one shard is not cut; a longer one fills them up."""
    bins: list[list[Piece]] = [[]]
    room = limit
    for one, frames in zip(inputs, wanted, strict=True):
        if room < len(frames) <= limit:
            room = 0
        start = 0
        while start < len(frames):
            if not room:
                bins.append([])
                room = limit
            part = frames[start : start + room]
            start, room = start + len(part), room - len(part)
            labels = {frame: one.labels[frame] for frame in part if frame in one.labels}
            to_end = one.whole and start == len(frames)
            bins[-1].append(Piece(replace(one, labels=labels), part, to_end))
    return bins
