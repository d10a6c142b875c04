"""Write a trained detector as one file: .safetensors, .onnx or .pt2, checked against the detector itself.

    tsal export --run runs/demo --out demo.safetensors
    tsal export --run runs/demo --role teacher --out demo.onnx
    tsal export --run runs/demo --whole --out whole.onnx
    tsal export --run runs/demo --whole --int8 --out small.onnx

A .safetensors file holds its config: `python -m tsal_dist.predict --weights demo.safetensors --video ...`.
"""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from tsal_dist.cli import run_entry
from tsal_dist.errors import ConfigError
from tsal_dist.outputs import check_file

if TYPE_CHECKING:
    from tsal_dist.inference.trained import Role, Trained
    from tsal_dist.inference.trust import Trust
    from tsal_dist.inference.watch import Show


def main(argv: list[str]) -> int:
    """Load, write, compare."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    add = parser.add_argument
    add("--run", required=True, metavar="DIR", help="the run's folder, such as runs/demo")
    add("--role", choices=["student", "teacher"], default="student", help="whose weights (student)")
    add("--step", default="best", help="best by validation, last, or a step (best)")
    add("--out", required=True, type=Path, metavar="FILE", help="ends in .safetensors, .onnx or .pt2")
    add(
        "--whole",
        action="store_true",
        help=".onnx with crop and decoder inside: picture and boxes in, points out",
    )
    add(
        "--int8",
        action="store_true",
        help="with --whole: convolutions count in bytes, a quarter of the size; measured on held-out frames",
    )
    args = parser.parse_args(argv)

    from tsal_dist.inference.export import ENDINGS
    from tsal_dist.inference.trained import load_trained
    from tsal_dist.inference.watch import progress_bar

    if args.int8 and not args.whole:
        raise ConfigError("--int8 was given without --whole. Give both: what is measured is a whole file.")
    check_file("--out", args.out, (".onnx",) if args.whole else ENDINGS)
    trained = load_trained(args.run, args.role, args.step)
    with progress_bar("measuring") as on_frame:
        if args.int8:
            said = _export_small(trained, Path(args.run), args.out, on_frame)
        else:
            trust = _measure(trained, Path(args.run), args.role, on_frame)
            said = (_export_whole if args.whole else _export)(trained, args.out, trust)
    print(f"{args.out}: {trained.name}, {args.out.stat().st_size / 1e6:.1f} MB, {said}")
    return 0


def _measure(trained: "Trained", run: Path, role: "Role", on_frame: "Show") -> "Trust | None":
    """How far the detector can be trusted. What of that is not known is said: the file will not know it either."""
    from tsal_dist.inference.session import build_finder, trust_of_run

    trust, unknown = trust_of_run(build_finder(trained), trained, run, role, on_frame)
    if unknown:
        sys.stderr.write(f"{trained.name}: {unknown}\n")
    return trust


def _export(trained: "Trained", path: Path, trust: "Trust | None") -> str:
    from tsal_dist.inference.export import export

    return f"differs by {export(trained, path, trust):.1g} of the largest output"


def _export_whole(trained: "Trained", path: Path, trust: "Trust | None") -> str:
    from tsal_dist.inference.export_whole import export_whole

    return f"its points differ by {export_whole(trained, path, trust):.1g} px at most"


def _export_small(trained: "Trained", run: Path, path: Path, on_frame: "Show") -> str:
    from tsal_dist.inference.export_small import export_small
    from tsal_dist.inference.held_out import open_of_run

    data = trained.config.data
    if not (data.labelled and data.validation):
        raise ConfigError(
            f"--int8 needs labelled frames and held-out ones, and the run has data.labelled = {list(data.labelled)} and "
            f"data.validation = {list(data.validation)}. Leave it out."
        )
    seen = open_of_run(run, trained.config, "labelled", "--int8: ")
    held_out = open_of_run(run, trained.config, "validation", "--int8: ")
    errors = export_small(trained, path, seen, held_out, on_frame)
    return f"its points are {errors.file:.2%} of the crop off on held-out frames, the detector's {errors.detector:.2%}"


if __name__ == "__main__":
    raise SystemExit(run_entry(main))
