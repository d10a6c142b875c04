"""What methods there are: a line each, their settings, and what a label of theirs takes in the queue.

python -m tsal_dist.recipes
python -m tsal_dist.recipes tsal my_idea.py:recipe
"""

import argparse
import sys

from tsal_dist.cli import run_entry


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument(
        "names", nargs="*", metavar="METHOD", help="which of them, with their settings (all, briefly)"
    )
    args = parser.parse_args(argv)
    from tsal_dist.recipes.describe import describe, summary
    from tsal_dist.recipes.find import list_names

    for name in args.names or list_names():
        sys.stdout.write((describe(name) if args.names else summary(name)) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(run_entry(main))
