"""The configuration page says what the classes say."""

import subprocess
import sys
from pathlib import Path

from tsal_dist.config.describe import describe
from tsal_dist.config.load import all_keys

ROOT = Path(__file__).parents[2]


def test_the_page_in_docs_is_up_to_date():
    subprocess.run([sys.executable, "tools/describe_config.py", "--check"], cwd=ROOT, check=True)


def test_every_key_has_a_row():
    page = describe()
    sections = {line.strip("#[]` ") for line in page.splitlines() if line.startswith("## ")}
    for key in all_keys():
        section, _, name = key.rpartition(".")
        assert section in sections
        assert f"| `{name}` |" in page
