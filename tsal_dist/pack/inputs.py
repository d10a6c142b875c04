"""Entries and folders grouped by file: the inputs of a plan, each with a name of its own.

A name is the file's path below the root that all inputs share, so a data set that moves keeps its names. A video with
several subjects is as many inputs, `clip.mp4@1` and `clip.mp4@2`: each has its boxes, and a clip shows one of them.
"""

import os
import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from tsal_dist.errors import ConfigError, DataError
from tsal_dist.pack.face import LAST_FRAME, Box, Entry, Face, name_subject
from tsal_dist.pack.points import AFLW_POINTS, load_pts
from tsal_dist.records import Layout

VIDEO_EXTENSIONS = frozenset(
    ".3gp .avi .flv .m2ts .m4v .mkv .mov .mp4 .mpeg .mpg .mts .ogv .ts .webm .wmv".split()
)
_NUMBERED = re.compile(r"(?P<stem>.*?)(?P<number>\d+)$", re.DOTALL)


@dataclass(frozen=True)
class Label:
    """A frame that a list or annotation speaks of."""

    face: Face
    problem: str = ""
    file: str = ""
    """The image of this frame, in a sequence."""


@dataclass(frozen=True)
class Input:
    """A file to pack: a video, a still image (whose "frames" are its faces), or a folder of numbered images."""

    path: str
    kind: Literal["video", "still", "sequence"]
    name: str = ""
    whole: bool = False
    """A video of which every frame is wanted, labelled or not."""
    labels: dict[int, Label] = field(default_factory=dict)
    annotations: int = 0
    """How many frames the annotation promises; 0 when it need not cover them all."""
    box: Box | None = None
    """The face box of frames that have none of their own."""
    layout: Layout = Layout()
    """What the landmarks of its labels are called."""
    subject: str = ""
    """Which of the video's subjects its labels are of, where they tell them apart."""
    problem: tuple[str, str] | None = None
    """A status word and a reason why nothing of this file can be used."""


def inputs_from_entries(entries: Iterable[Entry], sequences: bool = False) -> list[Input]:
    """One input per file, in the order of first appearance.

    With `sequences`, images of one folder whose names end in a number are the frames of one video.
    """
    groups: dict[tuple[str, str, str], dict[int, Label]] = defaultdict(dict)
    layouts: dict[str, Layout] = {}
    for entry in entries:
        path = os.path.abspath(entry.path)
        layouts.setdefault(path, entry.layout)
        number = None if entry.frame is not None or not sequences else _image_number(path)
        if entry.frame is not None:
            label = Label(entry.face, entry.problem)
            put_label(groups["video", path, entry.subject], entry.frame, label, path)
        elif number is not None:
            folder, frame = number
            layouts.setdefault(folder, entry.layout)
            label = Label(entry.face, entry.problem, path)
            put_label(groups["sequence", folder, entry.subject], frame, label, path)
        else:
            faces = groups["still", path, ""]
            faces[len(faces)] = Label(entry.face, entry.problem)
    return [
        Input(path, kind, labels=labels, layout=layouts[path], subject=subject)  # type: ignore[arg-type]
        for (kind, path, subject), labels in groups.items()
    ]


def refuse_no_text(flag: str, path: str) -> None:
    """ConfigError where a file's name is bytes that are no text: neither OpenCV nor a table takes it, which is better said
    before the work than after."""
    name = os.fsencode(os.path.abspath(path))
    told = name.decode("utf-8", "backslashreplace")
    if told.encode() != name:
        raise ConfigError(
            f"{flag}: the name {told} is not UTF-8, and no table can say it. Rename the file or its folder."
        )


def put_label(labels: dict[int, Label], frame: int, label: Label, path: str) -> None:
    """Into the labels of one subject."""
    if frame in labels:
        raise ConfigError(
            f"Frame {frame + 1} of {path} is labelled twice, with two subjects or boxes that nothing tells apart. Keep one line "
            "per frame, or name each line's subject in a column `subject`."
        )
    labels[frame] = label


def _image_number(path: str) -> tuple[str, int] | None:
    stem, _ = os.path.splitext(path)
    match = _NUMBERED.fullmatch(stem)
    if match and int(match["number"]) > LAST_FRAME:
        raise ConfigError(
            f"--sequences: {path} has a number beyond {LAST_FRAME}, as times are, and would be that frame of a video. Number the "
            "pictures in their order, or pack each for itself."
        )
    return (match["stem"].rstrip("/") or stem, int(match["number"])) if match else None


