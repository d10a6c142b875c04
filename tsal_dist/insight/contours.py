"""Which landmarks pictures join by lines: the layout's own skeleton, else the contours of a face of 68 points."""

from collections.abc import Iterable

from tsal_dist.config.model import ModelConfig

Lines = tuple[tuple[int, int], ...]


def _path(points: Iterable[int]) -> Lines:
    row = tuple(points)
    return tuple(zip(row, row[1:], strict=False))


def _ring(first: int, last: int) -> Lines:
    return (*_path(range(first, last + 1)), (last, first))


FACE_68: Lines = (
    *_path(range(17)),  # jaw
    *_path(range(17, 22)),  # brows
    *_path(range(22, 27)),
    *_path(range(27, 31)),  # nose
    *_path(range(31, 36)),
    *_ring(36, 41),  # eyes
    *_ring(42, 47),
    *_ring(48, 59),  # lips
    *_ring(60, 67),
)


def contours(model: ModelConfig) -> Lines:
    """() where nobody said."""
    if model.layout.skeleton:
        return model.layout.skeleton
    return FACE_68 if model.layout.flip == "faces" and model.num_points == 68 else ()
