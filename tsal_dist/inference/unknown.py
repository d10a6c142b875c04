"""What is said of a detector of which something was not measured. Free of everything that a file of its own does without."""

from tsal_dist.inference.prediction import Trusted

NOTHING_KNOWN = "so nothing can be said of how far off a point is, and a find may be none"
NO_FRAMES = (
    f"there are no held-out frames to measure it on, {NOTHING_KNOWN}. Train with data.validation to know."
)
ONE_FRAME = (
    "there is a single held-out frame to measure it on, which tells how far off a point is but no subject from none, so a "
    "find may be none. Hold out more labelled frames (data.validation) to know."
)
ONE_POINT = (
    "there is a single landmark to know a subject by, which tells how far off it is but no subject from none, so a find may be "
    "none."
)
NOT_EXPORTED = (
    f"there were no held-out frames to measure it on when it was exported, {NOTHING_KNOWN}. Export it again where the "
    "run's data.validation is."
)


def say_unknown(trust: Trusted | None, why: str, points: int) -> str:
    """What is not known, for a user to read; "" where all is. `why` nothing was measured, if nothing was. `points`: the
    detector's landmarks."""
    if trust is None:
        return why
    if trust.presence:
        return ""
    return ONE_FRAME if points > 1 else ONE_POINT
