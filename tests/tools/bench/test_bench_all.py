import json
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

from tools.bench.written_page import split_page
from tsal_dist.errors import ConfigError, TrainingError

ROOT = Path(__file__).parents[3]
TOOL = runpy.run_path(str(ROOT / "tools/bench/__main__.py"))
SYSTEM = {"commit": "abc1234", "cpu": "Some CPU", "cores": 2, "machine": "Linux x86_64", "python": "3.11.7"}


def keep(folder, name, *rows):
    (folder / f"{name}.json").write_text(json.dumps({"results": rows, "system": SYSTEM}))


def ratio(name, value, aim):
    return {"name": name, "ratio": value, "ratio_low": value - 0.1, "ratio_high": value + 0.1, "aim": aim}


def test_the_table_shows_what_was_kept_and_what_misses_its_aim(tmp_path):
    keep(tmp_path, "queue", ratio("round trip", 0.85, 0.9), ratio("lists", 2.5, 2.0))
    keep(
        tmp_path,
        "start",
        {"name": "train --help", "extra_s": 0.2, "aim_s": 0.5, "imports_torch": False},
        {"name": "other --help", "extra_s": 0.3, "aim_s": 0.5, "imports_torch": False},
    )
    keep(tmp_path, "asynchrony", ratio("equal, 1 view", 0.97, 0.95))
    page = json.loads((tmp_path / "asynchrony.json").read_text())
    page["plan"] = [{"name": "equal, 1 view", "predicted": 1.2, "measured": 1.0, "error": 0.2}]
    page["stall"] = {"healthy": 0.004}
    (tmp_path / "asynchrony.json").write_text(json.dumps(page))
    text = "\n".join(TOOL["format_table"](tmp_path))
    assert "| queue | round trip | 0.85 | 0.75 to 0.95 | ≥ 0.9 | **missed** |" in text
    assert "| queue | lists | 2.50 | 2.40 to 2.60 | ≥ 2 |  |" in text
    assert "| start | slowest of 2: other --help | 0.30 s more |  | < 0.5 s |  |" in text
    assert "train --help" not in text
    assert (
        "| asynchrony | plan: equal, 1 view | 1.20 predicted, 1.00 measured |  | ± 10 % | **missed** |"
        in text
    )
    assert "| asynchrony | stall, healthy | 0.40% of the time |  | ≤ 1 % |  |" in text
    assert (
        "2 cores (Some CPU, Linux x86_64), Python 3.11.7, commit abc1234: start, queue, asynchrony." in text
    )


def test_a_command_that_imports_torch_is_named_however_quick(tmp_path):
    quick = {"name": "a --help", "extra_s": 0.2, "aim_s": 0.5, "imports_torch": True}
    keep(tmp_path, "start", quick, quick | {"name": "b --help", "extra_s": 0.3, "imports_torch": False})
    text = "\n".join(TOOL["format_table"](tmp_path))
    assert "| start | a --help | 0.20 s more |  | < 0.5 s | **missed** |" in text
    assert "b --help" not in text


def test_every_bench_there_is_belongs_to_it():
    there = {path.stem for path in (ROOT / "tools/bench").glob("*.py") if "def main(" in path.read_text()}
    # A table of its own, a part of asynchrony, pictures of others, a training of its own.
    alone = {"size", "slow_rank", "labelling", "boxes"}
    assert set(TOOL["BENCHES"]) == there - {"__main__", *alone}


def test_a_page_without_a_place_for_the_table_is_refused(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("# Benchmarks\n")
    with pytest.raises(ConfigError, match=r"page\.md has no place for the table"):
        TOOL["main"](["--write", str(page)])


def test_the_published_page_has_one():
    before, after = split_page(ROOT / "docs/benchmarks.md", TOOL["BEGIN"], TOOL["END"])
    assert before.startswith("# Benchmarks")
    assert "## Accuracy" in after


def test_a_bench_that_fails_is_named(monkeypatch):
    monkeypatch.chdir(ROOT)
    with pytest.raises(TrainingError, match=r"tools\.bench\.nothing ended with code 1"):
        TOOL["run_bench"]("nothing", False)


@pytest.mark.slow
def test_a_quick_round_runs_and_keeps_no_numbers(tmp_path):
    words = [
        sys.executable,
        "-m",
        "tools.bench",
        "--quick",
        "--only",
        "start",
        "--folder",
        str(tmp_path),
    ]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True, timeout=280)
    assert "tsal_dist.train --help" in done.stdout
    assert list(tmp_path.iterdir()) == []
