import json
import subprocess
import sys

import pytest


@pytest.mark.slow
def test_a_short_round_gives_every_ratio():
    output = subprocess.run(
        [sys.executable, "-m", "tools.bench.loader", "--quick"],
        check=True,
        capture_output=True,
        text=True,
        timeout=200,
    ).stdout
    page = json.loads(output.splitlines()[-1])
    assert [each["name"] for each in page["results"]] == ["loader", "bytes", "checked", "train", "workers"]
    assert all(each["ratio"] > 0 for each in page["results"])


def test_help_needs_nothing_heavy():
    code = (
        "import runpy, sys\n"
        "sys.argv = ['loader', '--help']\n"
        "try:\n    runpy.run_module('tools.bench.loader', run_name='__main__')\n"
        "except SystemExit as leave:\n    assert leave.code == 0\n"
        "assert not {'torch', 'cv2', 'numpy', 'pyarrow', 'webdataset'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert "--rounds" in done.stdout
