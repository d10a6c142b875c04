"""The configuration page says what the classes say."""

import subprocess
import sys
from pathlib import Path

from tools.show_settings import main as show
from tsal_dist.config.describe import describe
from tsal_dist.config.load import all_keys

ROOT = Path(__file__).parents[2]


def test_the_page_in_docs_is_up_to_date():
    subprocess.run([sys.executable, "tools/describe_config.py", "--check"], cwd=ROOT, check=True)


def test_every_key_has_a_row():
    page = describe()
    assert "<class" not in page, "a type as a person would write it"
    sections = {line.strip("#[]` ") for line in page.splitlines() if line.startswith("## ")}
    for key in all_keys():
        section, _, name = key.rpartition(".")
        assert section in sections
        assert f"| `{name}` |" in page


def test_the_settings_of_methods_are_found_and_told_apart(capsys):
    """`tsal config max_disagreement` said that no setting speaks of it."""
    assert show(["max_disagreement"]) == 0
    rows = capsys.readouterr().out.splitlines()
    assert [row.split(" | ")[0] for row in rows] == [
        "| `method.max_disagreement` of tsal",
        "| `method.max_disagreement` of dual_mean_teacher",
    ]
    assert show(["publish_every"]) == 0
    assert "| `runtime.weights.publish_every` | int" in capsys.readouterr().out
