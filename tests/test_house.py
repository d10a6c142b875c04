"""The house rules that a machine can hold."""

import ast
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import get_args, get_type_hints

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "tsal_dist"
MAX_LINES = 400

# Top may import below, never the reverse. Names on one row are strangers to each other.
LAYERS = [
    {"conformance"},
    {"adapt", "distill"},
    {"train", "evaluate", "predict", "__main__"},
    {"door"},
    {"cli", "second_run"},
    {"insight", "label", "boxes"},
    {"runs"},
    {"planning"},
    {"roles"},
    {"inference"},
    {"data", "pack", "pseudo", "weights", "checkpoint", "engine", "observe", "synthetic"},
    {"recipes"},
    {"exchange", "dist", "shards"},
    {"models", "losses", "metrics", "trackers"},
    {"geometry"},
    {"run", "outputs"},
    {"config"},
    {"records", "run_dir", "json_object", "address", "clock", "canvas", "arrow", "plugins"},
    {"errors"},
]
LEVEL = {name: depth for depth, row in enumerate(LAYERS) for name in row}
NO_TORCH = {
    "config",
    "exchange",
    "pseudo",
    "records",
    "address",
    "clock",
    "arrow",
    "canvas",
    "json_object",
    "run_dir",
    "door",
    "outputs",
    "errors",
    "plugins",
    "pack",
    "shards",
    "synthetic",
    "cli",
}


def imports(path: Path) -> set[str]:
    """Every absolute module this file imports, at any depth of the tree."""
    return imports_of(ast.walk(ast.parse(path.read_text())))


def imports_of(tree: Iterable[ast.AST]) -> set[str]:
    """Every absolute module that these statements import."""
    found = set()
    for node in tree:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def sources() -> list[tuple[str, Path]]:
    files = [path for path in PACKAGE.rglob("*.py") if path != PACKAGE / "__init__.py"]
    return [(room_of(path), path) for path in files]


def room_of(path: Path) -> str:
    """A room's own command is an entry, and stands above all rooms; what puts methods on trial stands above these: it trains."""
    if "conformance" in path.parts:
        return "conformance"
    return (
        "__main__" if path.name == "__main__.py" else path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    )


def wrong_imports(part: str, names: set[str]) -> set[str]:
    """Those of `names` that a file of `part` must not import."""
    wrong = set()
    for name in names:
        head = name.split(".")
        if head[0] != "tsal_dist" or len(head) < 2 or head[1] in {part, "__version__"}:
            continue
        if LEVEL[head[1]] <= LEVEL[part]:
            wrong.add(name)
    return wrong


def test_imports_only_point_down():
    wrong = [
        f"{path.relative_to(ROOT)} must not import {name}"
        for part, path in sources()
        for name in wrong_imports(part, imports(path))
    ]
    assert not wrong, "\n".join(sorted(wrong))


@pytest.mark.parametrize(
    ("part", "name"),
    [
        ("geometry", "tsal_dist.roles.student"),
        ("pseudo", "tsal_dist.data.stream"),
        ("errors", "tsal_dist.records"),
    ],
)
def test_the_layer_rule_sees_a_planted_fault(part, name):
    assert wrong_imports(part, {name}) == {name}


@pytest.mark.parametrize(
    ("page", "stranger"),
    [
        ("student", "teacher"),
        ("student", "teacher_loop"),
        ("student_loop", "teacher"),
        ("student_loop", "teacher_loop"),
        ("teacher", "student"),
        ("teacher", "student_loop"),
        ("teacher_loop", "student"),
    ],
)
def test_teacher_and_student_are_strangers(page, stranger):
    """A file that is gone or has another name fails here: the rule would hold for nothing."""
    for name in (page, stranger):
        assert (PACKAGE / f"roles/{name}.py").is_file()
    reached = {f"tsal_dist.roles.{stranger}"} & {
        ".".join(name.split(".")[:3]) for name in imports(PACKAGE / f"roles/{page}.py")
    }
    assert not reached


def test_light_parts_stay_free_of_torch():
    light = [path for part, path in sources() if part in NO_TORCH]
    light += sorted((ROOT / "launch").rglob("*.py"))
    heavy = [path for path in light if any(name.split(".")[0] == "torch" for name in imports(path))]
    assert not heavy


def test_light_parts_do_not_reach_torch_indirectly():
    """An import of an import counts too: ask a fresh interpreter."""
    modules = {
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        for part, path in sources()
        if part in NO_TORCH
    }
    code = "import sys, importlib\n" + "".join(
        f"importlib.import_module({name!r})\n" for name in sorted(modules)
    )
    code += "assert 'torch' not in sys.modules, 'torch was imported'"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


