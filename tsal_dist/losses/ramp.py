"""How much unlabelled frames count at a step."""

import math


def ramp(step: int, up_steps: int, down_steps: int, total_steps: int) -> float:
    """w(t) = exp(-5 (1 - t/U)^2) up to U, 1, then exp(-12.5 (1 - (T - t)/D)^2) over the last D of T steps.

    w(0) = 0 where there is a ramp at all: the first step knows nothing to be consistent with. `step` counts from
    the end of burn-in; before it, and from T on, nothing counts.
    """
    if step < 0 or step > total_steps:
        return 0.0
    if step < up_steps:
        return 0.0 if step == 0 else math.exp(-5 * (1 - step / up_steps) ** 2)
    if step > total_steps - down_steps:
        return math.exp(-12.5 * (1 - (total_steps - step) / down_steps) ** 2)
    return 1.0
