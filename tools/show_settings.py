"""Every setting of a run, its values, its default and what it is for.

tsal config
tsal config optim warmup      those whose name or meaning holds all of these words, a method's own ones among them
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
    from tsal_dist.recipes.find import PACKAGED, find_method

    page = describe({name: find_method(name).settings for name in PACKAGED})
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
    """The lines of the tables, with the whole name of each setting, and of which method it is."""
    section = method = ""
    for line in page.splitlines():
        if heading := re.match(r"## `\[(.+?)\]`(?: with `name = \"(.+?)\"`)?", line):
            section, method = heading[1], heading[2] or ""
        elif line.startswith("| `"):
            name, _, rest = line[3:].partition("`")
            yield f"| `{section}.{name}`{f' of {method}' if method else ''}{rest}"


if __name__ == "__main__":
    raise SystemExit(run_entry(main))
