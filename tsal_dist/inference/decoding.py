"""How a detector is asked and its maps are read, and the words for it on a command line."""

import argparse
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from tsal_dist.geometry.flip import mirror_order

if TYPE_CHECKING:
    from tsal_dist.config.model import ModelConfig
    from tsal_dist.models.companions import Fitting


@dataclass(frozen=True)
class Decoding:
    """Plain unless said otherwise."""

    views: int = 1
    """Of the same crop, whose maps are averaged."""
    mirror: tuple[int, ...] = ()
    """For each landmark of a mirrored subject, the one it was before; () where nobody knows, and nothing is mirrored."""

    companions: bool = False
    """Whether of the peaks of each map those are taken that fit each other as the labels' points do."""
    fitting: "Fitting | None" = field(default=None, compare=False)
    """What the labels say of that, once they have been asked."""

    def of(self, model: "ModelConfig") -> "Decoding":
        """For the landmarks of a detector."""
        layout = model.layout
        return replace(self, mirror=mirror_order(layout.flip, layout.names, model.num_points))


PLAIN = Decoding()


def add_decoding(parser: argparse.ArgumentParser) -> None:
    """What costs time and no training."""
    add = parser.add_argument_group("how the detector's maps are read").add_argument
    add(
        "--views",
        type=int,
        default=PLAIN.views,
        metavar="N",
        help="average the maps of N views: plain, mirrored, then smaller, larger and turned ones (1)",
    )
    add(
        "--companions",
        action="store_true",
        help="take the peaks that fit each other as the points of the run's labels do; reads those labels",
    )


def read_decoding(args: argparse.Namespace) -> Decoding:
    """What was said."""
    return Decoding(args.views, companions=args.companions)
