"""Some of the labelled videos, kept out of training to measure on: by whole videos, for neighbours look alike.
All subjects of a video are held out together.

Pictures of one folder stay together where there are several folders: tools put the frames of one video there.
"""

import hashlib
import logging
import os
from collections.abc import Callable, Sequence
from dataclasses import replace

from tsal_dist.errors import ConfigError
from tsal_dist.pack.content import content_digest
from tsal_dist.pack.face import name_subject
from tsal_dist.pack.inputs import Input, Label
from tsal_dist.pack.sources import read_sources
from tsal_dist.pack.video_facts import files_of

log = logging.getLogger(__name__)


def hold_out(
    inputs: Sequence[Input], share: float, seed: int, again: str = ""
) -> tuple[list[Input], list[Input]]:
    """Inputs to train on, and inputs held out, of which only the labelled frames are kept. `again` names a folder of an
    earlier pack, whose inputs are held out in place of a share."""
    train, held = split_again(inputs, again) if again else split_by_video(inputs, share, seed, _has_points)
    kept = [
        replace(one, whole=False, labels={k: v for k, v in one.labels.items() if _has_points(v)})
        for one in held
        if _is_labelled(one, _has_points)
    ]
    refuse_copies(train, kept)
    return train, kept


def split_by_video(
    inputs: Sequence[Input], share: float, seed: int, counts: Callable[[Label], bool]
) -> tuple[list[Input], list[Input]]:
    """Inputs to train on, and inputs held out: a seeded share of what has labels that count, one group at least; with a
    single group nothing can be, and the last whole video is not."""
    if not 0 <= share < 1:
        raise ConfigError(f"--validation is {share:g}; it must be from 0 to below 1.")
    by_folder = len({os.path.dirname(one.name) for one in inputs if one.kind == "still"}) > 1
    groups = [_group(one, by_folder) for one in inputs]
    names = sorted(
        {group for one, group in zip(inputs, groups, strict=True) if _is_labelled(one, counts)},
        key=lambda name: _rank(seed, name),
    )
    count = min(max(1, round(share * len(names))), len(names) - 1) if share and names else 0
    held = _draw(names, count, {group for one, group in zip(inputs, groups, strict=True) if one.whole})
    parts: tuple[list[Input], list[Input]] = ([], [])
    for one, group in zip(inputs, groups, strict=True):
        parts[group in held].append(one)
    return parts


def split_again(inputs: Sequence[Input], folder: str) -> tuple[list[Input], list[Input]]:
    """Inputs to train on, and those that lie in this folder of an earlier pack. A draw changes with every video that gets its
    first label, and what was trained on must not be measured on next. Names change with what is packed; content does not."""
    there = {row.digest: row.name for row in read_sources(folder) if row.digest}
    if not there:
        raise ConfigError(
            f"--validation-of is {folder!r}, which names no packed video or picture. Name the folder that an earlier `tsal pack "
            "--labels` held out, such as shards/mine/val."
        )
    digests = _contents(inputs)
    missing = sorted(name for digest, name in there.items() if digest not in digests.values())
    if len(missing) == len(there):
        raise ConfigError(
            f"--validation-of is {folder!r}, and none of the {len(there)} inputs there is among those that are packed now, such "
            f"as {missing[0]}. Name them with --videos or --labels as before, or leave the flag away."
        )
    if missing:
        log.warning(
            "%d of the %d held out in %s are not packed now: %s", len(missing), len(there), folder, missing[0]
        )
    parts: tuple[list[Input], list[Input]] = ([], [])
    for one in inputs:
        parts[digests[one.path] in there].append(one)
    return parts


def refuse_copies(train: Sequence[Input], held: Sequence[Input]) -> None:
    """One file under two names, on both sides: packing would refuse the second part, with the first one packed."""
    trained = {digest: path for path, digest in _contents(train if held else ()).items() if digest}
    for path, digest in _contents(held).items():
        if digest in trained:
            raise ConfigError(
                f"{trained[digest]} and {path} have the same content, and one would be trained on and the other held out: scores "
                "on what was learnt mean nothing. Keep one of the two, and name it in the labels of both."
            )


def _contents(inputs: Sequence[Input]) -> dict[str, str]:
    """By path: the subjects of a video share its file."""
    return {path: _content(one) for path, one in {one.path: one for one in inputs}.items()}


def _content(one: Input) -> str:
    """As `sources.parquet` tells it; "" for what cannot be read or has no bytes, which packing says."""
    files = files_of(one)
    try:
        return content_digest(files) if any(map(os.path.getsize, files)) else ""
    except OSError:
        return ""


def _draw(names: Sequence[str], count: int, footage: set[str]) -> set[str]:
    """The first `count` of them, but never the last video whose unlabelled frames teach: the pictures beside it measure too."""
    held: set[str] = set()
    for name in names:
        if len(held) < count and footage - held != {name}:
            held.add(name)
    return held


def _is_labelled(one: Input, counts: Callable[[Label], bool]) -> bool:
    return any(counts(label) and not label.problem for label in one.labels.values())


def _has_points(label: Label) -> bool:
    """Or should have: what is wrong with its annotation is to be told."""
    return label.face.points_K2 is not None or bool(label.problem)


def _group(one: Input, by_folder: bool) -> str:
    if one.kind == "still" and by_folder:
        return os.path.dirname(one.name) + "/"
    return one.name.removesuffix(name_subject("", one.subject))


def _rank(seed: int, name: str) -> bytes:
    return hashlib.sha256(f"{seed}:{name}".encode("utf-8", "surrogateescape")).digest()
