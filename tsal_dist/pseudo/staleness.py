"""How old a label may be, in the unit that matters: one object decides at planning and again at consumption.

A label made with weights that absorbed student step s and trained on at step t lags t - s steps. An averaging teacher
with decay alpha has meanwhile moved by the share rho = 1 - alpha^(t-s). Labels are weighed by 1 - rho and dropped
beyond the bounds. A label from the future (the student resumed from an older checkpoint) lags zero steps.
"""

import math
from dataclasses import dataclass

from tsal_dist.errors import ConfigError, ExchangeError


@dataclass(frozen=True)
class Staleness:
    """`max_lag_steps` 0 leaves the bound to `max_rho`; `max_rho` 1 sets none. With `alpha` 1 the teacher never moves, so
    that no label ages: a log that is read long after it was written."""

    alpha: float
    max_rho: float = 1.0
    max_lag_steps: int = 0

    def __post_init__(self) -> None:
        if not 0 < self.alpha <= 1 or not 0 < self.max_rho <= 1 or self.max_lag_steps < 0:
            raise ConfigError(
                f"Staleness needs 0 < alpha <= 1, 0 < max_rho <= 1 and max_lag_steps >= 0, not {self}."
            )

    @property
    def bound_steps(self) -> float:
        """The largest lag that is still admitted; infinite where nothing bounds it."""
        unbound = self.max_rho >= 1 or self.alpha >= 1
        by_rho = math.inf if unbound else math.log(1 - self.max_rho) / math.log(self.alpha)
        by_steps = self.max_lag_steps or math.inf
        bound = min(by_rho + 1e-9, by_steps)  # the logarithm must not cut off an exact bound
        return bound if math.isinf(bound) else math.floor(bound)

    def lag_steps(self, now_step: int, teacher_step: int) -> int:
        return max(0, now_step - teacher_step)

    def rho(self, now_step: int, teacher_step: int) -> float:
        return float(1 - self.alpha ** self.lag_steps(now_step, teacher_step))

    def weight(self, now_step: int, teacher_step: int) -> float:
        return 1 - self.rho(now_step, teacher_step)

    def admits(self, now_step: int, teacher_step: int) -> bool:
        return self.lag_steps(now_step, teacher_step) <= self.bound_steps

    def require(self, now_step: int, teacher_step: int, place: str) -> None:
        """The assertion at the door of training: planning should have made this impossible."""
        if not self.admits(now_step, teacher_step):
            raise ExchangeError(
                f"{place} is {self.lag_steps(now_step, teacher_step)} steps stale, the bound is "
                f"{self.bound_steps:g}. The plan was made for another step than {now_step}; plan again."
            )