def test_no_file_outgrows_the_page():
    rooms = ("tsal_dist", "launch", "tools", "tests")
    pages = [path for folder in rooms for path in (ROOT / folder).rglob("*.py")]
    long = {
        str(path.relative_to(ROOT)): n
        for path in pages
        if (n := len(path.read_text().splitlines())) > MAX_LINES
    }
    assert not long


def test_the_linter_looks_at_every_page():
    """By itself it leaves out every folder of the name `dist`."""
    seen = subprocess.run(
        [sys.executable, "-m", "ruff", "check", "--show-files", "."],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()
    rooms = ("tsal_dist", "launch", "tools", "tests")
    assert {str(path) for room in rooms for path in (ROOT / room).rglob("*.py")} <= set(seen)


def test_every_part_has_a_row():
    assert {part for part, _ in sources()} <= set(LEVEL)


def test_no_room_without_a_name():
    vague = {"utils", "util", "common", "helpers", "misc", "core", "lib", "manager", "base"}
    assert not [path for part, path in sources() if {part, path.stem} & vague]


def test_no_two_test_modules_share_a_name():
    """pytest imports them by their names alone: the second one would end the collection."""
    names = Counter(page.name for page in (ROOT / "tests").rglob("*.py") if page.name != "conftest.py")
    assert [name for name, times in names.items() if times > 1] == []


BEHIND_PROTOCOLS = {
    "Planner",
    "Replay",
    "NoTeacher",
    "WatchedTeachers",
    "MonotonicClock",
    "OwnPace",
    "Caller",
    "Beside",
}
"""What a role's loop meets as a `PlanSource`, as `Peers`, as a `Clock` or as a `Schedule`."""


def told_apart(text: str) -> set[str]:
    """Classes behind a protocol that a page of code asks for by name."""
    calls = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Call)]
    asked = [call.args[1] for call in calls if getattr(call.func, "id", "") in ("isinstance", "issubclass")]
    return {
        node.id for kinds in asked for node in ast.walk(kinds) if isinstance(node, ast.Name)
    } & BEHIND_PROTOCOLS


def test_a_loop_does_not_ask_what_it_meets():
    pages = [path for room in ("roles", "runs") for path in (PACKAGE / room).rglob("*.py")]
    assert not {path.name: names for path in pages if (names := told_apart(path.read_text()))}
    assert told_apart("if isinstance(planner, Planner | Replay): pass") == {"Planner", "Replay"}


def test_a_room_s_page_names_only_what_is_in_it():
    """The first page of a room is read by newcomers: a module that was renamed must not live on there."""
    known = {"build_detector", "stride", "recipe", "pread", "build_tracker"}  # words of code, and no modules
    for page in (
        path for room in ("tsal_dist", "launch", "tools") for path in (ROOT / room).rglob("__init__.py")
    ):
        told = ast.get_docstring(ast.parse(page.read_text())) or ""
        there = {path.stem for path in page.parent.iterdir()} | known
        assert set(re.findall(r"`([a-z_]+)/?`", told)) <= there, page


def methods_in(text: str, methods: set[str], readings: set[str]) -> set[str]:
    """Methods that a page of code names in a string, or whose module it imports. A reading may be called as a method is."""
    tree = list(ast.walk(ast.parse(text)))
    written = {node.value for node in tree if isinstance(node, ast.Constant) and isinstance(node.value, str)}
    modules = {module.removeprefix("tsal_dist.recipes.").partition(".")[0] for module in imports_of(tree)}
    return methods & (written - readings | modules)


def test_a_role_knows_no_method_by_its_name():
    """But that one trains alone, which the config says (`config.method.ALONE`): a method is one file, whoever wrote it."""
    from tsal_dist.recipes.api import Source
    from tsal_dist.recipes.find import PACKAGED

    readings = set(get_args(get_type_hints(Source)["reading"]))
    pages = [path for room in ("roles", "runs") for path in (PACKAGE / room).rglob("*.py")]
    found = {path.name: methods_in(path.read_text(), set(PACKAGED), readings) for path in pages}
    assert not {page: names for page, names in found.items() if names}
    planted = 'from tsal_dist.recipes.companions import recipe\nx = name == "tsal" or reading == "companions"'
    assert methods_in(planted, set(PACKAGED), readings) == {"tsal", "companions"}
    assert not methods_in('x = reading == "companions"', set(PACKAGED), readings)


def test_no_function_is_longer_than_it_can_be_read():
    long = [
        f"{path.relative_to(ROOT)}: {node.name} has {node.end_lineno - node.lineno + 1} lines"
        for room in ("tsal_dist", "launch", "tools")
        for path in (ROOT / room).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.end_lineno - node.lineno >= 60
    ]
    assert not long, long
