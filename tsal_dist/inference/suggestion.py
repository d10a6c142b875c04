"""Which frames to label next: those a detector is unsure of, that look like none that is labelled, spread over videos.

Doubt is where a frame stands among all that were looked at: by how low its peaks are, and by how far its two
descriptions, heatmaps and the centre's offsets, lie apart. Novelty is how far its picture is from the nearest labelled
or chosen one. Frames are chosen one by one, so that each choice makes its like less interesting.
"""

import logging
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from itertools import compress
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from tsal_dist.data.crop import ViewSettings
from tsal_dist.data.reader import FrameReader
from tsal_dist.data.request import ClipRequest
from tsal_dist.data.shard_set import ShardSet
from tsal_dist.errors import ConfigError, DataError
from tsal_dist.geometry import affine
from tsal_dist.geometry.center import decode_center
from tsal_dist.geometry.heatmap import decode_heatmap
from tsal_dist.inference.trained import Trained
from tsal_dist.models.detectors import stride_of
from tsal_dist.models.input import normalize
from tsal_dist.pack.face import name_subject
from tsal_dist.pack.formats.table import read_csv
from tsal_dist.records import Clip, FrameRef
from tsal_dist.shards.frames import FrameTable

log = logging.getLogger(__name__)

Floats = NDArray[np.float64]
Place = tuple[str, int]
"""Video and frame as a frame table has them; a still's frame is 0."""

MOST_LOOKED_AT = 2000
"""Frames that a detector looks at, spread over all videos."""
BATCH = 32
THUMB_PX = 8
"""Side of the small picture that two frames are compared by."""
LEAST = 0.05
"""Doubt and novelty are multiplied, and neither may rule alone by being nothing."""


@dataclass(frozen=True)
class Guess:
    """What a detector says of one frame of some shards; points in pixels of the source video."""

    ref: FrameRef
    video: str
    frame: int
    """Counted from 0."""
    points_K2: Floats
    score_K: Floats
    apart: float
    """Mean distance of the two descriptions, as a share of the crop's side."""
    thumb_D: Floats


@dataclass(frozen=True)
class Suggestion:
    """A frame worth a label, and why."""

    guess: Guess
    reason: str


def labelled_since(table: Path) -> set[Place]:
    """What a labelling page has kept in its table: it is in no shards before they are packed again."""
    entries = read_csv(table, Path()) if table.exists() else ()
    return {(name_subject(one.path, one.subject), one.frame or 0) for one in entries}


def suggest(
    trained: Trained,
    shards: ShardSet,
    count: int,
    device: torch.device,
    most: int = MOST_LOOKED_AT,
    since: Collection[Place] = (),
) -> list[Suggestion]:
    """The `count` frames without a label that teach most, the best first. `since` are labelled, though not in the shards."""
    if count < 1:
        raise ConfigError(f"--frames is {count}; it must be at least 1.")
    settings = ViewSettings(trained.config.model.crop_px, trained.config.data.box_expand, labels=False)
    reader = FrameReader(shards, settings)
    try:
        unlabelled, labelled = split_refs(shards)
        if since:
            done = [place_of(reader, ref) in since for ref in unlabelled]
            labelled = [*labelled, *compress(unlabelled, done)]
            unlabelled = [ref for ref, is_done in zip(unlabelled, done, strict=True) if not is_done]
        if not unlabelled:
            raise ConfigError(
                "Every frame of these shards is labelled: there is none to suggest. Name other footage."
            )
        guesses = list(look(trained, reader, spread_refs(unlabelled, most), device))
        known = [thumb(clip) for clip in _readable(reader, spread_refs(labelled, most))]
    finally:
        reader.close()
    if not guesses:
        raise DataError(
            "None of the frames without a label can be read. Check the shards with `tsal shards lint`."
        )
    chosen = choose(
        doubt(guesses),
        np.stack([one.thumb_D for one in guesses]),
        [one.video for one in guesses],
        np.stack(known) if known else np.empty((0, guesses[0].thumb_D.size)),
        count,
    )
    names = trained.config.model.layout.names
    return [Suggestion(guesses[place], explain(place, guesses, novelty, names)) for place, novelty in chosen]


