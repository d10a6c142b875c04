"""Rank 0's search for the rows of a step, and what it does where there are too few: the user's choice.

    reuse        train on rows again, then on labelled frames alone
    supervised   train on labelled frames alone
    wait         wait for labels, with a deadline; then on labelled frames alone
    abort        wait for labels, with a deadline; then end

Nothing here waits for a teacher without a deadline, and only where the user asked for it or where running on would be
in vain (`run_ahead_limit`).
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass, field

from tsal_dist.clock import Clock
from tsal_dist.config import RunConfig
from tsal_dist.dist.shutdown import StopFlag
from tsal_dist.errors import PeerLost
from tsal_dist.pseudo.plan_source import PlanSource
from tsal_dist.pseudo.step_plan import Plan
from tsal_dist.roles.peers import Peers
from tsal_dist.roles.run_ahead_limit import RunAheadLimit

log = logging.getLogger(__name__)


@dataclass
class PlanFinder:
    """Asks `source` step by step, in order."""

    source: PlanSource
    config: RunConfig
    world: int
    peers: Peers
    stop: StopFlag
    clock: Clock
    limit: RunAheadLimit = field(init=False)
    _in_vain_at: int = -1
    """How many rows had ever been committed when waiting for more was given up."""

    def __post_init__(self) -> None:
        self.limit = RunAheadLimit(self.config.runtime.weights.publish_every)

    def find(self, step: int, now_step: int) -> Plan | None:
        """The rows of a step; None for one that is not taken yet.

        That is one ahead of `now_step`, which can wait for fresh rows until its turn comes; and any when asked to stop.
        """
        source, rows = self.source, self.config.train.unlabelled_batch
        if step > now_step and source.pending_rows < rows * self.world:
            return None
        source.tick()
        policy = self.config.runtime.queue.on_starvation
        if policy in ("wait", "abort"):
            self._wait(rows * self.world, step, lambda: self._may_come)
        elif self.limit.holds(step, source.bound_steps):
            self._wait(1, step, lambda: self.peers.teacher_is_at_work() and not self._gave_up)
        if self.stop.requested:
            return None  # the step will not be taken: what comes until it is may still be planned for it
        plan = source.plan(step, rows, self.world, reuse=policy == "reuse")
        self.limit.observe(plan, self.peers.teacher_is_at_work)
        return plan

    @property
    def _may_come(self) -> bool:
        """Whether rows can come while nobody takes a step."""
        if self.config.runtime.offline:
            return not self._gave_up  # a log that has come to its end stays there: one deadline is enough
        return not self.config.takes_turns

    @property
    def _gave_up(self) -> bool:
        """Whether the last wait was in vain and nothing has come since."""
        return self.source.committed_rows == self._in_vain_at

    def _wait(self, rows: int, step: int, hope: Callable[[], bool]) -> None:
        """Return when enough rows are there, or when they stay away for too long; where the user said so, that ends it.

        Without `hope` for more it returns at once.
        """
        limits, source = self.config.runtime.deadlines, self.source
        deadline_s = self.clock.now_s() + limits.silent_s
        while source.pending_rows + source.reusable_rows < rows and not self.stop.requested:
            if not hope():
                return
            if self.clock.now_s() > deadline_s:
                self._give_up(step)
                return
            self.peers.tick("wait for labels", step)
            self.clock.sleep(limits.poll_s)
            if source.tick():  # labels come, if slowly: only their absence has a deadline
                deadline_s = self.clock.now_s() + limits.silent_s

    def _give_up(self, step: int) -> None:
        runtime = self.config.runtime
        who = "the logs that it learns from have no more" if runtime.offline else self.peers.whereabouts()
        message = (
            f"No labels came for {runtime.deadlines.silent_s:g} s at step {step}: {who} "
            f"({self.source.topic.store.where()})."
        )
        if runtime.queue.on_starvation == "abort":
            raise PeerLost(f"{message} Look at its log, or set runtime.queue.on_starvation=reuse.")
        log.warning("%s Going on with labelled frames.", message)
        self._in_vain_at = self.source.committed_rows