def inputs_from_videos(
    paths: Sequence[Path], annotations: Path | None = None, points: int = AFLW_POINTS
) -> list[Input]:
    """Whole videos: files as given, and those below folders that have a video's extension.

    A video's annotation is `<annotations>/<its path without extension>/%06d.pts`, or, in 300VW's own layout, the
    folder `annot` beside it; one file per frame, counted from 1.
    """
    found = [(file, base) for path in paths for file, base in _find_videos(path)]
    if not found:
        raise ConfigError(
            f"No video among {', '.join(map(str, paths))}: folders are searched for "
            f"{' '.join(sorted(VIDEO_EXTENSIONS))}. Name a file of another extension itself."
        )
    alone = _alone({file for file, _ in found})
    inputs = []
    for file, base in found:
        folder = file.parent / "annot" if file in alone else None
        if annotations is not None:
            folder = annotations / file.relative_to(base).with_suffix("")
        inputs.append(_annotated(file, folder, points))
    return inputs


def _find_videos(path: Path) -> list[tuple[Path, Path]]:
    path = path.absolute()
    if path.is_dir():
        files = sorted(file for file in path.rglob("*") if file.suffix.lower() in VIDEO_EXTENSIONS)
        return [(file, path) for file in files if file.is_file()]
    if not path.exists():
        raise ConfigError(f"{path} does not exist. Check --videos.")
    return [(path, path.parent)]


def _alone(files: set[Path]) -> set[Path]:
    """Those that are the only video of their folder: `annot` beside them can mean no other."""
    folders: dict[Path, list[Path]] = defaultdict(list)
    for file in files:
        folders[file.parent].append(file)
    return {siblings[0] for siblings in folders.values() if len(siblings) == 1}


def _annotated(file: Path, folder: Path | None, points: int) -> Input:
    whole = Input(str(file), "video", whole=True)
    if folder is None or not folder.is_dir():
        return whole
    files = {int(pts.stem): pts for pts in sorted(folder.glob("*.pts")) if pts.stem.isdigit()}
    if not files:
        return whole
    if set(files) != set(range(1, len(files) + 1)):
        reason = f"{folder.name} holds {len(files)} numbered .pts, which are not 1 to {len(files)}"
        return replace(whole, problem=("annotation_mismatch", reason))
    labels = {}
    for number, pts in files.items():
        try:
            labels[number - 1] = Label(load_pts(pts, points))
        except DataError as error:
            labels[number - 1] = Label(Face(), str(error))
    return replace(whole, labels=labels, annotations=len(labels))


def name_inputs(inputs: Sequence[Input], root: Path) -> list[Input]:
    """Name every input by its path below `root`, and by its subject where its file has several; sorted by name."""
    root = root.absolute()
    subjects: dict[str, set[str]] = defaultdict(set)
    for one in inputs:
        subjects[one.path].add(one.subject)
    named = []
    for one in inputs:
        name = os.path.relpath(one.path, root)
        if name.startswith(".."):
            raise ConfigError(
                f"{one.path} is not below the root {root}. Name a folder above all inputs: --root."
            )
        name = name.replace(os.sep, "/")
        if len(subjects[one.path]) > 1:
            name = name_subject(name, one.subject)
        named.append(replace(one, name=name))
    named.sort(key=lambda one: (one.name, one.kind))
    for one, following in zip(named, named[1:], strict=False):
        if one.name == following.name:
            raise ConfigError(
                f"{one.path} is given twice, as {one.kind} and as {following.kind}; give each file once. Labels of frames "
                "within --videos are --labels."
            )
    return named


def apply_boxes(inputs: Sequence[Input], boxes: Iterable[Entry]) -> list[Input]:
    """Put the boxes of a CSV in the place of any others. A row without a frame is for the whole file."""
    by_input: dict[tuple[str, str], dict[int | None, Box]] = defaultdict(dict)
    for entry in boxes:
        if entry.face.box is not None:
            by_input[os.path.abspath(entry.path), entry.subject][entry.frame] = entry.face.box
    known = {(one.path, one.subject) for one in inputs}
    strangers = sorted(set(by_input) - known)
    if strangers:
        path, subject = strangers[0]
        of = f", subject {subject!r}," if subject else ","
        raise ConfigError(
            f"The box file names {path}{of or ','} which is no input. Its paths start at --root, or at its folder, and its subjects "
            "are those of the labels."
        )
    return [_with_boxes(one, by_input.get((one.path, one.subject), {})) for one in inputs]


def _with_boxes(one: Input, boxes: dict[int | None, Box]) -> Input:
    labels = dict(one.labels)
    for frame, box in boxes.items():
        if frame is not None:
            label = labels.get(frame, Label(Face()))
            labels[frame] = replace(label, face=replace(label.face, box=box))
    if None in boxes:
        labels = {
            k: replace(v, face=replace(v.face, box=boxes.get(k, boxes[None]))) for k, v in labels.items()
        }
    return replace(one, labels=labels, box=boxes.get(None))
