"""Job texts with {{blanks}}: readable as they are, and filled in completely or not at all."""

import re
from collections.abc import Mapping
from pathlib import Path

BLANK = re.compile(r"\{\{(\w+)\}\}")


def fill_template(path: Path, values: Mapping[str, object]) -> str:
    """The text at `path` with every {{blank}} filled in.

    Lines of a value after its first are indented like the blank, so that it can be a YAML block; a blank that
    stands alone on its line and is filled with nothing takes the line with it.
    """
    unused = set(values)
    lines = []
    for line in path.read_text().splitlines():
        names = BLANK.findall(line)
        unused -= set(names)
        filled = BLANK.sub(lambda blank: str(values[blank[1]]), line)
        if names and line.strip() == "{{" + names[0] + "}}":
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
