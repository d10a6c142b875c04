"""What the errors of all frames have in common: points that lie to one side of the truth."""

import numpy as np

from tsal_dist.inference.evaluation import Evaluation

LEAST_SHARE = 0.1
"""Of the error: less is not worth a word."""
LEAST_VIDEOS = 5
"""Of fewer nobody knows how much videos differ."""
STANDARD_ERRORS = 3.0
"""Over videos: the frames of one may all lean for one reason, so each video counts once, however long it is."""
REMEDY = (
    " Labels that are not alike in a mirror lean so: their mirror images teach against them, and train.mirror_until=0.8 "
    "ends those for the last fifth of a run."
)


def lean_in_words(found: Evaluation, mirrored: bool) -> str:
    """Which way the points lean and how far; "" where that may be chance, or hardly matters. `mirrored`: whether the model
    saw mirror images to the end."""
    by_video: dict[str, list[tuple[float, float]]] = {}
    for score in found.scores:
        by_video.setdefault(score.video, []).append(score.lean)
    if len(by_video) < LEAST_VIDEOS:
        return ""
    lean_V2 = np.array([np.mean(leans, axis=0) for leans in by_video.values()])
    error_2 = lean_V2.std(0, ddof=1) / np.sqrt(len(lean_V2))
    said, sideways = [], False
    for mean, error, (before, after) in zip(
        lean_V2.mean(0), error_2, (("left of", "right of"), ("above", "below")), strict=True
    ):
        if abs(mean) > max(STANDARD_ERRORS * error, LEAST_SHARE * found.errors.nme):
            said.append(f"{100 * abs(mean):.1f} % {before if mean < 0 else after}")
            sideways |= before == "left of"
    if not said:
        return ""
    return f"points lie {' and '.join(said)} the truth on average." + (
        REMEDY if sideways and mirrored else ""
    )
