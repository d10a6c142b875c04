"""Which landmark takes which one's place when a face is mirrored: left and right are names, not positions.

`points[order]` renames the points of a mirrored image; an order is its own inverse. Faces of 68 points (300W, 300VW),
98 (WFLW) and 19 (AFLW without ears) are known by their number; any other layout is known by the names of its points:
`left_ear` takes the place of `right_ear`, and `L_paw` that of `R_paw`.
"""

import re
from collections.abc import Iterable, Sequence
from typing import Literal

from tsal_dist.errors import ConfigError

Row = tuple[Iterable[int], Iterable[int]]
Mirror = Literal["faces", "names", "none"]
"""Where an order comes from: the known layouts of faces, the points' names, or nowhere."""

# A side is a word of its own (`left_ear`, `earLeft`) or a letter that stands alone (`L_ear`, `ear.r`): the L of `lip`
# is none, and the LH of `paw1LH` is an abbreviation that nobody here can read.
_SIDE = re.compile(
    r"(?i:left|right)(?![a-z])|(?:Left|Right)(?=[A-Z])|(?<![A-Za-z0-9])[LRlr](?![A-Za-z0-9])|(?<![A-Za-z0-9])[LR](?=[A-Z][a-z])"
)


def _order(*rows: Row) -> tuple[int, ...]:
    """Join rows of points with the points that mirror them, read in the same direction."""
    partner: dict[int, int] = {}
    for row, mirrored in rows:
        for left, right in zip(row, mirrored, strict=True):
            partner[left] = right
            partner[right] = left
    return tuple(partner[index] for index in range(len(partner)))


def _down(first: int, last: int) -> range:
    """first, first - 1, ..., last."""
    return range(first, last - 1, -1)


FLIP_68 = _order(
    (range(17), _down(16, 0)),  # jaw, ear to ear
    (range(17, 22), _down(26, 22)),  # brows
    (range(27, 31), range(27, 31)),  # bridge of the nose
    (range(31, 36), _down(35, 31)),  # nostrils
    (range(36, 40), _down(45, 42)),  # upper lids, corner to corner
    ((40, 41), (47, 46)),  # lower lids
    (range(48, 55), _down(54, 48)),  # outer lip, above
    (range(55, 60), _down(59, 55)),  # outer lip, below
    (range(60, 65), _down(64, 60)),  # inner lip, above
    (range(65, 68), _down(67, 65)),  # inner lip, below
)

FLIP_98 = _order(
    (range(33), _down(32, 0)),  # jaw, ear to ear
    (range(33, 38), _down(46, 42)),  # brows, upper edge
    (range(38, 42), _down(50, 47)),  # brows, lower edge
    (range(51, 55), range(51, 55)),  # bridge of the nose
    (range(55, 60), _down(59, 55)),  # nostrils
    (range(60, 65), _down(72, 68)),  # upper lids, corner to corner
    (range(65, 68), _down(75, 73)),  # lower lids
    (range(76, 83), _down(82, 76)),  # outer lip, above
    (range(83, 88), _down(87, 83)),  # outer lip, below
    (range(88, 93), _down(92, 88)),  # inner lip, above
    (range(93, 96), _down(95, 93)),  # inner lip, below
    ((96,), (97,)),  # pupils
)

FLIP_19 = _order(
    (range(6), _down(5, 0)),  # brows
    (range(6, 12), _down(11, 6)),  # eyes
    (range(12, 15), _down(14, 12)),  # nose
    (range(15, 18), _down(17, 15)),  # mouth
    ((18,), (18,)),  # chin
)

_ORDERS = {len(order): order for order in (FLIP_68, FLIP_98, FLIP_19)}


def flip_order(num_points: int) -> tuple[int, ...]:
    """For each landmark of a mirrored face, the index of the landmark it was before."""
    if num_points not in _ORDERS:
        known = ", ".join(str(count) for count in sorted(_ORDERS))
        raise ConfigError(
            f"No left-right layout is known for {num_points} landmarks (known: {known}). "
            "Turn mirroring off for this layout."
        )
    return _ORDERS[num_points]


def names_order(names: Sequence[str]) -> tuple[int, ...]:
    """The order that the names tell: points that differ in their side alone change places, others keep theirs.

    () where no name has a side, or one has a side and no partner: then a mirror image may be another subject.
    """
    known = {name: number for number, name in enumerate(names)}
    sided = {name for name in names if _SIDE.search(name)}
    partners = {name: _SIDE.sub(_other_side, name) for name in sided}
    if not sided or len(known) < len(names) or not set(partners.values()) <= set(known):
        return ()
    order = tuple(known[partners.get(name, name)] for name in names)
    return order if all(order[order[number]] == number for number in order) else ()


def _other_side(found: "re.Match[str]") -> str:
    word = found[0]
    other = {"l": "r", "r": "l", "left": "right", "right": "left"}[word.lower()]
    return other.upper() if word.isupper() else other.capitalize() if word[0].isupper() else other


def mirror_order(mirror: Mirror, names: Sequence[str], num_points: int) -> tuple[int, ...]:
    """The order of a layout; () for one whose mirror nobody knows."""
    if mirror == "names":
        return names_order(names)
    return _ORDERS.get(num_points, ()) if mirror == "faces" else ()
