"""How much further frames can teach a net that it does not know from its labels."""

import math

ALL = 0.5
"""Of the error on unknown frames: where so much of it is not there on labels that were learnt, nothing is held back."""


def headroom(learnt: float, held_out: float) -> float:
    """From 0 to 1, by a net's errors on labels that it learns and on frames that it has not seen; 1 where one is not known.

    Where both are alike the net lacks steps or size and no frames: what it says itself of more of them would only hold it
    back. In thousandths, so that however many add up the errors come to the same.
    """
    if not (math.isfinite(learnt) and math.isfinite(held_out) and held_out > 0):
        return 1.0
    return round(min(1.0, max(0.0, 1 - learnt / held_out) / ALL), 3)
