"""What became of each input: in how many of its frames there is a subject, where it breaks off, why it was not read; and of all."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tsal_dist.inference.overlay import shown_points
from tsal_dist.inference.pictures import FrameRange, Source
from tsal_dist.inference.prediction import Found
from tsal_dist.pack.frame_count import stored_frames


@dataclass(frozen=True)
class Fate:
    """One input, once its rows are written and forgotten."""

    source: Source
    unread: str = ""
    """Why it could not be read."""
    frames: int = 0
    """That were looked at."""
    held: int = 0
    """Of them, those with a subject."""
    last: int = 0
    """The last one that was looked at, counted from 1; 0 for an image."""
    subjects: int = 0
    most: int = 0
    """Subjects in one frame at most."""
    finds: int = 0
    """Rows with a subject, over which the next two are sums."""
    expected_px: float = 0.0
    expected_share: float = 0.0
    """Of the subject's size."""
    points: int = 0
    """Of these rows."""
    doubtful: int = 0
    """Of them, those that are too far off to be drawn or to be labels."""


def find_fate(source: Source, rows: Sequence[Found], most_error: float) -> Fate:
    """Of an input that was read."""
    held = [row for row in rows if row.found]
    frames = Counter(row.frame for row in held)
    return Fate(
        source,
        frames=len({row.frame for row in rows}),
        held=len(frames),
        last=max((row.frame for row in rows if row.frame is not None), default=-1) + 1,
        subjects=len({row.subject for row in held}),
        most=max(frames.values(), default=0),
        finds=len(held),
        expected_px=float(sum(row.expected_px_K.mean() for row in held)),
        expected_share=float(sum(row.expected_px_K.mean() / row.size_px for row in held)),
        points=sum(len(row.points_K2) for row in held),
        doubtful=sum(int((~shown_points(row, most_error)).sum()) for row in held),
    )


def tell_fate(fate: Fate, frames: FrameRange) -> str:
    """A line."""
    if fate.unread:
        return f"{fate.source.path}: left out. {fate.unread}"
    return f"{fate.source.path}: {_tell(fate, frames)}"


def _tell(fate: Fate, frames: FrameRange) -> str:
    if fate.source.kind == "image":
        return "a subject" if fate.held else "no subject"
    text = f"a subject in {fate.held} of {fate.frames} frames"
    promised = stored_frames(fate.source.place) if fate.source.kind == "video" else 0
    if fate.last < min(promised, frames.last or promised):
        text += f"; it breaks off after {fate.last} of its {promised} frames"
    return text


def summarise(fates: Sequence[Fate], many: bool, most_error: float) -> str:
    """A sentence: in how many frames there is a subject, how far off its points are expected to be, and how many of them are
    therefore missing in overlay and labels. `many`: all subjects were followed."""
    text = f"in {sum(fate.held for fate in fates)} of {sum(fate.frames for fate in fates)} frames"
    most = max((fate.most for fate in fates), default=0)
    if many:
        known = sum(fate.subjects for fate in fates)
        text = f"{known} subject{'s' * (known != 1)} {text}"
        text += f", at most {most} at a time" if most else ""
    else:
        text = f"subject {text}"
    finds = sum(fate.finds for fate in fates)
    if not finds:
        ways = "--face-model, --box-model" if many else "--first-box, --face-model, --box-model"
        return f"{text}; if there is one after all, say where ({ways}), or train on such frames"
    expected_px = sum(fate.expected_px for fate in fates) / finds
    if np.isnan(expected_px):
        return f"{text}; how far off the points are was never measured"
    share = 100 * sum(fate.expected_share for fate in fates) / finds
    whose = "their" if many else "its"
    text += f"; {whose} points are expected to be off by {expected_px:.1f} px, {share:.1f} % of {whose} size"
    doubtful = sum(fate.doubtful for fate in fates)
    if not doubtful:
        return text
    points = sum(fate.points for fate in fates)
    return f"{text}; {doubtful} of {points} points by more than {100 * most_error:g} %: these are not drawn (--max-error)"
