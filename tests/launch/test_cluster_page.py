"""The page about clusters says nothing that no test shows."""

import re

import pytest

from tests.launch.conftest import ROOT

PAGE = (ROOT / "docs/cluster.md").read_text()
HOLDS_UP, DIES = "## What holds a run up", "## What happens when something dies"


def rows_of(title):
    section = PAGE[PAGE.index(title) :].split("\n## ")[0]
    return [line for line in section.splitlines() if line.startswith("|")][2:]


@pytest.mark.parametrize("title", [HOLDS_UP, DIES])
def test_every_line_names_a_test_that_exists(title):
    rows = rows_of(title)
    assert len(rows) > 10
    written = {
        name
        for page in (ROOT / "tests").rglob("test_*.py")
        for name in re.findall(r"^def (test_\w+)", page.read_text(), re.MULTILINE)
    }
    for row in rows:
        named = re.findall(r"`(test_\w+)`", row)
        assert named, row
        assert set(named) <= written, row


def test_what_is_high_is_a_number_that_a_run_writes():
    known = (ROOT / "tsal_dist/observe/METRICS.md").read_text()
    for row in rows_of(HOLDS_UP):
        numbers = re.findall(r"`([a-z]+/\w+)`", row.split("|")[1])
        assert numbers, row
        for name in numbers:
            family = re.sub(r"_\w+$", "_<reason>", name) if name.startswith("queue/lost_") else name
            assert f"| `{family}` |" in known, name


def test_the_page_names_flags_that_exist():
    texts = "".join(
        path.read_text() for path in [*(ROOT / "launch").rglob("*.py"), *(ROOT / "launch/slurm").glob("*")]
    )
    others = {
        "--container-image",
        "--max-restarts",
        "--signal",
        "--build-arg",
    }  # of srun, torchrun, sbatch, docker
    ours = set(re.findall(r"`(--[a-z-]+)", PAGE)) - others
    assert [flag for flag in sorted(ours) if f'"{flag}"' not in texts] == []
