"""Write docs/configuration.md from the config classes, so that the page cannot drift from the code."""

import argparse
import sys
from pathlib import Path

from tsal_dist.cli import run_entry

PAGE = Path(__file__).parents[1] / "docs" / "configuration.md"


def main(argv: list[str]) -> int:
    """Write the page; with --check, only say whether it is up to date."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--check", action="store_true", help="write nothing; exit 1 when the page is out of date"
    )
    args = parser.parse_args(argv)

    from tsal_dist.config.describe import describe
    from tsal_dist.recipes.find import PACKAGED, find_method

    text = describe({name: find_method(name).settings for name in PACKAGED})
    if args.check:
        if PAGE.is_file() and PAGE.read_text() == text:
            return 0
        sys.stderr.write(f"{PAGE.name} is out of date; run: python tools/describe_config.py\n")
        return 1
    PAGE.write_text(text)
    print(f"wrote {PAGE}")
    return 0


if __name__ == "__main__":
    raise SystemExit(run_entry(main))
