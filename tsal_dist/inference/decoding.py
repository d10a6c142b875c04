"""How a detector is asked and its maps are read, and the words for it on a command line."""

import argparse
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Decoding:
    """Plain unless said otherwise."""

    views: int = 1
    """Of the same crop, whose maps are averaged."""
    squared: bool = False
    """Whether maps are squared before the centre of mass: what lies far from the peak pulls less."""
    mirror_K: tuple[int, ...] | None = field(default=None, compare=False)
    """Who changes places in a mirrored view; () mirrors none, None goes by the number of points of a face."""


PLAIN = Decoding()


def add_decoding(parser: argparse.ArgumentParser) -> None:
    """`--views` and `--squared`, which cost time and no training."""
    parser.add_argument(
        "--views",
        type=int,
        default=PLAIN.views,
        metavar="N",
        help="average the maps of N views: plain, mirrored, then smaller, larger and turned ones (1)",
    )
    parser.add_argument("--squared", action="store_true", help="square maps before the centre of mass")


def read_decoding(args: argparse.Namespace) -> Decoding:
    """What was said."""
    return Decoding(args.views, args.squared)
