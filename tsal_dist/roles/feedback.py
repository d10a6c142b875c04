"""What the student asks to have labelled again soon: the clips whose labels it agrees with least.

student   notes for each clip it trains on how far its own points are from the label's, in sigmas and by the label's
          own weights, and sends the notes with its weights
teacher   rank 0 reads them and tells all ranks; each gives a share of what it labels to the clips of its part that
          are noted highest, once per note, and the rest to the usual order

Notes are a favour: where they cannot be sent or read, labelling goes on in the usual order.
"""

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tsal_dist.data.pool import InProcess, Workers
from tsal_dist.data.request import ClipRequest, Unreadable
from tsal_dist.data.stream import ClipStream
from tsal_dist.dist.collectives import gather_json
from tsal_dist.errors import ExchangeError, StaleRun
from tsal_dist.pseudo.collect import try_to_collect
from tsal_dist.pseudo.consumer import Consumer
from tsal_dist.pseudo.planner import Planner
from tsal_dist.pseudo.producer import Producer
from tsal_dist.pseudo.schema import FeedbackBatch, LabelBatch, Strings
from tsal_dist.recipes.api import Choose, highest_first
from tsal_dist.records import Clip

log = logging.getLogger(__name__)

GROUP = "teacher"
Note = tuple[int, int, float]
"""The student's step, a clip, and how far the student is from its label."""


class Notes:
    """One student rank's notes since it last sent them."""

    def __init__(self, producer: Producer, clip_frames: int) -> None:
        self._producer = producer
        self._clip_frames = clip_frames
        self._rows: dict[int, tuple[str, int, int, int, float]] = {}

    def take(self, rows: LabelBatch, score_B: NDArray[np.float32]) -> None:
        """Note the clips of one step; the last note of a clip holds."""
        video = rows.video.tolist()
        for clip, score in enumerate(score_B.tolist()):
            first = clip * self._clip_frames
            if np.isfinite(score):
                sample = int(rows.sample_id_N[first]) // self._clip_frames
                place = int(rows.frame_N[first]), int(rows.shard_N[first]), int(rows.index_N[first])
                self._rows[sample] = video[first], *place, score

    def send(self, step: int) -> None:
        """Publish what was noted. Collective, so that all notes are there before anybody reads any."""
        if self._rows:
            video, frame, shard, index, score = zip(*self._rows.values(), strict=True)
            batch = FeedbackBatch(
                Strings.of(video),
                np.array(frame, np.int32),
                np.array(list(self._rows), np.uint64),
                np.array(shard, np.int32),
                np.array(index, np.int32),
                np.array(score, np.float32),
            )
            self._rows = {}
            try:
                if self._producer.ready():
                    self._producer.publish(batch, step)
                    self._producer.flush()
            except StaleRun:
                raise
            except ExchangeError as error:
                log.debug("the teacher is not told what to label: %s", error)
        gather_json(None)

    def state_dict(self) -> list[list[list[Any]]]:
        """What every rank has noted and not sent. Collective."""
        return gather_json([[sample, *row] for sample, row in self._rows.items()])

    def load_state_dict(self, state: Sequence[Sequence[Sequence[Any]]], rank: int, world: int) -> None:
        """The inverse, for any number of ranks: who sends a note does not matter."""
        mine = [row for part in state[rank::world] for row in part]
        self._rows = {
            int(sample): (str(video), int(frame), int(shard), int(index), float(score))
            for sample, video, frame, shard, index, score in mine
        }


