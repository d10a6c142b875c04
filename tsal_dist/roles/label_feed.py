"""One student rank's pseudo-labelled frames: rows from the queue, pixels from the shards, ahead of time.

A row names its frames and their face box, so the student takes its own view of them. Whatever turns out damaged
keeps its place and weighs nothing: every rank trains on equally many frames, always.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from tsal_dist.data.pool import InProcess, Workers
from tsal_dist.data.request import ClipRequest, Unreadable
from tsal_dist.data.stream import MOST_BAD_IN_A_ROW
from tsal_dist.errors import DataError
from tsal_dist.pseudo.consumer import Consumer, Delivery
from tsal_dist.pseudo.same_frames import require_same_frames
from tsal_dist.pseudo.schema import LabelBatch
from tsal_dist.pseudo.step_plan import Plan
from tsal_dist.recipes.frames import PseudoFrames
from tsal_dist.records import Clip, FrameRef
from tsal_dist.roles.batches import enter_view

log = logging.getLogger(__name__)

VIEW_WORD = 2
"""Tells the student's views of pseudo-labelled clips from those of its labelled frames, under one seed."""


@dataclass(frozen=True)
class Delivered:
    """One rank's share of a plan, ready to be trained on."""

    pseudo: PseudoFrames
    rows: LabelBatch
    lag_steps_N: NDArray[np.int64]
    use_N: NDArray[np.int64]


class LabelFeed:
    """Call `expect` as soon as a plan is known, and `take` when its step has come."""

    def __init__(
        self,
        consumer: Consumer,
        pool: InProcess | Workers,
        sources: Sequence[str],
        *,
        clip_frames: int,
        clip_stride: int,
        crop_px: int,
        seed: int,
        mirrored_steps: int,
        device: torch.device,
    ) -> None:
        self.consumer = consumer
        self._pool = pool
        self._sources = tuple(sources)
        self._clip_frames = clip_frames
        self._clip_stride = clip_stride
        self._crop_px = crop_px
        self._seed = seed
        self._mirrored_steps = mirrored_steps
        self._device = device
        self._coming: dict[int, tuple[Delivery, LabelBatch, list[int]]] = {}
        self.unreadable = 0
        """Clips whose pixels could not be read."""
        self._in_a_row = 0

    def expect(self, plan: Plan) -> None:
        """Fetch the plan's rows for this rank and have their clips read."""
        delivery = self.consumer.fetch(plan)
        rows = LabelBatch.from_columns(delivery.columns, self._sources)
        tickets = [
            self._pool.submit(self._request(delivery, rows, start, plan.step)) for start in self._starts(rows)
        ]
        self._coming[plan.step] = delivery, rows, tickets

    def take(self, plan: Plan) -> Delivered | None:
        """The frames of an expected plan; None where it gives this rank none."""
        delivery, rows, tickets = self._coming.pop(plan.step)
        if not tickets:
            return None
        fresh_N = delivery.fresh_N.copy()
        clips = []
        for start, ticket in zip(self._starts(rows), tickets, strict=True):
            clip = self._pool.take(ticket)
            if isinstance(clip, Unreadable):
                self._note_unreadable(clip)
                fresh_N[start : start + self._clip_frames] = 0
                clip = self._blank(rows)
            elif fresh_N[start] > 0:  # else the row itself is lost, and says nothing
                self._in_a_row = 0
                require_same_frames(rows, start, clip)
            clips.append(clip)
        pseudo = enter_view(rows, clips, self._sources, fresh_N, self._device)
        return Delivered(pseudo, rows, delivery.lag_steps_N, delivery.use_N)

    def _note_unreadable(self, clip: Unreadable) -> None:
        """Count and say it; DataError where nothing can be read any more, as for labelled frames."""
        self.unreadable += 1
        self._in_a_row += 1
        log.warning("a pseudo-labelled clip cannot be read and weighs nothing: %s", clip.reason)
        if self._in_a_row >= MOST_BAD_IN_A_ROW:
            raise DataError(
                f"{self._in_a_row} pseudo-labelled clips in a row cannot be read, the last because: {clip.reason} "
                "Check the shards of data.unlabelled with `tsal shards lint`."
            )

    def close(self) -> None:
        self._pool.close()

    def _starts(self, rows: LabelBatch) -> range:
        return range(0, len(rows), self._clip_frames)

    def _request(self, delivery: Delivery, rows: LabelBatch, start: int, step: int) -> ClipRequest:
        x1, y1, x2, y2 = (float(value) for value in rows.box_N4[start])
        lost = delivery.fresh_N[start] == 0  # its columns are zeros, a box among them
        return ClipRequest(
            ref=FrameRef(int(rows.shard_N[start]), int(rows.index_N[start])),
            num_frames=self._clip_frames,
            stride=self._clip_stride,
            box=None if lost else (x1, y1, x2, y2),
            rng_key=(self._seed, VIEW_WORD, step, int(rows.sample_id_N[start])),
            mirrored=step < self._mirrored_steps,
        )

    def _blank(self, rows: LabelBatch) -> Clip:
        """A clip that shows nothing, in place of one that cannot be read."""
        points = rows.fb_error_NK.shape[1]
        frames = self._clip_frames
        return Clip(
            image_THWC=np.zeros((frames, self._crop_px, self._crop_px, 3), np.uint8),
            points_TK2=np.zeros((frames, points, 2), np.float32),
            visible_TK=np.zeros((frames, points), np.bool_),
            labelled_T=np.zeros(frames, np.bool_),
            to_crop_23=np.eye(2, 3),
            box_4=np.array([0, 0, 1, 1], np.float32),
            face_px=float(self._crop_px),
            video="",
            frames_T=np.zeros(frames, np.int32),
            ref=FrameRef(0, 0),
            stride=self._clip_stride,
            sample_id=-1,
            pad=True,
        )
