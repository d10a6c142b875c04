"""What the errors of all frames have in common: points that lie to one side of the truth."""

from tsal_dist.inference.evaluation import Evaluation

LEAST_SHARE = 0.1
"""Of the error: less is not worth a word."""
STANDARD_ERRORS = 3.0
"""Over videos: the frames of one may all lean for one reason, so they count as one."""
REMEDY = (
    " Labels that are not alike in a mirror lean so: their mirror images teach against them, and train.mirror_until=0.8 "
    "ends those for the last fifth of a run."
)


def lean_in_words(found: Evaluation, mirrored: bool) -> str:
    """Which way the points lean and how far; "" where that may be chance, or hardly matters. `mirrored`: whether the model
    saw mirror images to the end."""
    errors, videos = found.errors, len({score.video for score in found.scores})
    error_2 = errors.lean_spread_2 / max(videos, 1) ** 0.5
    said, sideways = [], False
    for mean, error, (before, after) in zip(
        errors.lean_2, error_2, (("left of", "right of"), ("above", "below")), strict=True
    ):
        if abs(mean) > max(STANDARD_ERRORS * error, LEAST_SHARE * errors.nme):
            said.append(f"{100 * abs(mean):.1f} % {before if mean < 0 else after}")
            sideways |= before == "left of"
    if not said:
        return ""
    return f"points lie {' and '.join(said)} the truth on average." + (
        REMEDY if sideways and mirrored else ""
    )
