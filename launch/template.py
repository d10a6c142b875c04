"""Job texts with {{blanks}}: readable as they are, and filled in completely or not at all."""

import json
import re
from collections.abc import Mapping
from pathlib import Path

from tsal_dist.errors import ConfigError

BLANK = re.compile(r"\{\{(\w+)\}\}")
SBATCH = "#SBATCH"
TAKEN_AS_IT_IS = re.compile(r"[^\s\"'\\%#]*")
"""What sbatch reads from its own lines as it is written: a blank ends a word, a % begins a number of the job's."""

NO_STRINGS = frozenset({"null", "true", "false", "yes", "no", "on", "off", "y", "n"})
"""Bare words that one version of YAML or the other takes for something else than a string."""

PAIR = re.compile(r"\\u(d[89ab][0-9a-f]{2})\\u(d[c-f][0-9a-f]{2})")
"""What JSON writes for one letter beyond the first 65,536; YAML takes it for two, neither of which is one."""


def yaml_word(word: str) -> str:
    """One word of a YAML list, whatever is in it."""

    def whole(pair: re.Match[str]) -> str:
        letter = bytes.fromhex(pair[1] + pair[2]).decode("utf-16-be")
        return f"\\U{ord(letter):08x}"

    return PAIR.sub(whole, json.dumps(word))


def fill_template(path: Path, values: Mapping[str, object]) -> str:
    """The text at `path` with every {{blank}} filled in.

    Lines of a value after its first are indented like the blank, so that it can be a YAML block; a blank that
    stands alone on its line and is filled with nothing takes the line with it. A value within a line may not break it.
    """
    unused = set(values)
    lines = []
    for line in path.read_text().splitlines():
        names = BLANK.findall(line)
        unused -= set(names)
        alone = bool(names) and line.strip() == "{{" + names[0] + "}}"
        for name in names if not alone else ():
            check_value(name, str(values[name]), sbatch=line.startswith(SBATCH))
        filled = BLANK.sub(lambda blank: str(values[blank[1]]), line)
        if alone:
            indent = line[: line.index("{")]
            filled = "\n".join(
                f"{indent}{part}" if part else "" for part in str(values[names[0]]).splitlines()
            )
            if not filled:
                continue
        lines.append(filled)
    if unused:
        raise ValueError(f"{path} has no blanks for {sorted(unused)}")
    return "\n".join(lines) + "\n"


def check_value(name: str, value: str, sbatch: bool = True) -> None:
    """Refuse what would be read as something else than a value of its line."""
    if sbatch and not TAKEN_AS_IT_IS.fullmatch(value):
        raise ConfigError(
            f"{name} is {value!r} in the job's text, and sbatch would not read it as it is written. Choose one without "
            f"blanks, quotes, backslashes, % and #."
        )
    if len(value.splitlines()) > 1 or not value.isprintable():
        raise ConfigError(
            f"{name} is {value!r}, and would break its line of the job's text. Choose one on a single line."
        )
