"""Labels of frames that lie within whole videos: each finds its video, however its own file spells it.

A label's path is the video's, from the label file's folder; or else the end of it, from one folder name down to the
bare file name, with or without extension. DeepLabCut's `labeled-data/<video>/img0042.png` is frame 42 of <video>. A video
whose labels tell several subjects apart becomes as many inputs. What is no frame of a video is a picture of its own, and
must exist.
"""

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import cache, partial
from pathlib import Path, PurePath

from tsal_dist.errors import ConfigError
from tsal_dist.pack.face import Entry
from tsal_dist.pack.formats.deeplabcut import frame_of
from tsal_dist.pack.inputs import VIDEO_EXTENSIONS, Input, Label, inputs_from_entries, put_label
from tsal_dist.records import Layout


def attach_labels(videos: Sequence[Input], entries: Iterable[Entry], several: bool = False) -> list[Input]:
    """The videos with their labels, and pictures that the labels speak of and no video holds. `several`: two labels of one
    frame may be of two subjects though nothing tells them apart; who is who is found out later."""
    labels = {(one.path, one.subject): dict(one.labels) for one in videos if one.labels}
    layouts: dict[str, Layout] = {}
    pictures = []
    find = cache(partial(_find, videos))  # a video's labels all spell it alike
    for entry in entries:
        place = _place(entry, videos, find)
        if place is None:
            pictures.append(_picture(entry))
            continue
        path, frame = place
        subject = entry.subject
        while several and frame in labels.get((path, subject), {}):
            subject += " and another"
        of_subject = labels.setdefault((path, subject), {})
        put_label(of_subject, frame, Label(entry.face, entry.problem), path)
        layouts.setdefault(path, entry.layout)
    found = []
    for one in videos:
        subjects = [subject for path, subject in labels if path == one.path] or [one.subject]
        for subject in subjects:
            spoken_of = labels.get((one.path, subject), {})
            layout = layouts.get(one.path, one.layout)
            found.append(replace(one, labels=spoken_of, layout=layout, subject=subject))
    return found + inputs_from_entries(pictures)


def _place(entry: Entry, videos: Sequence[Input], find: Callable[[str], str]) -> tuple[str, int] | None:
    """The video and frame of a label, or None for a picture."""
    if entry.frame is not None:
        return find(entry.path), entry.frame
    if Path(entry.path).suffix.lower() in VIDEO_EXTENSIONS:
        raise ConfigError(f"The label of {entry.path} names no frame. Give a column `frame`, counted from 1.")
    named = frame_of(entry.path)
    if named is None:
        return None
    found = [one.path for one in videos if PurePath(one.path).stem == named[0]]
    return (found[0], named[1]) if len(found) == 1 else None


def _find(videos: Sequence[Input], path: str) -> str:
    whole = os.path.abspath(path)
    if any(one.path == whole for one in videos):
        return whole
    wanted = PurePath(path).parts
    for length in range(len(wanted), 0, -1):
        tail = wanted[-length:]
        for same in (_ends_with, _ends_with_stem):
            found = [one.path for one in videos if same(PurePath(one.path).parts, tail)]
            if len(found) == 1:
                return found[0]
            if len(found) > 1:
                raise ConfigError(
                    f"The labels name {'/'.join(tail)}, and {len(found)} videos end so, such as {found[0]} and {found[1]}. "
                    "Write more of its path into the labels."
                )
    raise ConfigError(
        f"The labels name {path}, and none of the {len(videos)} videos of --videos is called so, such as "
        f"{videos[0].path if videos else '(none)'}. Correct the path in the labels, or name its folder with --videos."
    )


def _ends_with(parts: Sequence[str], tail: Sequence[str]) -> bool:
    return tuple(parts[-len(tail) :]) == tuple(tail)


def _ends_with_stem(parts: Sequence[str], tail: Sequence[str]) -> bool:
    bare = (*parts[:-1], PurePath(parts[-1]).stem)
    return _ends_with(bare, tail)


def _picture(entry: Entry) -> Entry:
    if not Path(entry.path).exists():
        raise ConfigError(
            f"The labels name {entry.path}, which is no file and no frame of a video of --videos. Correct the path, or name "
            "the folder that it starts at (--root)."
        )
    return entry


def join_landmarks(inputs: Sequence[Input], pairs: Sequence[str]) -> list[Input]:
    """Every input's layout with lines between landmarks, each spelt `<name>:<name>`."""
    return [replace(one, layout=_joined(one.layout, pairs)) if one.layout.names else one for one in inputs]


def _joined(layout: Layout, pairs: Sequence[str]) -> Layout:
    place = {name: k for k, name in enumerate(layout.names)}
    found = []
    for pair in pairs:
        one, _, other = pair.partition(":")
        strangers = [name for name in (one, other) if name not in place]
        if strangers:
            raise ConfigError(
                f"--skeleton joins {pair!r}, and no landmark is called {strangers[0]!r}. They are: {', '.join(layout.names)}."
            )
        found.append((place[one], place[other]))
    return Layout(layout.names, tuple(found))
