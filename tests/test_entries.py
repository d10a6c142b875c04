"""The three commands as a user meets them: quick help, one clear line for a mistake, and what they leave behind."""

import csv
import dataclasses
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet
import pytest

from tests.roles.short_runs import Faces, pack_faces, train, words
from tsal_dist.errors import CheckpointError, ConfigError, ExitCode

ROOT = Path(__file__).parents[1]
ENTRIES = ("train", "evaluate", "predict")
HEAVY = ("torch", "cv2", "pyarrow", "pandas")


def run(*argv, code=None):
    """A command in an interpreter of its own; a traceback is never an answer."""
    done = subprocess.run([sys.executable, *argv], cwd=ROOT, capture_output=True, text=True, timeout=240)
    assert "Traceback" not in done.stderr, done.stderr
    assert code is None or done.returncode == code, done.stderr
    return done


def entry(name, *argv, code=None):
    return run("-m", f"tsal_dist.{name}", *argv, code=code)


def refusal(name, *argv):
    """The one line that a user's mistake is answered with."""
    done = entry(name, *argv, code=ExitCode.WRONG_CONFIG)
    log, _, line = done.stderr.strip().rpartition("error: ")
    assert "\n" not in line, done.stderr
    assert not [said for said in log.splitlines() if " I " not in said], done.stderr
    return line


# What was imported, and with which exit code the command ended.
WATCHED = """
import runpy, sys
sys.argv = {argv!r}
try:
    runpy.run_module({module!r}, run_name="__main__")
except SystemExit as leaving:
    code = leaving.code
print("IMPORTED", code, [name for name in {heavy!r} if name in sys.modules])
"""


def imported_by(name, *argv):
    module = f"tsal_dist.{name}"
    done = run("-c", WATCHED.format(argv=[name, *argv], module=module, heavy=HEAVY), code=0)
    words = done.stdout.splitlines()[-1].split(maxsplit=2)
    assert words[:2] == ["IMPORTED", "0"]
    return words[2], done.stdout


@pytest.mark.parametrize("name", ENTRIES)
def test_help_imports_nothing_heavy(name):
    heavy, text = imported_by(name, "--help")
    assert heavy == "[]"
    assert f"usage: python -m tsal_dist.{name}" in text


def test_a_dry_run_starts_nothing(tmp_path):
    _, text = imported_by(
        "train",
        "--config",
        "configs/demo.toml",
        "--dry-run",
        "runtime.topology=inline",
        f"run.dir={tmp_path}/run",
    )
    assert '"name": "tsal"' in text
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("argv", "answer"),
    [
        (
            ["--config", "configs/dmeo.toml"],
            "no config file 'configs/dmeo.toml'. Did you mean 'configs/demo.toml'?",
        ),
        (["train.lr=1"], "no setting 'train.lr'. Did you mean 'train.optim.lr'?"),
        (["train.steps=many"], "train.steps = 'many' is not valid"),
        (["train.steps"], "'train.steps' is not of the form section.key=value"),
        (["runtime.topology=split"], "process"),
        (["runtime.topology=inline"], "data.labelled is empty"),
        (
            ["runtime.topology=inline", "data.labelled=no/such", "data.unlabelled=no/such"],
            "data.labelled names 'no/such'",
        ),
    ],
)
def test_train_answers_a_mistake_in_one_line(tmp_path, argv, answer):
    assert answer in refusal("train", *argv, f"run.dir={tmp_path}/run")


@pytest.mark.parametrize(
    ("name", "argv", "answer"),
    [
        ("evaluate", ["--run", "no/such/run"], "holds no run.json"),
        ("predict", ["--run", "no/such/run", "--video", "setup.py"], "Nothing would be written"),
        ("predict", ["--run", "r", "--video", "v", "--table", "t.xlsx"], "must end in .parquet or .csv"),
        (
            "predict",
            ["--run", "r", "--video", "v", "--table", "t.csv", "--frames", "9"],
            "must be FIRST:LAST",
        ),
        (
            "predict",
            ["--run", "r", "--video", "v", "--table", "t.csv", "--first-box", "1", "2", "1", "9"],
            "has no area",
        ),
        ("predict", ["--run", "r", "--video", "no/such.mp4", "--table", "t.csv"], "There is no no/such.mp4"),
        (
            "predict",
            ["--weights", "w", "--video", "0", "--table", "t.csv"],
            "There is no file w. Name one of weights",
        ),
        (
            "predict",
            ["--weights", "setup.py", "--video", "0", "--table", "t.csv"],
            "does not say which detector and landmarks it belongs to. Name the config (--config)",
        ),
    ],
)
def test_the_others_answer_a_mistake_in_one_line(name, argv, answer):
    assert answer in refusal(name, *argv)


