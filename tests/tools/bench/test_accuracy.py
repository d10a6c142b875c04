"""The whole of the accuracy bench once, tiny; then again from what it kept, and a part of it from a lost cell."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.roles.short_runs import OVERRIDES, pack_faces
from tools.bench.accuracy.__main__ import build_parser, methods_on_few, parse_variant
from tools.bench.accuracy.cells import Cell
from tools.bench.accuracy.data_set import DataSet
from tools.bench.accuracy.methods import BASELINE, choose_methods, list_methods
from tools.bench.accuracy.own import parse_own
from tsal_dist.errors import ConfigError

ROOT = Path(__file__).parents[3]
TINY = [word for word in OVERRIDES if not word.startswith(("train.steps", "runtime.topology", "model.num"))]


def bench(*argv):
    words = [sys.executable, "-m", "tools.bench.accuracy", *map(str, argv)]
    return subprocess.run(words, cwd=ROOT, capture_output=True, text=True)


def test_labels_alone_are_always_trained_and_come_first():
    assert list_methods()[0] == BASELINE
    assert choose_methods(None) == list_methods()
    assert choose_methods(["tsal", "mine.py:recipe"]) == (BASELINE, "tsal", "mine.py:recipe")
    with pytest.raises(ConfigError, match=r"'magic'; the project has supervised"):
        choose_methods(["magic"])
    with pytest.raises(ConfigError, match=r"took the setting 'train.steps=4' for a name"):
        choose_methods(["tsal", "train.steps=4"])


def test_a_variant_has_a_name_and_settings():
    variant = parse_variant("no track: train.a=1 train.b=['x','y']")
    assert (variant.name, variant.settings) == ("no track", ("train.a=1", "train.b=['x','y']"))
    for text in ("no track", "name:", ": train.a=1"):
        with pytest.raises(ConfigError, match="it must be"):
            parse_variant(text)


def test_a_quick_round_has_methods_at_the_fewest_labels_only():
    data = DataSet("faces", ("5", "all"), (), steps=1, repeats=1)
    cells = [Cell("faces", amount, method, 0, (), "", "", "") for amount in data.amounts for method in ("supervised", "tsal")]  # fmt: skip
    kept = [(cell.amount, cell.method) for cell in methods_on_few(cells, [data])]
    assert kept == [("5", "supervised"), ("5", "tsal"), ("all", "supervised")]


def test_words_may_stand_in_any_order():
    args = build_parser().parse_intermixed_args(["model.crop_px=64", "--jobs", "1", "train.optim.lr=0.1"])
    assert args.overrides == ["model.crop_px=64", "train.optim.lr=0.1"]


@pytest.fixture(scope="module")
def faces(tmp_path_factory):
    return pack_faces(tmp_path_factory.mktemp("faces"))


def test_shards_of_ones_own_say_how_many_labels_they_have(faces):
    data = parse_own(
        f"mine labelled={faces.train} unlabelled={faces.train} test={faces.held_out} data.normalizer=face_size",
        steps=7,
        repeats=2,
    )
    assert data.name == "mine"
    assert data.amounts == ("8",), "every fourth frame of four videos of eight"
    assert data.settings == ("data.normalizer=face_size",)
    assert data.fold(0) == data.fold(1)
    with pytest.raises(ConfigError, match="equally many labels"):
        parse_own(f"mine labelled={faces.train},{faces.train} unlabelled=x test=y", 7, 2)
    with pytest.raises(ConfigError, match="it must be 'NAME labelled="):
        parse_own(f"mine labelled={faces.train} unlabelled=x", 7, 2)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_tiny_bench_runs_and_reads_back_what_it_has(faces, tmp_path):
    own = f"mine labelled={faces.train} unlabelled={faces.train} test={faces.held_out} video={faces.held_out}"
    argv = ["--cells", tmp_path, "--only-shards", "--shards", own, "--methods", "tsal", "--repeats", 1]
    argv += ["--steps", 4, "--jobs", 1, *TINY]
    first = bench(*argv)
    assert first.returncode == 0, first.stderr
    lines = [line for line in first.stdout.splitlines() if line.startswith("|")]
    assert [line.split("|")[2].strip() for line in lines[2:]] == ["labels alone", "tsal"]
    assert (tmp_path / "table.md").read_text().strip() == first.stdout.strip()
    assert not any((tmp_path / "runs").iterdir()), "runs go once they are measured"

    # One cell was lost on the way: only it is trained again, and to the same numbers, save for its time.
    (kept,) = tmp_path.glob("mine_8_tsal_0_*.json")
    (other,) = tmp_path.glob("mine_8_supervised_0_*.json")
    before, untouched = json.loads(kept.read_text())["result"], other.stat().st_mtime_ns
    assert 0 < before["test"] < 10
    assert before["teacher"] is not None
    kept.unlink()
    again = bench(*argv)
    assert "1 cells are there, 1 to train" in again.stderr
    after = json.loads(kept.read_text())["result"]
    assert {**after, "seconds": 0} == {**before, "seconds": 0}
    assert other.stat().st_mtime_ns == untouched


@pytest.mark.slow
def test_a_cell_that_cannot_be_trained_is_said_and_shown_as_missing(faces, tmp_path):
    own = f"mine labelled={faces.train} unlabelled={faces.train} test={faces.held_out}"
    argv = ["--cells", tmp_path, "--only-shards", "--shards", own, "--methods", BASELINE, "--repeats", 1]
    broken = bench(*argv, "train.optim.lr=-1")
    assert broken.returncode == 1
    assert "mine, 8 labels, supervised, repetition 0: training mine_8_supervised_0_" in broken.stderr
    assert "train.optim.lr" in broken.stderr
    assert "0 of 1 cells are there" in broken.stdout
