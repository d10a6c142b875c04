"""What a sweep leaves: a ranking, a table, a config that is the trial's own, pictures with something in them."""

import json

import pytest
from rich.console import Console

from launch.sweep.results import best_toml, report_sweep
from launch.sweep.states import Curves, Metric, TrialState
from launch.sweep.table import draw_trials, format_line, show_time
from launch.sweep.trial_plan import plan_sweep
from tests.launch.conftest import ROOT
from tsal_dist.config import load_config
from tsal_dist.config.load import to_override

NME = Metric("validation/nme", "min")
SPACE = """
train.optim.lr = { loguniform = [1e-4, 1e-1] }
method.absorb = { choice = ["queue", "ema"] }
method.use = { choice = [["heatmap"], ["heatmap", "track"]] }
data.hard.flip_prob = { uniform = [0, 1] }
method.views = { randint = [1, 3] }
"""
VALUES = {
    "train.optim.lr": 1.2345678901234567e-4,
    "method.absorb": "ema",
    "method.use": ["heatmap", "track"],
    "data.hard.flip_prob": 0.0,
    "method.views": 2,
}


def state(name, best, status="done", step=40, **more):
    fields = {"values": VALUES, "value": best, "seconds": 61.0, "run": f"/none/{name}", **more}
    return TrialState(id=name, status=status, step=step, best=best, **fields)


@pytest.fixture
def plan(tmp_path):
    file = tmp_path / "tiny.toml"
    file.write_text(f"[settings]\ntrain.steps = 200\n[space]\n{SPACE}")
    return plan_sweep([str(ROOT / "configs/demo.toml")], [], file, {}, tmp_path)


def test_the_best_comes_first_and_what_has_no_number_last():
    trials = [state("a", 0.3), state("b", None), state("c", 0.1), state("d", 0.2)]
    assert [one.id for one in NME.rank(trials)] == ["c", "d", "a", "b"]
    assert [one.id for one in Metric("speed", "max").rank(trials)] == ["a", "d", "c", "b"]
    assert NME.best([0.3, float("inf"), 0.2]) == 0.2
    assert NME.best([float("inf")]) is None


def test_the_best_config_is_the_trials_own(plan, tmp_path):
    path = tmp_path / "best.toml"
    path.write_text(best_toml(plan, state("c", 0.1), NME))
    configs = load_config([path]), plan.trial_config(VALUES, tmp_path / "run")
    assert configs[0].run.name == "tiny-best"
    for said in (True, False):  # what was said as well: it does not give way to what shards say
        found, trial = (config.model_dump(mode="json", exclude_unset=said) for config in configs)
        assert found.pop("run") != trial.pop("run")
        assert found == trial
    assert found["train"]["optim"]["lr"] == VALUES["train.optim.lr"]
    assert "10.00 %" in path.read_text()
    assert "checkpoints 2 times" in best_toml(plan, state("c", 0.1, clones=2), NME)


def test_the_best_config_is_a_file_whatever_the_shards_are_called(tmp_path):
    file, odd = tmp_path / "tiny.toml", 'shards/😀\x7f "x"'
    file.write_text(f"[space]\n{SPACE}")
    words = [to_override("data.unlabelled", [odd])]
    plan = plan_sweep([str(ROOT / "configs/demo.toml")], words, file, {}, tmp_path)
    (tmp_path / "best.toml").write_text(best_toml(plan, state("c", 0.1), NME))
    assert load_config([tmp_path / "best.toml"]).data.unlabelled == (odd,)


def test_a_report_has_everything(plan, tmp_path):
    trials = []
    for number, last in enumerate((0.3, 0.1, float("inf"))):
        run = tmp_path / f"run_{number}"
        (run / "metrics").mkdir(parents=True)
        points = [(0, 0.01), (20, 0.5), (40, last)]  # what it began from is no try
        lines = [{"step": step, "validation/nme": value if value < 9 else None} for step, value in points]
        (run / "metrics/student.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
        best = NME.best([value for _, value in points[1:]])
        trials.append(state(str(number), best, run=str(run)))
    console = Console(record=True, width=160)
    best = report_sweep(plan, [*trials, state("x", None, "failed", error="it broke")], console)
    assert best == plan.folder / "report/best.toml"
    page = console.export_text()
    assert page == (plan.folder / "report/trials.txt").read_text()
    rows = [line.split() for line in page.splitlines()[1:]]
    assert [row[1] for row in rows] == ["1", "0", "2", "x"]
    assert rows[0][2:8] == ["done", "40/200", "10.00", "%", "10.00", "%"]
    assert [one["id"] for one in json.loads((plan.folder / "report/trials.json").read_text())] == [
        "1",
        "0",
        "2",
        "x",
    ]
    assert Curves("validation/nme").of(trials[2].run) == [(20, 0.5)]
    for name in ("learning_curves.png", "parallel_coordinates.png"):
        assert (plan.folder / "report" / name).stat().st_size > 10_000


def test_a_sweep_without_a_number_has_a_table_and_no_best(plan):
    assert report_sweep(plan, [state("x", None, "failed")], Console(record=True, width=120)) is None
    assert (plan.folder / "report/trials.txt").exists()


def test_a_log_line_says_how_far_and_how_good():
    trials = [state("a", 0.3, "runs", 17), state("b", 0.2), state("c", None, "failed")]
    assert format_line(trials, NME, 9) == (
        "3 of 9 trials: 1 run, 1 done, 1 failed; best 20.00 % (b); a step 17 30.00 %"
    )
    assert format_line([], NME, 9) == "0 of 9 trials: none runs yet"


def test_the_table_shows_those_that_run_first_and_not_hundreds():
    trials = [state(f"t{number}", 0.5) for number in range(50)] + [state("last", 0.3, "runs", failures=1)]
    console = Console(record=True, width=160)
    console.print(draw_trials(trials, NME, 40))
    lines = console.export_text().splitlines()
    assert "last" in lines[1]
    assert "retried 1 x" in lines[1]
    assert "and 21 more" in lines[-1]
    assert [show_time(seconds) for seconds in (5, 65, 3725)] == ["0:05", "1:05", "1:02:05"]
