"""What labels leave to be learnt from further frames of the same kind."""

import math


def headroom(learnt: float, held_out: float) -> float:
    """From a net's error on the labels that it has learnt and on frames that it has not seen; 1 where one is not known.

    Where both are alike the net lacks steps or size and no frames: what it says itself of more of them would only hold it
    back. Where it knows its labels and little else it is 1. In thousandths, so that however many add up the errors come to the same.
    """
    if not (math.isfinite(learnt) and math.isfinite(held_out) and held_out > 0):
        return 1.0
    return round(max(0.0, 1 - learnt / held_out), 3)
