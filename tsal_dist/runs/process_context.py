"""What every part of a process needs of the run that it takes part in."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from tsal_dist.clock import Clock
from tsal_dist.config import RunConfig
from tsal_dist.data.shard_set import ShardSet
from tsal_dist.data.spot_check import SpotCheck
from tsal_dist.dist.topology import Seat
from tsal_dist.exchange.beat import beat_every_s
from tsal_dist.exchange.fence import Handshake
from tsal_dist.exchange.posix import PosixStore
from tsal_dist.exchange.room import when_there_is_room
from tsal_dist.exchange.tenure import Tenure
from tsal_dist.inference.evaluation import build_evaluator
from tsal_dist.inference.kept_frames import KeptFrames
from tsal_dist.run import Run
from tsal_dist.run_dir import role_in_files
from tsal_dist.runs.build_streams import RoleRank
from tsal_dist.runs.open_data import Shards

FEW_FRAMES = 64
"""On which nets are compared again and again: enough to tell them apart, few enough to be free."""


@dataclass(frozen=True)
class ProcessContext:
    """One process, its run, its place and its turn."""

    run: Run
    seat: Seat
    role_rank: RoleRank
    shards: Shards
    store: PosixStore
    tenures: Mapping[str, Tenure]
    """This process's turn, by role; inline it plays both."""
    clock: Clock
    spot_check: SpotCheck

    @property
    def config(self) -> RunConfig:
        return self.run.config

    @property
    def leads(self) -> bool:
        """Whether this is rank 0 of its role."""
        return self.role_rank.rank == 0

    @cached_property
    def gate_frames(self) -> KeptFrames:
        """A few held-out frames, or training labels where none are held out; inline, both roles' own."""
        return self._few_of(self.shards.validation or self.shards.labelled)

    @property
    def learnt_frames(self) -> KeptFrames | None:
        """As many training labels, to compare with those; None where those are none others."""
        return self._few_of(self.shards.labelled) if self.shards.validation else None

    def _few_of(self, shards: ShardSet) -> KeptFrames:
        few = build_evaluator(self.config, shards, self.role_rank.device, FEW_FRAMES)
        return KeptFrames(few, self.role_rank.rank, self.role_rank.world)

    @property
    def beat_every_s(self) -> float:
        limits = self.config.runtime.deadlines
        return beat_every_s(self.role_rank.rank, limits.beat_s, limits.silent_s)

    def require_current(self) -> None:
        """Raise StaleRun where a successor of this process has started: it must touch nothing more; DataError where its
        shards were found to be others than their manifests say."""
        self.spot_check.require()
        for tenure in self.tenures.values():
            tenure.require()

    @property
    def teller(self) -> int:
        """The incarnation that this process's heartbeat and notes carry; inline, its teacher's."""
        return next(iter(self.tenures.values())).incarnation

    def in_files(self, role: str) -> str:
        """What files call a role as this process knows it: the teacher is its own crew."""
        return role_in_files(role, self.seat.crew if role == "teacher" else "")

    def greet(self) -> Handshake:
        """This process's hello to the other role."""
        return when_there_is_room(
            lambda: Handshake(
                self.store,
                self.seat.name,
                0,
                self.run.id,
                self.clock.now_s,
                self.clock.sleep,
                shards=self.shards.fingerprints,
            ),
            self.config.runtime.deadlines,
        )
