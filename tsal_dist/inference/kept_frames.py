"""The few frames on which nets are compared again and again: decoded once, and kept where they are measured."""

from collections.abc import Callable
from dataclasses import replace

from torch import Tensor

from tsal_dist.inference.evaluation import Evaluation, Evaluator, to_device
from tsal_dist.models.output import Forward
from tsal_dist.records import Clip


class KeptFrames:
    """One rank's share of the frames of `evaluator`, which names few. Read when they are first asked for."""

    def __init__(self, evaluator: Evaluator, rank: int, world: int) -> None:
        self._evaluator = evaluator
        self._rank, self._world = rank, world
        self._kept: list[tuple[list[Clip], Tensor]] | None = None

    def at(self, stride: int) -> "KeptFrames":
        """The same frames for a net whose maps have other cells: a teacher may be another net than the student."""
        if stride == self._evaluator.stride:
            return self
        return KeptFrames(replace(self._evaluator, stride=stride), self._rank, self._world)

    def run(self, forward: Forward, between: Callable[[], None] = lambda: None) -> Evaluation:
        """Measure this rank's share; add `vectors` over the ranks for the whole. `between` is called after each batch."""
        evaluator = self._evaluator
        if self._kept is None:
            self._kept = []
            for clips in evaluator.batches(self._rank, self._world):
                self._kept.append((clips, to_device(clips, evaluator.device)))
                between()
        found = evaluator.nothing_yet()
        for clips, image_NHWC in self._kept:
            points_NK2, _ = evaluator.find(forward, image_NHWC)
            evaluator.judge(found, clips, points_NK2)
            between()
        return found
