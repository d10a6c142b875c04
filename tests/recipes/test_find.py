"""A method by its name: what is found, and one sentence for whatever is wrong with it."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.installed import install
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


def test_so_is_what_an_installed_package_offers(idea, monkeypatch):
    install(
        idea.parent, "my_idea-1.0", "[tsal_dist.recipes]\nabove = my_idea:recipe\ntsal = my_idea:recipe\n"
    )
    monkeypatch.syspath_prepend(idea.parent)
    assert find_method("above").read({"floor": 0.5}).floor == 0.5
    assert find_method("above").line == "Peaks above a floor, by the average of the student."
    assert "above" in list_names()
    assert list_names().count("tsal") == 1, "nobody takes the name of a method of this package"
    assert "floor" not in find_method("tsal").settings.model_fields
    assert "above" in refusal("abov")


def test_an_offer_that_cannot_be_imported_is_said(tmp_path, monkeypatch):
    install(tmp_path, "gone-1.0", "[tsal_dist.recipes]\ngone = no_such_module:recipe\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert "'no_such_module' cannot be imported" in refusal("gone")


def refusal(name):
    with pytest.raises(ConfigError) as caught:
        find_method(name)
    return str(caught.value)


def test_every_method_that_is_listed_is_there():
    assert set(PACKAGED) <= set(list_names())
    for name in PACKAGED:
        assert find_method(name).line


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        ("def recipe(", "def other(", "has no function 'recipe'"),
        ("Plain(label)", "label", "label is a function without moments and observe and state_dict"),
        ("Plain(label)", "Plain", "label is the class Plain. It must be an object with"),
        (
            "(TargetHeatmaps(),)",
            "(TargetHeatmaps,)",
            "terms[0] is the class TargetHeatmaps. It must be an object",
        ),
        ("(TargetHeatmaps(),)", "TargetHeatmaps()", "terms is a TargetHeatmaps and must be a tuple"),
        ("(TargetHeatmaps(),)", "(1.0,)", "terms[0] is a float without name and weight and __call__"),
        ('(Source("heatmap"),)', 'Source("heatmap")', "sources is a Source and must be a tuple"),
        ('(Source("heatmap"),)', '("heatmap",)', "sources has a str in it. Each must be a Source"),
        ("Member(Newest())", "Newest()", "panel['teacher'] is a Newest and must be a Member"),
        ("Member(Newest())", "Member(Newest)", "panel['teacher'].follow is the class Newest"),
        ("Covered(patches=2)", "Covered", "mix is the class Covered"),
        ("Covered(patches=2)", "(Covered(),)", "mix is a tuple without __call__. It must be an object"),
        ("Covered(patches=2)", "Covered(), around=None", "around is None, which cannot be called"),
        ("Covered(patches=2)", "Covered(), publishes='mean'", "publishes 'mean'. Say 'average'"),
        ('Source("heatmap")', 'Source("heatmap", "heatmaps")', "reads 'heatmaps'. The readings are heatmap,"),
        ('Source("heatmap")', 'Source("heatmap", "center", views=2)', "has 2 views and reads a center"),
        (
            'Source("heatmap")',
            'Source("heatmap", views=9)',
            "has 9 views, and there are 5 of landmarks that nobody knows the mirror image of",
        ),
        ('Source("heatmap")', 'Source("heatmap", views=0)', "has 0 views. One is the frame as it is"),
        ('Source("heatmap")', 'Source("heatmap", size=3)', "has size=3, and a heatmap adds nothing"),
        (
            'Source("heatmap")',
            'Source("heatmap", "candidates", size=33)',
            "reads 33 candidates, and a map of centres gives 32 at most",
        ),
        ("settings: Settings,", "settings: dict,", "must be annotated with the class of its settings"),
        ("    return Recipe(", "    return dict(", "gave a dict"),
        ('Source("heatmap")', 'Source("heatmap", member="reviewer")', "asks 'reviewer'"),
        ('Source("heatmap")', 'Source("heatmap", "patch", size=4)', "4 cells. Use an odd number"),
        ('Source("heatmap")', 'Source("heatmap", "feature")', "its size must be at least 1"),
        (
            'Source("heatmap")',
            'Source("heatmap", "center", states_error=True)',
            "states errors and is the center of 'teacher'",
        ),
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


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        (
            "def recipe(",
            "def recipe(:",
            "fails while it is loaded: SyntaxError in {file}, line {line}: invalid",
        ),
        ("import Newest", "import Nwest", "ImportError in {file}, line {line}: cannot import name 'Nwest'"),
        ("class Settings", "FLOOR = 'a' + 1\n\nclass Settings", "TypeError in {file}, line {line}: "),
        ("floor: float = 0.1", "floor: float = Field(0.1)", "NameError in {file}, line {line}: name 'Field'"),
        ("return Recipe(", "return Recipe(step=1,", "composed: TypeError in {file}, line {line}: Recipe"),
        (
            "return Recipe(",
            "return Settings(floor='high'), dict(",
            "composed: ValidationError in {file}, line {line}: 1 validation error for Settings floor Input should be",
        ),
        ("settings: Settings", "settings: 'Setings'", "NameError in {file}: name 'Setings' is not defined"),
    ],
)
def test_a_fault_in_the_file_is_one_sentence_that_says_where(idea, before, after, words):
    assert before in IDEA
    idea.write_text(IDEA.replace(before, after))
    line = IDEA.partition(before)[0].count("\n") + 1
    with pytest.raises(ConfigError, match=re.escape(words.format(file=idea, line=line))) as told:
        find_method(f"{idea}:recipe").build({}, TASK)
    assert told.value.__cause__ is not None, "the traceback is kept"
    assert "\n" not in str(told.value)


def test_a_fault_in_a_module_is_one_too(idea, monkeypatch):
    (idea.parent / "wrong_idea.py").write_text("floor = 1 / 0")
    monkeypatch.syspath_prepend(idea.parent)
    with pytest.raises(ConfigError, match="fails while it is imported: ZeroDivisionError in wrong_idea: div"):
        find_method("wrong_idea:recipe")


def test_a_fault_of_this_packages_own_keeps_its_traceback(monkeypatch):
    from tsal_dist.recipes import supervised

    monkeypatch.setattr(supervised, "Plain", None)
    with pytest.raises(TypeError):
        find_method("supervised").build({}, TASK)


def test_two_files_of_one_name_are_two_modules(idea):
    (idea.parent / "elsewhere").mkdir()
    other = idea.parent / "elsewhere" / idea.name
    other.write_text(IDEA.replace("Peaks above a floor", "Something else"))
    first, second = find_method(f"{idea}:recipe"), find_method(f"{other}:recipe")
    assert first.line.startswith("Peaks above a floor")
    assert second.line.startswith("Something else")


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
@pytest.mark.parametrize(("flags", "checks"), [(["--quick"], 17), ([], 22)], ids=["quick", "with training"])
def test_its_soundness_is_told_by_one_command(idea, flags, checks):
    done = subprocess.run(
        [sys.executable, "-m", "tsal_dist.recipes.conformance", f"{idea}:recipe", "floor=0.2", *flags],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert re.search(rf"\b{checks} passed", done.stdout), done.stdout


def test_the_list_of_methods_names_each_with_its_bytes():
    done = subprocess.run(
        [sys.executable, "-m", "tsal_dist.recipes"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    for name in PACKAGED:
        assert name in done.stdout
    assert "2.4 kB per label of 68 points" in done.stdout
    assert "method.teacher is empty" in done.stdout