class Wishes:
    """One teacher rank's part of the student's notes; `reader` and `consumer` are rank 0's alone."""

    def __init__(
        self,
        reader: Planner | None,
        consumer: Consumer | None,
        rank: int,
        world: int,
        choose: Choose = highest_first,
    ) -> None:
        """`choose` is the method's: from what is noted of clips to how soon each is labelled again."""
        self._choose = choose
        self._reader = reader
        self._consumer = consumer
        self.rank = rank
        self.world = world
        self._score: dict[int, float] = {}
        self._early: list[Note] = []
        """Notes of a step that the teacher has not come to, such as those that an attempt left which was cut short."""
        self._reads = 0

    def read(self) -> list[Note]:
        """Rank 0: what came since the last look."""
        assert self._reader is not None, "only rank 0 reads"
        assert self._consumer is not None, "only rank 0 reads"
        self._reader.tick()
        waiting = self._reader.pending_rows
        if not waiting:
            return []
        self._reads += 1
        plan = self._reader.plan(self._reads, waiting, 1, reuse=False)
        found = self._consumer.fetch(plan)
        self._reader.trained(self._reads)
        notes = FeedbackBatch.from_columns(found.columns)
        whole = found.fresh_N > 0  # a damaged segment's rows are zeros
        step_N = np.asarray(found.columns["teacher_step"])
        columns = (step_N, notes.sample_id_N, notes.score_N)
        return list(zip(*(column[whole].tolist() for column in columns), strict=True))

    def hear(self, notes: Sequence[Note], version: int) -> None:
        """Remember the notes about this rank's clips, whichever rank labelled them before. They count from the version
        on that the student sent with them, so that it does not matter how early they are read."""
        self._early += [
            (step, sample, score) for step, sample, score in notes if sample % self.world == self.rank
        ]
        self._score |= {sample: score for step, sample, score in self._early if step <= version}
        self._early = [note for note in self._early if note[0] > version]

    def grant(self, most: int) -> list[int]:
        """Up to `most` clips, in the method's order. They are forgotten: their next labels get notes of their own."""
        wanted = self._choose(dict(self._score))
        chosen = sorted(wanted, key=lambda sample: (-wanted[sample], sample))[:most]
        for sample in chosen:
            del self._score[sample]
        return chosen

    def forget(self, sample: int) -> None:
        """This clip's note is answered."""
        self._score.pop(sample, None)

    def forget_before(self, states: Sequence[Mapping[str, Any]]) -> None:
        """Rank 0: delete the notes that no kept checkpoint, whose states these are, has still to read."""
        assert self._reader is not None, "only rank 0 reads"
        self._reader.commit([state["reader"] for state in states])
        try_to_collect(self._reader.topic.store)

    def state_dict(self) -> dict[str, Any]:
        """The notes of all ranks, and rank 0's place in the log. Collective."""
        return {
            "score": [note for part in gather_json(list(self._score.items())) for note in part],
            "early": [note for part in gather_json(self._early) for note in part],
            "reads": self._reads,
            "reader": self._reader.state_dict() if self._reader else None,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._score, self._early = {}, []
        self.hear([(0, int(sample), float(score)) for sample, score in state["score"]], 0)
        self.hear([(int(step), int(sample), float(score)) for step, sample, score in state["early"]], -1)
        self._reads = int(state["reads"])
        if self._reader and state["reader"] is not None:
            self._reader.load_state_dict(state["reader"])

    def close(self) -> None:
        if self._reader:
            self._reader.close()


class WishedClips:
    """A stream of batches like `ClipStream`: first what is wished for, up to `most` clips, then the usual order."""

    def __init__(
        self, usual: ClipStream, pool: InProcess | Workers, wishes: Wishes, *, batch: int, most: int
    ) -> None:
        """`usual` gives one clip at a time."""
        self.wishes = wishes
        self._usual = usual
        self._pool = pool
        self._batch = batch
        self._most = most

    def __next__(self) -> list[Clip]:
        granted = self.wishes.grant(self._most)
        tickets = [self._pool.submit(self._request(sample)) for sample in granted]
        found = [self._pool.take(ticket) for ticket in tickets]
        clips = [clip for clip in found if not isinstance(clip, Unreadable)]
        # The usual order may come to a clip that was just granted. It has its label: the reader would drop another.
        left_to_skip = len(granted)
        while len(clips) < self._batch:
            (clip,) = next(self._usual)
            if left_to_skip and clip.sample_id in granted:
                left_to_skip -= 1
                continue
            self.wishes.forget(clip.sample_id)  # it is labelled now: a wish for it would be answered twice
            clips.append(clip)
        return clips

    def state_dict(self) -> dict[str, Any]:
        """Where each rank is in the usual order: who is asked for less comes through it faster. Collective."""
        return {"usual": gather_json(self._usual.state_dict()), "wishes": self.wishes.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """The inverse; other ranks begin where all had come to, and label some clips again rather than miss any."""
        # In checkpoints of earlier versions it is rank 0's alone.
        places = state["usual"] if isinstance(state["usual"], list) else [state["usual"]]
        first = min(places, key=lambda place: (place["epoch"], place["position"]))
        mine = places[self.wishes.rank] if len(places) == self.wishes.world else first
        self._usual.load_state_dict(mine)
        self.wishes.load_state_dict(state["wishes"])

    def close(self) -> None:
        self._usual.close()
        self._pool.close()
        self.wishes.close()

    def _request(self, sample: int) -> ClipRequest:
        clips = self._usual.clips
        return ClipRequest(clips.ref(sample), clips.num_frames, clips.stride, sample_id=sample)