def place_of(reader: FrameReader, ref: FrameRef) -> Place:
    table = reader.shard(ref.shard).table
    return table.videos[table.video_N[ref.index]], int(table.frame_N[ref.index])


def split_refs(shards: ShardSet) -> tuple[list[FrameRef], list[FrameRef]]:
    """Every frame without a label, and every frame with one."""
    without: list[FrameRef] = []
    having: list[FrameRef] = []
    for number in range(len(shards)):
        for segment in shards.segments(number):
            labelled = set(segment.labelled_positions().tolist())
            for position in range(segment.start, segment.start + segment.frames):
                (having if position in labelled else without).append(FrameRef(number, position))
    return without, having


def spread_refs(refs: Sequence[FrameRef], most: int) -> list[FrameRef]:
    if not refs:
        return []
    places = np.linspace(0, len(refs) - 1, min(most, len(refs))).round().astype(int)
    return [refs[place] for place in places.tolist()]


def _read(reader: FrameReader, ref: FrameRef) -> Clip:
    return reader.read(ClipRequest(ref, num_frames=1, stride=1))


def _readable(reader: FrameReader, refs: Sequence[FrameRef]) -> Iterator[Clip]:
    """A damaged frame is left out, as it is in training."""
    for ref in refs:
        try:
            yield _read(reader, ref)
        except DataError as error:
            log.warning("a frame cannot be read and is left out: %s", error)


@torch.no_grad()
def look(
    trained: Trained, reader: FrameReader, refs: Sequence[FrameRef], device: torch.device
) -> Iterator[Guess]:
    """A detector's guess for each of these frames."""
    model, stride = trained.model.to(device).eval(), stride_of(trained.model)
    size_px, radius = trained.config.model.crop_px, trained.config.model.decode_radius
    for start in range(0, len(refs), BATCH):
        clips = list(_readable(reader, refs[start : start + BATCH]))
        if not clips:
            continue
        output = model(normalize(torch.from_numpy(np.concatenate([c.image_THWC for c in clips])).to(device)))
        points_NK2, score_NK = decode_heatmap(output.points_heat_NKhw, stride, radius, squared=True)
        center_N1K2, _ = decode_center(output.center_N1hw, output.offset_N2Khw, stride, top=1)
        apart_N = (points_NK2 - center_N1K2[:, 0]).norm(dim=-1).mean(1) / size_px
        for clip, points_K2, score_K, apart in zip(clips, points_NK2, score_NK, apart_N, strict=True):
            home_K2 = affine.apply(affine.invert(clip.to_crop_23), points_K2.double().cpu().numpy())
            yield Guess(
                clip.ref,
                clip.video,
                int(clip.frames_T[0]),
                in_source(reader, clip.ref, home_K2),
                score_K.double().cpu().numpy(),
                float(apart),
                thumb(clip),
            )


def in_source(reader: FrameReader, ref: FrameRef, points_K2: Floats) -> Floats:
    """Pixels of the stored picture to pixels of the source, which may be larger and of which it may be a part."""
    table = reader.shard(ref.shard).table
    scale_2 = table.source_size_N2[ref.index] / table.size_N2[ref.index]
    return np.asarray((points_K2 + 0.5) * scale_2 - 0.5 + window_origin(table, ref.index), np.float64)


def window_origin(table: FrameTable, index: int) -> Floats:
    """Left and top of the part of the source that is stored, in its pixels; zeros where that is all of it."""
    if table.origin_N2 is None:
        return np.zeros(2)
    return np.asarray(table.origin_N2[index], np.float64)


