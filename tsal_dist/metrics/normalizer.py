"""What a landmark error is divided by: five lengths that papers use, each with its name.

Numbers under different names cannot be compared: on 68 points inter-pupil errors are about four tenths larger
than inter-ocular ones. Axes: N faces, K points.
"""

from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from tsal_dist.errors import ConfigError

Normalizer = Literal["inter_ocular", "inter_pupil", "box_diagonal", "face_size", "wflw"]
NORMALIZERS: tuple[Normalizer, ...] = get_args(Normalizer)

# name -> number of landmarks -> the points whose mean is the left end, and those of the right end
_EYES: dict[str, dict[int, tuple[tuple[int, ...], tuple[int, ...]]]] = {
    "inter_ocular": {68: ((36,), (45,)), 51: ((19,), (28,)), 49: ((19,), (28,)), 98: ((60,), (72,))},
    "inter_pupil": {68: (tuple(range(36, 42)), tuple(range(42, 48))), 98: ((96,), (97,))},
    "wflw": {98: ((60,), (72,))},
}


def usual_normalizer(num_points: int) -> Normalizer:
    """What most papers divide by: the eyes' distance for faces whose eyes are known, else the box's diagonal."""
    return "inter_ocular" if num_points in _EYES["inter_ocular"] else "box_diagonal"


def lengths(
    name: Normalizer,
    points_NK2: NDArray[np.floating],
    visible_NK: NDArray[np.bool_],
    box_N4: NDArray[np.floating] | None = None,
) -> NDArray[np.float64]:
    """Length_N of the true faces in the unit of the points; not a number where a subject does not define it.

    `face_size` is sqrt(w * h) and `box_diagonal` sqrt(w^2 + h^2) of the box, which the caller gives. The others
    are distances between outer eye corners or pupils, and need those points to be visible.
    """
    if name in ("face_size", "box_diagonal"):
        if box_N4 is None:
            raise ConfigError(
                f"The normalizer {name!r} needs the boxes of the test set, and it has none. "
                f"Add boxes to the annotations or use one of {', '.join(_EYES)}."
            )
        width_N = box_N4[:, 2].astype(np.float64) - box_N4[:, 0]
        height_N = box_N4[:, 3].astype(np.float64) - box_N4[:, 1]
        proper_N = (width_N > 0) & (height_N > 0)
        length_N = (
            np.hypot(width_N, height_N) if name == "box_diagonal" else np.sqrt(np.abs(width_N * height_N))
        )
        return np.where(proper_N, length_N, np.nan)
    num_points = points_NK2.shape[1]
    layouts = _EYES.get(name)
    if layouts is None or num_points not in layouts:
        fitting = [other for other in NORMALIZERS if other not in _EYES or num_points in _EYES[other]]
        raise ConfigError(
            f"The normalizer {name!r} is not defined for {num_points} landmarks. "
            f"For this layout use one of: {', '.join(fitting)}."
        )
    left, right = (list(end) for end in layouts[num_points])
    gap_N2 = points_NK2[:, left].astype(np.float64).mean(1) - points_NK2[:, right].mean(1)
    seen_N = visible_NK[:, left + right].astype(bool).all(1)
    return np.where(seen_N, np.linalg.norm(gap_N2, axis=-1), np.nan)
