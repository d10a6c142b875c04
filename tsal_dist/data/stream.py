"""Batches of clips, for ever or for some epochs, that can stop anywhere and go on from there.

    with ClipStream(open_shards(urls), select="labelled", batch=8, rank=0, world=2, ...) as stream:
        for clips in stream: ...

`rank` and `world` are those of the role and are given, never read from the environment: under one launcher RANK
counts both roles, and each would see a part of its data only. A batch depends on the shards, the seed and the
position alone. The state is that position; it fits another number of ranks or workers and no other shards.
"""

import logging
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import numpy as np

from tsal_dist.data.clips import ClipList, Select, build_clips
from tsal_dist.data.crop import ViewSettings
from tsal_dist.data.order import EpochOrder, ListedOrder, Stripe
from tsal_dist.data.reader import build_reader_pool
from tsal_dist.data.request import ClipRequest, ReadAhead, Unreadable
from tsal_dist.data.shard_set import FetchAhead, ShardSet
from tsal_dist.errors import CheckpointError, DataError
from tsal_dist.records import Clip

log = logging.getLogger(__name__)

STATE_VERSION = 1
# Each worker holds the frame tables of this many shards at most, about 1 kB per frame.
MOST_OPEN = 128
# So many damaged samples in a row are no bad luck: the storage or the shards are broken.
MOST_BAD_IN_A_ROW = 100


@dataclass
class _Place:
    epoch: int
    position: int
    """Clips of the epoch that are behind us, over all ranks."""
    batch: int
    """Batches since the beginning."""


