"""Write a trained detector as one file: .safetensors, .onnx or .pt2, checked against the detector itself.

    python tools/export_weights.py --run runs/demo --out demo.safetensors
    python tools/export_weights.py --run runs/demo --role teacher --out demo.onnx
    python tools/export_weights.py --run runs/demo --whole --out whole.onnx

A .safetensors file holds its config: `python -m tsal_dist.predict --weights demo.safetensors --video ...`.
"""

import argparse
from pathlib import Path

from tsal_dist.cli import run_entry
from tsal_dist.outputs import check_file


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
    args = parser.parse_args(argv)

    from tsal_dist.inference.export import ENDINGS, export
    from tsal_dist.inference.session import build_finder, trust_of_run
    from tsal_dist.inference.trained import load_trained
    from tsal_dist.run_dir import RunDir

    check_file("--out", args.out, (".onnx",) if args.whole else ENDINGS)
    trained = load_trained(args.run, args.role, args.step)
    trust = trust_of_run(
        build_finder(trained), trained, RunDir(Path(args.run)).trust(args.role, trained.step)
    )
    if args.whole:
        from tsal_dist.inference.export_whole import export_whole

        difference_px = export_whole(trained, args.out, trust)
        print(f"{args.out}: {trained.name}, its points differ by {difference_px:.1g} px at most")
        return 0
    difference = export(trained, args.out, trust)
    size_mb = args.out.stat().st_size / 1e6
    print(f"{args.out}: {trained.name}, {size_mb:.1f} MB, differs by {difference:.1g} of the largest output")
    return 0


if __name__ == "__main__":
    raise SystemExit(run_entry(main))
