"""The glossary knows every number that a run writes under a fixed name."""

import ast
import re
from pathlib import Path

PACKAGE = Path(__file__).parents[2] / "tsal_dist"
GLOSSARY = set(re.findall(r"^\| `([^`]+)`", (PACKAGE / "observe/METRICS.md").read_text(), re.MULTILINE))
GROUPS = {name.split("/")[0] for name in GLOSSARY}


def written_names(source):
    """String constants that look like the whole name of a metric of a known group."""
    return {
        node.value
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and re.fullmatch(r"[a-z]+/[a-z0-9_]*[a-z0-9]", node.value)
        and node.value.split("/")[0] in GROUPS
    }


def test_every_written_number_is_explained():
    rooms = ("roles", "runs", "recipes", "planning", "observe")
    pages = [page for room in rooms for page in (PACKAGE / room).rglob("*.py")]
    written = set().union(*(written_names(page.read_text()) for page in pages))
    assert written - GLOSSARY == set()
    assert "loss/total" in written


def test_a_number_without_explanation_is_seen():
    assert written_names('sink.write(1, {"speed/of_light": 3e8})') - GLOSSARY == {"speed/of_light"}
