"""The labelling bench: what a fold may choose from, and the whole of it once, tiny, then again from what it kept."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.roles.short_runs import OVERRIDES
from tools.bench.accuracy.cells import Result
from tools.bench.labelling import FEW, SUGGESTED, Question, deal_out, write_table
from tsal_dist.errors import ConfigError

ROOT = Path(__file__).parents[3]
TINY = [word for word in OVERRIDES if not word.startswith(("train.steps", "train.burn", "runtime.topology"))]
LABELS, FOLDS = 2, 2


def test_what_is_held_out_is_never_labelled():
    pictures = deal_out(20, test=[0, 5, 9], labels=4, fold=1)
    assert len(pictures.few) == 4
    assert sorted([*pictures.test, *pictures.few, *pictures.others]) == list(range(20))


def test_there_must_be_something_to_choose():
    with pytest.raises(ConfigError, match=r"--labels is 5; of 12 pictures a fold has 5 others"):
        deal_out(12, test=[0, 1], labels=5, fold=0)


def test_both_ways_of_choosing_are_compared_within_a_fold(tmp_path):
    ask = Question(tmp_path, tmp_path, "supervised", 10, 2, 1, 2, 1, "", ())
    first, second = ask.chances
    errors = {(0, FEW): 0.05, (0, SUGGESTED): 0.03, (0, first): 0.05, (0, second): 0.03}
    errors |= {(1, FEW): 0.09, (1, SUGGESTED): 0.07, (1, first): 0.06, (1, second): 0.06}
    lines = write_table(ask, {key: Result(error, 0, 0, None, None) for key, error in errors.items()})
    assert lines[2:5] == [
        "| 10 | 7.00 ± 2.00 |",
        "| 10 + 10 suggested | 5.00 ± 2.00 |",
        "| 10 + 10 by chance | 5.00 ± 1.00 |",
    ]
    assert lines[-2].endswith("paired: +0.00 ± 1.00; better in 1 of 2 folds.")
    assert lines[-1] == "By chance: 2 draws in each fold, which differ by ± 0.71."


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_loop_labels_what_was_suggested(animal, tmp_path):
    cells = tmp_path / "cells"
    words = [sys.executable, "-m", "tools.bench.labelling", animal, "--cells", cells, "--labels", LABELS, "--draws", 1,
             "--folds", FOLDS, "--steps", 4, "--jobs", 1, *TINY]  # fmt: skip
    first = subprocess.run([*map(str, words)], cwd=ROOT, capture_output=True, text=True)
    assert first.returncode == 0, first.stderr
    assert f"| {LABELS} + {LABELS} suggested |" in first.stdout
    named = [json.loads(path.read_text()) for path in sorted(cells.glob("*.suggested.json"))]
    assert [len(names) for names in named] == [LABELS] * FOLDS
    results = [path for path in cells.glob("*.json") if not path.name.endswith(".suggested.json")]
    assert len(results) == 3 * FOLDS
    assert not any((cells / "runs").iterdir()), "a run goes once it is measured"
    again = subprocess.run([*map(str, words)], cwd=ROOT, capture_output=True, text=True)
    assert (again.stdout, again.stderr) == (first.stdout, ""), "nothing is trained twice"