@pytest.mark.ranks
def test_under_torchrun_the_useful_line_comes_last(tmp_path):
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--local-addr=127.0.0.1"]
    words = ["-m", "tsal_dist.train", "train.optim.lr=much", f"run.dir={tmp_path}/run"]
    done = subprocess.run(
        [*launcher, "--nproc-per-node=2", *words], cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    assert done.returncode != 0
    told = [line for line in done.stderr.splitlines() if line.strip("= ")]
    assert "error: train.optim.lr = 'much' is not valid" in told[-1]


@pytest.mark.slow
def test_a_batch_that_no_machine_holds_is_refused_before_any_of_it_is_taken(faces, tmp_path):
    line = refusal("train", *words(faces, tmp_path / "run", "train.labelled_batch=100000"))
    assert "train.labelled_batch is 100000 and data.labelled holds 8 labelled frames" in line
    done = entry(
        "train",
        "--config",
        "configs/demo.toml",
        "--dry-run",
        "runtime.topology=inline",
        "train.labelled_batch=8000",
    )
    memory = json.loads(done.stdout)["memory_per_student"]
    assert float(memory.split()[0]) > 1
    assert "backward pass" in memory


def test_who_interrupts_a_command_is_told_how_to_go_on(capsys):
    from tsal_dist.cli import INTERRUPTED, run_entry

    def main(argv):
        raise KeyboardInterrupt

    assert run_entry(main, [], way_back="The same command goes on.") == INTERRUPTED
    assert capsys.readouterr().err == "interrupted. The same command goes on.\n"


@pytest.fixture(scope="module")
def faces(tmp_path_factory) -> Faces:
    return pack_faces(tmp_path_factory.mktemp("faces"))


@pytest.fixture(scope="module")
def finished(faces, tmp_path_factory):
    """A run that has reached its last step."""
    return train(faces, tmp_path_factory.mktemp("finished") / "run")


@pytest.mark.slow
def test_a_run_imports_no_pandas(faces, tmp_path):
    """Which is there, as Ray wants it, and which pyarrow takes wherever it can: half a second of each process."""
    heavy, _ = imported_by("train", *words(faces, tmp_path / "run"))
    assert heavy == "['torch', 'cv2', 'pyarrow']"


def test_a_second_start_needs_a_decision(faces, finished):
    assert "already holds a run" in refusal("train", *words(faces, finished))


def test_resuming_nothing_is_a_mistake(tmp_path):
    """A name that was typed wrong must not become a new run."""
    assert f"{tmp_path}/rnu holds no run.json" in refusal("train", "--resume", f"{tmp_path}/rnu")
    assert "holds no run.json" in refusal(
        "train", "--resume", "runtime.topology=inline", f"run.dir={tmp_path}/rnu"
    )
    assert not (tmp_path / "rnu").exists()


@pytest.mark.slow
def test_a_run_goes_on_by_its_folder_alone_and_for_longer(finished, tmp_path):
    import shutil

    longer = tmp_path / "moved"
    shutil.copytree(finished, longer)
    entry("train", "--resume", str(longer), code=0)
    done = entry("train", "--resume", str(longer), "train.steps=12", code=0)
    assert "train.steps was 8 and is 12 now" in done.stderr
    assert (longer / "checkpoints" / "student" / "step_12" / "COMMIT").is_file()
    assert json.loads((longer / "run.json").read_text())["config"]["train"]["steps"] == 12
    line = refusal("train", "--resume", str(longer), "train.steps=9")
    assert "was started with train.steps = 12, and now it is 9" in line


def test_another_setting_is_refused_by_name(faces, finished):
    line = refusal("train", "--resume", *words(faces, finished, "train.optim.lr=0.5"))
    assert "train.optim.lr" in line


def test_training_footage_as_validation_is_refused(faces, tmp_path):
    line = refusal("train", *words(faces, tmp_path / "run", f"data.validation={faces.train}"))
    assert "data.validation shares" in line


def test_evaluate_prints_a_table_and_leaves_numbers_and_pictures(finished, tmp_path):
    out, plots = tmp_path / "numbers.json", tmp_path / "plots"
    done = entry("evaluate", "--run", str(finished), "--json", str(out), "--plots", str(plots), code=0)
    assert "NME %" in done.stdout
    assert "16 frames" in done.stdout
    numbers = json.loads(out.read_text())
    assert len(numbers["models"]) == 2
    for role, found in zip(("student", "teacher"), numbers["models"].values(), strict=True):
        assert 0 < found["nme"] < 5, role
        assert np.mean(found["nme_per_point"]) == pytest.approx(found["nme"], rel=0.01)
    pictures = [path for path in plots.iterdir() if str(path) in done.stdout]
    assert len(pictures) >= 4, "error curves, landmarks, worst and best frames"
    assert all(picture.stat().st_size > 1000 for picture in pictures)


def test_a_teacher_that_was_brought_along_is_left_out_and_said(finished, monkeypatch, capsys):
    """Another net than the run's detector: only the run that trained it knows how to build it."""
    from tsal_dist.checkpoint.store import Checkpoints
    from tsal_dist.evaluate import main

    whole = Checkpoints.load

    def load(self, step):
        loaded = whole(self, step)
        return dataclasses.replace(loaded, state={**loaded.state, "other_net": "version" in loaded.state})

    monkeypatch.setattr(Checkpoints, "load", load)
    assert main(["--run", str(finished)]) == 0
    said = capsys.readouterr()
    assert "student step" in said.out
    assert "teacher step" not in said.out
    assert "left out: The teacher of" in said.err
    with pytest.raises(ConfigError, match="another net than the run's own lite"):
        main(["--run", str(finished), "--role", "teacher"])


def test_a_teacher_that_has_saved_nothing_is_left_out_unless_it_is_asked_for(
    faces, finished, tmp_path, capsys
):
    """A run may be over before its teacher has come to anything."""
    from tsal_dist.evaluate import main

    run_dir = tmp_path / "run"
    shutil.copytree(finished, run_dir)
    shutil.rmtree(run_dir / "checkpoints" / "teacher")
    told = ["--run", str(run_dir), "--shards", faces.held_out]
    assert main(told) == 0
    said = capsys.readouterr()
    assert "student step 8" in said.out
    assert "left out: " in said.err
    assert "teacher has no finished checkpoint yet" in said.err
    with pytest.raises(CheckpointError, match="teacher has no finished checkpoint yet"):
        main([*told, "--role", "teacher"])


def test_evaluate_refuses_another_layout(finished, tmp_path):
    from tests.pack.footage import make_image
    from tests.pack.packing import pack_all

    make_image(tmp_path / "face.png")
    (tmp_path / "faces.csv").write_text("path,x1,y1,x2,y2,p0x,p0y,p1x,p1y\nface.png,5,5,40,40,10,10,30,30\n")
    pack_all(tmp_path, lists=[tmp_path / "faces.csv"], split="two")
    line = refusal("evaluate", "--run", str(finished), "--shards", str(tmp_path / "two"))
    assert "has 2 landmarks" in line
    assert "was trained for 68" in line
    (tmp_path / "faces.csv").write_text("path,x1,y1,x2,y2\nface.png,5,5,40,40\n")
    pack_all(tmp_path / "out", lists=[tmp_path / "faces.csv"], split="none")
    line = refusal("evaluate", "--run", str(finished), "--shards", str(tmp_path / "out" / "none"))
    assert "none holds no labels to measure by" in line


@pytest.mark.slow
def test_predict_leaves_an_overlay_and_a_table(faces, finished, tmp_path):
    import cv2

    video, out, table = faces.videos / "0001" / "vid.avi", tmp_path / "o.mp4", tmp_path / "t.parquet"
    argv = ["--run", str(finished), "--video", str(video), "--first-box", "10", "10", "70", "70"]
    entry("predict", *argv, "--out", str(out), "--table", str(table), code=0)
    rows = pyarrow.parquet.read_table(table).to_pylist()
    assert [row["frame"] for row in rows] == list(range(1, 9))
    assert [rows[0][side] for side in ("x1", "y1", "x2", "y2")] == [10, 10, 70, 70]
    capture = cv2.VideoCapture(str(out))
    assert int(capture.get(cv2.CAP_PROP_FRAME_COUNT)) == 8
    capture.release()


@pytest.mark.slow
def test_predict_takes_faces_that_blazeface_finds(faces, finished, tmp_path):
    """Eight steps make no detector, so nothing is said of what is found: a row per frame, and more for more subjects."""
    out, table = tmp_path / "o.mp4", tmp_path / "t.csv"
    argv = ["--run", str(finished), "--video", str(faces.videos / "0001" / "vid.avi")]
    how = ["--subjects", "many", "--face-model", "blazeface", "--threshold", "0.01"]
    done = entry("predict", *argv, *how, "--out", str(out), "--table", str(table), code=0)
    assert re.search(r"\d subjects? in \d of 8 frames", done.stderr)
    with open(table, newline="") as file:
        rows = list(csv.DictReader(file))
    assert {int(row["frame"]) for row in rows} == set(range(1, 9))
    assert all(bool(row["subject"]) == (row["found"] == "1") for row in rows)
    assert out.stat().st_size > 1000


@pytest.mark.slow
def test_an_exported_file_predicts_what_its_run_predicts(faces, finished, tmp_path):
    weights, tables = tmp_path / "w.safetensors", []
    done = run("tools/export_weights.py", "--run", str(finished), "--out", str(weights), code=0)
    assert "student step 8" in done.stdout
    assert "differs by 0 " in done.stdout
    for number, source in enumerate((["--run", str(finished)], ["--weights", str(weights)])):
        table = tmp_path / f"{number}.parquet"
        video = str(faces.videos / "0002" / "vid.avi")
        entry(
            "predict",
            *source,
            "--video",
            video,
            "--first-box",
            "10",
            "10",
            "70",
            "70",
            "--table",
            str(table),
            code=0,
        )
        tables.append(pyarrow.parquet.read_table(table))
    assert tables[0].equals(tables[1])


@pytest.mark.slow
def test_a_file_with_everything_inside_predicts_what_its_run_predicts(faces, finished, tmp_path):
    pytest.importorskip("onnxruntime")
    model, tables = tmp_path / "whole.onnx", []
    done = run("tools/export_weights.py", "--run", str(finished), "--whole", "--out", str(model), code=0)
    assert re.search(r"student step 8, [0-9.]+ MB, its points differ by", done.stdout)
    sight = ["--video", str(faces.videos / "0002" / "vid.avi"), "--first-box", "10", "10", "70", "70"]
    for number, source in enumerate((["--run", str(finished)], ["--model", str(model)])):
        table = tmp_path / f"{number}.parquet"
        entry("predict", *source, *sight, "--table", str(table), code=0)
        tables.append(pyarrow.parquet.read_table(table).drop_columns("path"))
    ours, theirs = tables
    assert ours.column_names == theirs.column_names
    assert ours["found"].equals(theirs["found"])
    assert ours["found"][0].as_py(), "its box is given"
    # Eight steps leave maps with two peaks of one height, between which the last bit decides: not every point.
    places = [name for name in ours.column_names if re.fullmatch(r"p\d+[xy]", name)]
    off = [abs(ours[name][0].as_py() - theirs[name][0].as_py()) for name in places]
    assert np.quantile(off, 0.9) < 0.5, off


def test_from_python_it_is_two_lines(faces, finished, tmp_path):
    import tsal_dist as tsal

    found = tsal.open(finished).predict(str(faces.videos / "0001" / "vid.avi"), smooth="offline")
    assert found.table.num_rows == 8
    assert "of 8 frames" in found.summary()
    found.draw(str(tmp_path / "o.mp4"))
    assert (tmp_path / "o.mp4").stat().st_size > 1000
    with pytest.raises(ConfigError, match="role is 'Teacher'; it must be student or teacher"):
        tsal.open(finished, role="Teacher")
