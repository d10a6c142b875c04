"""A method by its name: what is found, and one sentence for whatever is wrong with it."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.roles.short_runs import metrics, student_of, train
from tsal_dist.errors import ConfigError
from tsal_dist.recipes.api import Task
from tsal_dist.recipes.find import PACKAGED, find_method, list_names

ROOT = Path(__file__).parents[2]
TASK = Task(points=4, crop_px=96, stride=4, radius=4, sigma_px=6.0, clip_frames=1)
PAGE = (ROOT / "docs" / "recipes.md").read_text()
IDEA = PAGE.partition("```python\n")[2].partition("```")[0]
"""The page's own example."""


@pytest.fixture
def idea(tmp_path):
    path = tmp_path / "my_idea.py"
    path.write_text(IDEA)
    return path


def test_a_file_of_anybodys_is_a_method(idea):
    method = find_method(f"{idea}:recipe")
    assert method.line == "Peaks above a floor, by the average of the student."
    assert method.build({"floor": 0.5}, TASK).sources[0].name == "heatmap"


def test_so_is_a_module_that_can_be_imported(idea, monkeypatch):
    monkeypatch.syspath_prepend(idea.parent)
    assert find_method("my_idea:recipe").build({}, TASK).publishes == "average"


def test_every_method_that_is_listed_is_there():
    assert set(PACKAGED) <= set(list_names())
    for name in PACKAGED:
        assert find_method(name).line


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        ("def recipe(", "def other(", "has no function 'recipe'"),
        ("settings: Settings,", "settings: dict,", "must be annotated with the class of its settings"),
        ("    return Recipe(", "    return dict(", "gave a dict"),
        ('Source("heatmap")', 'Source("heatmap", member="reviewer")', "asks 'reviewer'"),
        ('Source("heatmap")', 'Source("heatmap", "patch", size=4)', "4 cells. Use an odd number"),
        ('Source("heatmap")', 'Source("heatmap", "feature")', "its size must be at least 1"),
        (
            "(TargetHeatmaps(),)",
            "(TargetHeatmaps(name='heat'),)",
            "must differ from each other and from heat",
        ),
        ('{"teacher": Member(Newest())}', "{}", "empty panel"),
    ],
)
def test_a_part_that_does_not_fit_is_one_sentence(idea, before, after, words):
    assert before in IDEA
    idea.write_text(IDEA.replace(before, after))
    with pytest.raises(ConfigError, match=re.escape(words)):
        find_method(f"{idea}:recipe").build({}, TASK)


def test_a_setting_that_it_does_not_have_and_a_value_that_does_not_fit(idea):
    method = find_method(f"{idea}:recipe")
    with pytest.raises(ConfigError, match=r"has no setting 'method\.ceiling'; it has floor"):
        method.read({"ceiling": 1})
    with pytest.raises(ConfigError, match=r"method\.floor = 'high' is not valid"):
        method.read({"floor": "high"})


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("tsl", "There are supervised"),
        ("no_such.py:recipe", "which is not there"),
        ("no.such:recipe", "cannot be imported"),
    ],
)
def test_what_is_not_there_is_said(name, words):
    with pytest.raises(ConfigError, match=re.escape(words)):
        find_method(name)


@pytest.mark.ranks
@pytest.mark.slow
def test_a_run_is_trained_by_a_file_outside_of_the_package(faces, idea, tmp_path):
    run = train(faces, tmp_path / "run", f"method.name={idea}:recipe", "method.floor=0.0")
    assert all(weights.isfinite().all() for weights in student_of(run).values())
    assert any(line.get("weight/point", 0) > 0 for line in metrics(run))
    assert '"floor": 0.0' in (run / "run.json").read_text()


@pytest.mark.slow
def test_its_soundness_is_told_by_one_command(idea):
    done = subprocess.run(
        [sys.executable, "-m", "tsal_dist.recipes.conformance", f"{idea}:recipe", "floor=0.0"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert re.search(r"\d+ passed", done.stdout)


def test_the_list_of_methods_names_each_with_its_bytes():
    done = subprocess.run(
        [sys.executable, "-m", "tsal_dist.recipes"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    for name in PACKAGED:
        assert name in done.stdout
    assert "2.4 kB per label of 68 points" in done.stdout
    assert "method.teacher is empty" in done.stdout
