"""The page about clusters says nothing that no test shows."""

import re

from tests.launch.conftest import ROOT

PAGE = (ROOT / "docs/cluster.md").read_text()


def test_every_line_of_what_happens_names_a_test_that_exists():
    section = PAGE[PAGE.index("## What happens when something dies") :].split("\n## ")[0]
    rows = [line for line in section.splitlines() if line.startswith("|")][2:]
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
