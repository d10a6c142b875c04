"""The student's half of elastic averaging: pulled back towards the teacher that it pulls along.

The released code of the method averages in both directions at every step, which ties the two nets together by a
spring. `train.teacher.absorb = "legacy"` does the same at every published version, to be compared with; the paper's
text, and this project's default, know only the way from student to teacher.
"""

from tsal_dist.dist.collectives import broadcast_json, gather_json
from tsal_dist.engine.api import Engine
from tsal_dist.weights.fetch import WeightReader


class Elastic:
    """theta_S <- keep * theta_S + (1 - keep) * theta_T, with the newest teacher there is."""

    def __init__(self, teacher: WeightReader, keep: float, rank: int) -> None:
        self._teacher = teacher
        self._keep = keep
        self._rank = rank

    def pull(self, engine: Engine) -> bool:
        """Pull the student back, on all ranks or on none; whether it was. Collective."""
        step = broadcast_json(self._teacher.latest() if self._rank == 0 else None)
        fetched = None if step is None else self._teacher.fetch(step)
        if not all(gather_json(fetched is not None)) or fetched is None:
            return False
        mixed = {
            name: own.lerp(fetched.tensors[name].to(own.dtype), 1 - self._keep)
            if own.is_floating_point()
            else own
            for name, own in engine.full_weights().items()
        }
        engine.replace_weights(mixed)
        return True