class ClipStream:
    """An iterator of batches, each a list of `batch` clips; see the top of this page.

    `epochs` None never ends: a batch that comes to the end of an epoch goes on with the next one, and one that is larger than
    the set shows clips more than once, each time in another view. Where there is an end the last batch of an epoch is filled
    up with pads: they keep the ranks in step, and must weigh nothing.

    `shuffle` False gives every clip in the order of the shards: with select="labelled" and epochs=1, that is an evaluation.
    `window` shards are shuffled together. Damaged clips are replaced by the next one in the list and counted in `bad`. After
    `mirrored_batches` no clip is shown as a mirror image any more; None never ends that.
    """

    def __init__(
        self,
        shards: ShardSet,
        view: ViewSettings,
        *,
        select: Select,
        batch: int,
        rank: int,
        world: int,
        seed: int,
        clip_frames: int = 1,
        clip_stride: int = 1,
        hop: int | None = None,
        shuffle: bool = True,
        window: int = 32,
        epochs: int | None = None,
        mirrored_batches: int | None = None,
        read_ahead: ReadAhead | None = None,
    ) -> None:
        self.clips: ClipList = build_clips(shards, select, clip_frames, clip_stride, hop)
        self.bad: dict[int, str] = {}
        """Sample id and reason of every clip that could not be read."""
        self._shards, self._seed, self._window, self._epochs = shards, seed, window, epochs
        self._shuffle = shuffle
        self._mirrored_batches = mirrored_batches
        self._stripe = Stripe(rank, world, batch)
        self._next = _Place(0, 0, 0)  # of the batch that the caller gets next
        self._ahead = _Place(0, 0, 0)  # of the batch that is asked of the workers next
        self._under_way: deque[list[tuple[ClipRequest, int]]] = deque()
        self._orders: dict[int, EpochOrder | ListedOrder] = {}
        ahead = read_ahead or ReadAhead()
        self._batches_ahead = ahead.batches if ahead.workers else 1
        shards.require_cache_for(2 * min(window, len(shards)) if shuffle else 2)
        self._fetch = FetchAhead(shards)
        capacity = self._batches_ahead * batch
        self._pool = build_reader_pool(
            shards, view, ahead, capacity, clip_frames, most_open=min(2 * window, MOST_OPEN)
        )

    @property
    def samples(self) -> int:
        """Clips of an epoch, over all ranks."""
        return len(self.clips)

    @property
    def steps_per_epoch(self) -> int:
        """Batches in which every clip has come once; the same on every rank."""
        return self._stripe.steps(self.samples)

    @property
    def epoch(self) -> int:
        """The epoch of the next batch."""
        return self._next.epoch

    def __iter__(self) -> Iterator[list[Clip]]:
        return self

    def __next__(self) -> list[Clip]:
        self._ask_ahead()
        if not self._under_way:
            raise StopIteration
        batch = [self._take(request, ticket) for request, ticket in self._under_way.popleft()]
        self._advance(self._next)
        self._ask_ahead()
        return batch

    def state_dict(self) -> dict[str, Any]:
        """Where the next batch begins. Equal on every rank, so one copy is enough."""
        return {
            "version": STATE_VERSION,
            "epoch": self._next.epoch,
            "position": self._next.position,
            "batch": self._next.batch,
            "seed": self._seed,
            "window": self._window,
            "fingerprint": self.clips.fingerprint,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where the stream of this state stopped, whatever its number of ranks and workers."""
        mine = self.state_dict()
        for key in ("version", "fingerprint", "seed", "window"):
            if state.get(key) != mine[key]:
                raise CheckpointError(
                    f"The saved position belongs to another stream: its {key} is {state.get(key)!r}, this one has "
                    f"{mine[key]!r}. Resume with the shards and settings it was saved with, or start anew."
                )
        for _, ticket in [each for batch in self._under_way for each in batch]:
            self._pool.take(ticket)
        self._under_way.clear()
        epoch, position = int(state["epoch"]), int(state["position"])
        # A state from before batches were counted was saved by as many ranks, or is off by as much.
        batch = int(state.get("batch", epoch * self.steps_per_epoch + position // self._stripe.global_batch))
        self._next, self._ahead = _Place(epoch, position, batch), _Place(epoch, position, batch)

    def close(self) -> None:
        """Stop the workers. The stream cannot be used after that."""
        self._pool.close()
        self._fetch.close()

    def __enter__(self) -> "ClipStream":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _order_of(self, epoch: int) -> EpochOrder | ListedOrder:
        """Kept while it is needed."""
        for past in [each for each in self._orders if each < self._ahead.epoch]:
            del self._orders[past]
        if epoch not in self._orders:
            words = (self.clips.fingerprint, self._seed, epoch, self._window)
            sizes_S = self.clips.clips_per_shard_S
            self._orders[epoch] = EpochOrder(sizes_S, *words) if self._shuffle else ListedOrder(sizes_S)
        return self._orders[epoch]

    def _advance(self, place: _Place) -> None:
        place.batch += 1
        place.position += self._stripe.global_batch
        if self._epochs is None:
            place.epoch += place.position // self.samples
            place.position %= self.samples
        elif place.position >= self.samples:
            place.epoch, place.position = place.epoch + 1, 0

    def _ask_ahead(self) -> None:
        """Keep so many batches under way."""
        while len(self._under_way) < self._batches_ahead:
            if self._epochs is not None and self._ahead.epoch >= self._epochs:
                return
            requests = self._requests(self._ahead)
            self._under_way.append([(request, self._submit(request)) for request in requests])
            self._advance(self._ahead)

    def _requests(self, place: _Place) -> list[ClipRequest]:
        """This rank's share of the batch that begins there."""
        endless = self._epochs is None
        positions, behind = self._stripe.positions(place.position, self.samples)
        epochs = place.epoch + behind * endless
        orders = {int(epoch): self._order_of(int(epoch)) for epoch in np.unique(epochs)}
        if self._shards.remote:
            starts = {epoch: place.position if epoch == place.epoch else 0 for epoch in orders}
            self._fetch.start(
                [shard for epoch, start in starts.items() for shard in orders[epoch].shards_from(start)]
            )
        ids = np.empty_like(positions)
        for epoch, order in orders.items():
            ids[epochs == epoch] = order.ids(positions[epochs == epoch])
        mirrored = self._mirrored_batches is None or place.batch < self._mirrored_batches
        return [
            self._request(int(sample), not endless and bool(rounds), int(epoch), mirrored)
            for sample, rounds, epoch in zip(ids, behind, epochs, strict=True)
        ]

    def _request(self, sample: int, pad: bool, epoch: int, mirrored: bool) -> ClipRequest:
        return ClipRequest(
            ref=self.clips.ref(sample),
            num_frames=self.clips.num_frames,
            stride=self.clips.stride,
            sample_id=sample,
            rng_key=(self._seed, epoch, sample),
            pad=pad,
            mirrored=mirrored,
        )

    def _submit(self, request: ClipRequest) -> int:
        self._fetch.wait(request.ref.shard)
        return self._pool.submit(request)

    def _take(self, request: ClipRequest, ticket: int) -> Clip:
        """The clip of a request, or the next one in the list that can be read."""
        most = min(MOST_BAD_IN_A_ROW, self.samples)
        for _ in range(most):
            clip = self._pool.take(ticket)
            if not isinstance(clip, Unreadable):
                return clip
            if request.sample_id not in self.bad:
                log.warning(
                    "clip %d (%s) is left out: %s", request.sample_id, self._name(request), clip.reason
                )
            self.bad[request.sample_id] = clip.reason
            # In evaluation the clip that steps in has its own turn as well, and must not count twice.
            sample = (request.sample_id + 1) % self.samples
            pad = request.pad or not self._shuffle
            request = self._request(sample, pad, request.rng_key[1], request.mirrored)
            ticket = self._submit(request)
        raise DataError(
            f"{most} clips in a row cannot be read, the last because: {next(reversed(self.bad.values()))} "
            "Check the shards with `tsal shards lint`."
        )

    def _name(self, request: ClipRequest) -> str:
        return f"{self._shards.name(request.ref.shard)} frame {request.ref.index}"
