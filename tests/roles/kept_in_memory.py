"""What a run keeps on disk, kept in memory as a disk keeps it: checkpoints, versions, lines of plans."""

import copy
from types import SimpleNamespace

from tsal_dist.checkpoint.store import Loaded


class MemoryCheckpoints:
    """Kept by the world, as a disk keeps them."""

    def __init__(self, keep=2, before_save=lambda: None):
        self.files, self._keep, self._before_save = {}, keep, before_save
        self.at = None

    def save(self, step, state, rank_state):
        self._before_save()
        self.files[step] = copy.deepcopy((dict(state), dict(rank_state)))
        self.at = step
        for old in self.committed()[: -self._keep]:
            del self.files[old]

    def committed(self):
        return sorted(self.files)

    def latest_committed(self):
        return max(self.files, default=None)

    def load_latest(self, most=None):
        self.at = max((step for step in self.files if most is None or step <= most), default=None)
        return None if self.at is None else Loaded(self.at, *copy.deepcopy(self.files[self.at]))

    def peek(self, step, key):
        return copy.deepcopy(self.files[step][0][key])

    def peek_all(self, key):
        return [copy.deepcopy(self.files[step][0][key]) for step in self.committed()]

    def record_score(self, step, score):
        pass


class Versions:
    """The student's weights on their way to the teacher: both ends."""

    def __init__(self, before_offer=lambda: None):
        self.there, self.published, self.superseded = {}, 0, 0
        self._before_offer = before_offer

    def offer(self, step, tensors, nme=None):
        self._before_offer()
        self.there[step] = SimpleNamespace(tensors=dict(tensors), version=SimpleNamespace(nme=nme))
        self.published += 1

    def flush(self, timeout_s):
        pass

    def forget_after(self, step):
        self.there = {at: version for at, version in self.there.items() if at <= step}

    def versions_since(self, step):
        return sorted(found for found in self.there if found > step)

    def fetch(self, step):
        return self.there.get(step)


class PlanLines:
    """A plan log in memory."""

    def __init__(self):
        self.lines = []

    def write(self, plan):
        self.lines.append(plan)

    def surviving(self):
        plans = []
        for plan in self.lines:
            while plans and plans[-1].step >= plan.step:
                plans.pop()
            plans.append(plan)
        return plans

    def close(self):
        pass