def show_guess(reader: FrameReader, guess: Guess) -> tuple[Clip, Floats]:
    """The guess's frame as the reader's view shows it, and its points there."""
    table, index = reader.shard(guess.ref.shard).table, guess.ref.index
    scale_2 = table.size_N2[index] / table.source_size_N2[index]
    clip = _read(reader, guess.ref)
    in_window_K2 = guess.points_K2 - window_origin(table, index)
    points_K2 = affine.apply(clip.to_crop_23, (in_window_K2 + 0.5) * scale_2 - 0.5)
    return clip, np.asarray(points_K2, np.float64)


def thumb(clip: Clip) -> Floats:
    """A tiny, evenly lit picture, as numbers."""
    small = cv2.resize(clip.image_THWC[0], (THUMB_PX, THUMB_PX), interpolation=cv2.INTER_AREA)
    flat_D = np.asarray(small, np.float64).ravel()
    return np.asarray((flat_D - flat_D.mean()) / max(float(flat_D.std()), 1e-6), np.float64)


def doubt(guesses: Sequence[Guess]) -> Floats:
    """From 0 for the surest frame to 1."""
    low_N = _ranks(np.array([1 - one.score_K.mean() for one in guesses]))
    apart_N = _ranks(np.array([one.apart for one in guesses]))
    return np.asarray((low_N + apart_N) / 2, np.float64)


def _ranks(value_N: Floats) -> Floats:
    """Each value's place in the order, from 0 to 1; equal ones share theirs."""
    _, place_N = np.unique(value_N, return_inverse=True)
    return np.asarray(place_N / max(1, int(place_N.max())), np.float64)


def choose(
    doubt_N: Floats, thumb_ND: Floats, videos: Sequence[str], known_MD: Floats, count: int
) -> list[tuple[int, float]]:
    """Places of up to `count` frames, each with its novelty when it was chosen; a video's next frame counts for less."""
    nearest_N = np.full(len(doubt_N), np.inf)
    for known_D in known_MD:
        nearest_N = np.minimum(nearest_N, np.linalg.norm(thumb_ND - known_D, axis=1))
    usual = float(np.median(np.linalg.norm(thumb_ND - thumb_ND.mean(0), axis=1))) or 1.0
    taken: dict[str, int] = {}
    found: list[tuple[int, float]] = []
    free_N = np.ones(len(doubt_N), bool)
    while len(found) < min(count, len(doubt_N)):
        novelty_N = np.clip(nearest_N / usual, 0, 1)
        share_N = np.array([1 + taken.get(video, 0) for video in videos])
        value_N = np.maximum(doubt_N, LEAST) * np.maximum(novelty_N, LEAST) / share_N
        place = int(np.argmax(np.where(free_N, value_N, -1.0)))
        found.append((place, float(novelty_N[place])))
        free_N[place] = False
        taken[videos[place]] = taken.get(videos[place], 0) + 1
        nearest_N = np.minimum(nearest_N, np.linalg.norm(thumb_ND - thumb_ND[place], axis=1))
    return found


def explain(place: int, guesses: Sequence[Guess], novelty: float, names: Sequence[str]) -> str:
    """The strongest reasons, in a few words."""
    one = guesses[place]
    low = _ranks(np.array([1 - each.score_K.mean() for each in guesses]))[place]
    apart = _ranks(np.array([each.apart for each in guesses]))[place]
    weakest = int(one.score_K.argmin())
    called = names[weakest] if names else f"point {weakest}"
    reasons = [
        (low, f"unsure of {called}: peak {one.score_K[weakest]:.2f}, {one.score_K.mean():.2f} on average"),
        (apart, f"its two answers lie {100 * one.apart:.0f} % of the crop apart"),
        (novelty * 0.9, "looks like no labelled frame"),  # doubt says more where both are high
    ]
    strong = [text for strength, text in sorted(reasons, reverse=True) if strength >= 0.6]
    return "; ".join(strong[:2]) if strong else "another video's turn"
