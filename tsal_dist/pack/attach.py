"""Labels of frames that lie within whole videos: each finds its video, however its own file spells it.

A label's path is the video's, from the label file's folder; or else, where no file is there, the end of it, from one folder
name down to the bare file name, with or without extension: labels travel to other machines, and a Mac spells an ü with
two characters. Two paths that contradict each other are never one video's. DeepLabCut's `labeled-data/<video>/img0042.png`
is frame 42 of <video>. A video whose labels tell several subjects apart becomes as many inputs. What is no frame of a video
is a picture of its own, and must exist.
"""

import os
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import replace
from difflib import SequenceMatcher
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
    finder = _Finder(videos)
    for entry in entries:
        place = _place(entry, videos, finder)
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


def _place(entry: Entry, videos: Sequence[Input], finder: "_Finder") -> tuple[str, int] | None:
    """The video and frame of a label, or None for a picture."""
    if entry.frame is not None:
        return finder.find(entry.path), entry.frame
    if Path(entry.path).suffix.lower() in VIDEO_EXTENSIONS:
        raise ConfigError(f"The label of {entry.path} names no frame. Give a column `frame`, counted from 1.")
    named = frame_of(entry.path)
    if named is None:
        return None
    found = [one.path for one in videos if _one_spelling(PurePath(one.path).stem) == _one_spelling(named[0])]
    return (found[0], named[1]) if len(found) == 1 else None


class _Finder:
    """The video of a label's path. A video's labels mostly spell it alike, so what was found is kept, and held against
    every other spelling."""

    def __init__(self, videos: Sequence[Input]) -> None:
        self._videos = videos
        self._by_place = {_real(one.path): one.path for one in videos} | {
            one.path: one.path for one in videos
        }
        self._found: dict[str, str] = {}
        self._spelt: dict[str, list[tuple[str, Sequence[str]]]] = {}
        """For each video the paths that found it, and the words of each that count."""

    def find(self, path: str) -> str:
        if path not in self._found:
            self._found[path] = video = self._find(path)
            self._check_spelling(path, video)
        return self._found[path]

    def _find(self, path: str) -> str:
        whole = os.path.abspath(path)
        for place in (whole, _real(path)):
            if place in self._by_place:
                return self._by_place[place]
        if os.path.isfile(whole):
            raise ConfigError(
                f"The labels name {path}, a file that is none of the {len(self._videos)} videos of --videos. Name it with "
                "--videos too, or take its labels out."
            )
        return _find_by_end(self._videos, path)

    def _check_spelling(self, path: str, video: str) -> None:
        """Of two videos of one name that the labels speak of, perhaps one is here: it must not get the labels of both."""
        words = _own_words(path, video)
        spelt = self._spelt.setdefault(video, [])
        for other, theirs in spelt:
            if not _ends_alike(words, theirs):
                raise ConfigError(
                    f"The labels name {other} and {path}, and both would be of {video}, the only video that ends so. Take out "
                    "the labels of other videos, or write this one's path alike."
                )
        spelt.append((path, words))


def _real(path: str) -> str:
    """One file is one place, whatever links lead to it."""
    return os.path.realpath(os.path.abspath(path))


def _own_words(path: str, video: str) -> tuple[str, ...]:
    """What a label itself says of where its video is. That is all of it where the file is there; otherwise what is below the
    deepest folder that exists, since a label's path starts at one, and at least what it has in common with the video."""
    whole = Path(os.path.abspath(path))
    if whole.is_file():
        return _words(PurePath(video))
    folder = next(parent for parent in whole.parents if os.path.isdir(parent))
    words, theirs = _words(whole), _words(PurePath(video))
    below, alike = len(whole.relative_to(folder).parts), 0
    while alike < min(len(words), len(theirs)) and words[-alike - 1] == theirs[-alike - 1]:
        alike += 1
    return words[-max(below, alike) :]


def _words(path: PurePath) -> tuple[str, ...]:
    """Folders and name, without a video's extension."""
    return _parts(path.with_suffix("") if path.suffix.lower() in VIDEO_EXTENSIONS else path)


def _parts(path: PurePath | str) -> tuple[str, ...]:
    return PurePath(_one_spelling(str(path))).parts


def _one_spelling(name: str) -> str:
    """Of letters with accents, which have two."""
    return unicodedata.normalize("NFC", name)


def _ends_alike(one: Sequence[str], other: Sequence[str]) -> bool:
    """One of the two is the end of the other."""
    length = min(len(one), len(other))
    return tuple(one[-length:]) == tuple(other[-length:])


def _find_by_end(videos: Sequence[Input], path: str) -> str:
    wanted = _parts(path)
    for length in range(len(wanted), 0, -1):
        tail = wanted[-length:]
        for same in (_ends_with, _ends_with_stem):
            found = [one.path for one in videos if same(_parts(one.path), tail)]
            if len(found) == 1:
                return found[0]
            if len(found) > 1:
                raise ConfigError(
                    f"The labels name {'/'.join(tail)}, and {len(found)} videos end so, such as {found[0]} and {found[1]}. "
                    "Write more of its path into the labels."
                )
    raise ConfigError(
        f"The labels name {path!r}, and none of the {len(videos)} videos of --videos is called so; the nearest is "
        f"{_nearest(videos, path)}. Correct the path in the labels, or name its folder with --videos."
    )


def _nearest(videos: Sequence[Input], path: str) -> str:
    """The video whose name is most like it: what is wrong is mostly a letter, a space, or upper case."""
    wanted = PurePath(path).name.casefold()
    alike = {
        one.path: SequenceMatcher(None, wanted, PurePath(one.path).name.casefold()).ratio() for one in videos
    }
    return max(alike, key=alike.__getitem__, default="(none)")


def _ends_with(parts: Sequence[str], tail: Sequence[str]) -> bool:
    return tuple(parts[-len(tail) :]) == tuple(tail)


def _ends_with_stem(parts: Sequence[str], tail: Sequence[str]) -> bool:
    bare = (*parts[:-1], PurePath(parts[-1]).stem)
    return _ends_with(bare, tail)


def _picture(entry: Entry) -> Entry:
    if not os.path.exists(os.path.abspath(entry.path)):
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
