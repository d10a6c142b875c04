"""What would help a run further: more labels and footage, or more training, by its error on what it learnt and on what it did not."""

from collections.abc import Mapping, Sequence
from typing import Any

from tsal_dist.metrics.headroom import headroom

LITTLE = 0.4


def say_what_helps(lines: Sequence[Mapping[str, Any]]) -> str:
    """Of the student's numbers; "" where none were held out."""
    told = [line for line in lines if line.get("validation/learnt_nme") is not None]
    if not told:
        return ""
    last = told[-1]
    learnt, held_out = last["validation/learnt_nme"], last["validation/nme"]
    left = headroom(learnt, held_out)
    text = (
        f"At step {last['step']} the student was {100 * learnt:.1f} % off on labels that it learns and {100 * held_out:.1f} % on "
        "held-out ones. "
    )
    if left < LITTLE:
        text += "The two are alike: a longer training, a larger net or a larger crop may help, more labels or footage hardly."
    elif left == 1:
        text += "It knows its labels: more of them, or footage without any, help more than a longer training."
    else:
        text += "More labels or footage may help, and so may a longer training."
    counted = [line["unlabelled/headroom"] for line in lines if line.get("unlabelled/headroom") is not None]
    return text + (f" Its pseudo-labels counted {100 * counted[-1]:.0f} % at the end." if counted else "")
