"""How large each detector is: parameters, operations for a face, and time for a face on one core.

    python -m tools.bench.size
    python -m tools.bench.size --write docs/benchmarks.md

Operations are those that torch counts in one forward pass, a multiply-add being two. Time is the processor time of one
thread for one face at a time, the fastest of several rounds: what others do on the machine is not in it.
"""

import argparse
import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tools.bench.paired_benchmark import describe_system, system_in_words
from tools.bench.written_page import split_page, write_between
from tsal_dist.cli import run_entry
from tsal_dist.config.model import DETECTORS

if TYPE_CHECKING:
    from torch import nn

BEGIN, END = "<!-- sizes: python -m tools.bench.size writes from here -->", "<!-- sizes to here -->"


@dataclass(frozen=True)
class Size:
    """One detector."""

    detector: str
    parameters: int
    flop: int
    """Of one face."""
    seconds: float
    """Of one face, on one thread."""


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    add = parser.add_argument
    add("--detectors", nargs="+", choices=DETECTORS, default=list(DETECTORS), help="which (all)")
    add("--crop", type=int, default=128, metavar="PX", help="side of a face's crop (128)")
    add("--points", type=int, default=68, metavar="K", help="landmarks (68)")
    add("--rounds", type=int, default=20, metavar="N", help="faces to time; the fastest counts (20)")
    add("--write", type=Path, metavar="PAGE", help="write the table into this page")
    args = parser.parse_args(argv)
    if args.write:
        split_page(args.write, BEGIN, END)  # before time is spent
    sizes = [measure(name, args.crop, args.points, args.rounds) for name in args.detectors]
    table = "\n".join(format_table(sizes, args.crop, args.points))
    print(table)
    if args.write:
        write_between(args.write, BEGIN, END, table)
    print(
        json.dumps(
            {"bench": "size", "results": [asdict(size) for size in sizes], "system": describe_system()}
        )
    )
    return 0


def measure(name: str, crop_px: int, points: int, rounds: int) -> Size:
    """Build it with random weights, which cost what trained ones do."""
    from tsal_dist.models.detectors import build_detector

    model = build_detector(name, points).eval()
    parameters = sum(parameter.numel() for parameter in model.parameters())
    return Size(name, parameters, count_flop(model, crop_px), time_face(model, crop_px, rounds))


def count_flop(model: "nn.Module", crop_px: int) -> int:
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    counter = FlopCounterMode(display=False)
    with torch.no_grad(), counter:
        model(torch.zeros(1, 3, crop_px, crop_px))
    return int(counter.get_total_flops())


def time_face(model: "nn.Module", crop_px: int, rounds: int) -> float:
    """Processor seconds; pixels lie channels-last in memory, as normalised bytes do."""
    import torch

    torch.set_num_threads(1)
    face = torch.zeros(1, 3, crop_px, crop_px).contiguous(memory_format=torch.channels_last)
    best = float("inf")
    with torch.no_grad():
        model(face)
        for _ in range(rounds):
            started = time.process_time()
            model(face)
            best = min(best, time.process_time() - started)
    return best


def format_table(sizes: Sequence[Size], crop_px: int, points: int) -> Iterator[str]:
    yield ""
    yield f"| detector, {crop_px} px, {points} points | parameters, millions | GFLOP a face | ms a face, one core |"
    yield "|---|---:|---:|---:|"
    for size in sizes:
        millions, gflop = size.parameters / 1e6, size.flop / 1e9
        yield f"| `{size.detector}` | {millions:.2f} | {gflop:.2f} | {1e3 * size.seconds:.1f} |"
    yield ""
    yield f"Measured on {system_in_words(describe_system())}."


if __name__ == "__main__":
    raise SystemExit(run_entry(main))
