"""Every setting of a run, its values, its default and what it is for.

tsal config
tsal config optim warmup      those whose name or meaning holds all of these words
"""

import argparse
import re
from collections.abc import Iterator

from tsal_dist.cli import run_entry
from tsal_dist.errors import ConfigError


def main(argv: list[str]) -> int:
    """Print docs/configuration.md, or the lines of it that were asked for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("words", nargs="*", metavar="WORD", help="only settings that speak of it (all)")
    args = parser.parse_args(argv)

    from tsal_dist.config.describe import describe

    page = describe()
    if not args.words:
        print(page, end="")
        return 0
    wanted = [word.lower() for word in args.words]
    found = [row for row in _rows(page) if all(word in row.lower() for word in wanted)]
    if not found:
        raise ConfigError(
            f"No setting speaks of {' '.join(args.words)!r}. Name fewer words, or none to see all."
        )
    print("\n".join(found))
    return 0


def _rows(page: str) -> Iterator[str]:
    """The lines of the tables, with the whole name of each setting."""
    section = ""
    for line in page.splitlines():
        if heading := re.match(r"## `\[(.+?)\]`", line):
            section = heading[1]
        elif line.startswith("| `"):
            yield f"| `{section}.{line[3:]}"


if __name__ == "__main__":
    raise SystemExit(run_entry(main))
