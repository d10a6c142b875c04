"""Suggested frames on one picture, each with the guess drawn in and the reason under it."""

import textwrap
from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from tsal_dist.data.crop import ViewSettings
from tsal_dist.data.reader import FrameReader
from tsal_dist.data.shard_set import ShardSet
from tsal_dist.inference.overlay import SURE_SCORE, draw_points, draw_skeleton
from tsal_dist.inference.suggestion import Suggestion, show_guess
from tsal_dist.records import Layout

TILE_PX, LINE_PX, LINES, COLUMNS = 288, 17, 4, 4
_PAPER, _INK = (247, 250, 251), (38, 33, 29)  # BGR
_FONT, _SIZE = cv2.FONT_HERSHEY_SIMPLEX, 0.42


def draw_suggestions(
    shards: ShardSet, suggestions: Sequence[Suggestion], expand: float, layout: Layout
) -> NDArray[np.uint8]:
    """BGR, as OpenCV writes it; joined landmarks are joined here."""
    reader = FrameReader(shards, ViewSettings(TILE_PX, expand, labels=False))
    try:
        tiles = [_tile(reader, number, one, shards, layout) for number, one in enumerate(suggestions, 1)]
    finally:
        reader.close()
    blank = np.full_like(tiles[0], 255)
    blank[:] = _PAPER
    columns = min(COLUMNS, len(tiles))
    tiles += [blank] * (-len(tiles) % columns)
    return np.vstack([np.hstack(tiles[start : start + columns]) for start in range(0, len(tiles), columns)])


def _tile(
    reader: FrameReader, number: int, one: Suggestion, shards: ShardSet, layout: Layout
) -> NDArray[np.uint8]:
    guess = one.guess
    clip, points_K2 = show_guess(reader, guess)
    picture = np.ascontiguousarray(clip.image_THWC[0][..., ::-1])
    text = np.full((LINE_PX * LINES + 8, TILE_PX, 3), 255, np.uint8)
    text[:] = _PAPER
    name = shards.frame_name(guess.ref, guess.video[-30:], guess.frame)
    words = [f"{number}. {name}", *textwrap.wrap(one.reason, 40)]
    for line, word in enumerate(words[:LINES], 1):
        cv2.putText(text, word, (4, line * LINE_PX), _FONT, _SIZE, _INK, 1, cv2.LINE_AA)
    everywhere_K = np.ones(len(points_K2), np.bool_)
    joined = draw_skeleton(picture, points_K2, everywhere_K, layout.skeleton)
    return np.vstack([draw_points(joined, points_K2, guess.score_K / SURE_SCORE, everywhere_K), text])
