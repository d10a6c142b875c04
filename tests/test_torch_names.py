"""What of torch is used, against `docs/torch.md`: a name that is new here is looked up before it is used.

The oldest torch that the project promises is not the one that its tests run with. So every name that the code takes from
torch stands on that page, with the release that brought it where that is younger than 2.0, and the promise in
`pyproject.toml` is the youngest of these.
"""

import ast
import re

import pytest

from tests.test_house import ROOT

PAGE = (ROOT / "docs" / "torch.md").read_text()
ROW = re.compile(r"^\| `(?P<name>torch[\w.]*)`.*\| (?P<version>\d+\.\d+) \|", re.MULTILINE)
OLD = re.compile(r"^torch[\w.]*$", re.MULTILINE)


def dotted(node: ast.Attribute) -> str:
    """`a.b.c` of an attribute of a name, empty for one of anything else."""
    parts = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    return ".".join([node.id, *reversed(parts)]) if isinstance(node, ast.Name) else ""


def names_of_torch(text: str) -> set[str]:
    """Every name below torch that a page of code imports or looks up."""
    tree = ast.parse(text)
    aliases, found = {}, set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            aliases |= {
                part.asname or "torch": part.name if part.asname else "torch"
                for part in node.names
                if part.name.split(".")[0] == "torch"
            }
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "torch":
            aliases |= {part.asname or part.name: f"{node.module}.{part.name}" for part in node.names}
    for node in ast.walk(tree):
        head, _, rest = dotted(node).partition(".") if isinstance(node, ast.Attribute) else ("", "", "")
        if rest and head in aliases:
            found.add(f"{aliases[head]}.{rest}")
    found |= set(aliases.values())
    return {name for name in found if not any(other.startswith(f"{name}.") for other in found)}


def used() -> set[str]:
    pages = [path for folder in ("tsal_dist", "launch", "tools") for path in (ROOT / folder).rglob("*.py")]
    return set().union(*(names_of_torch(path.read_text()) for path in pages))


def said() -> dict[str, tuple[int, ...]]:
    """Names on the page, with their release; (0,) for those older than 2.0."""
    young = {row["name"]: tuple(map(int, row["version"].split("."))) for row in ROW.finditer(PAGE)}
    return dict.fromkeys(OLD.findall(PAGE), (0,)) | young


def test_every_name_of_torch_was_looked_up():
    missing = used() - said().keys()
    assert not missing, (
        f"find out since when torch has them, and write it into docs/torch.md: {sorted(missing)}"
    )


def test_the_page_names_nothing_that_is_not_used():
    there = used()
    gone = [name for name in said() if not any(name == one or one.startswith(f"{name}.") for one in there)]
    assert not gone


def test_the_promise_is_the_youngest_of_them():
    youngest = max(said().values())
    assert f'"torch>={".".join(map(str, youngest))}"' in (ROOT / "pyproject.toml").read_text()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("import torch\ntorch.optim.Muon()", {"torch.optim.Muon"}),
        ("from torch import nn as n\nn.RMSNorm(3)", {"torch.nn.RMSNorm"}),
        ("import torch.distributed as dist\ndist.all_reduce(x)", {"torch.distributed.all_reduce"}),
        ("from torch.compiler import nested_compile_region", {"torch.compiler.nested_compile_region"}),
        ("import numpy as torchy\ntorchy.zeros(3)", set()),
    ],
)
def test_names_are_found_however_they_are_imported(text, expected):
    assert names_of_torch(text) == expected
