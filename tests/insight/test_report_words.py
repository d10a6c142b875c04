"""What a report says of the frames that it is measured on: held out, trained on, or not there; and a jitter that is none."""

import html
import json
import shutil
from dataclasses import replace

import fsspec
import pytest

from tests.insight.test_lean import found_with
from tests.roles.short_runs import short_config
from tools.report import build_parser
from tsal_dist.data.shard_set import open_shards
from tsal_dist.errors import ConfigError
from tsal_dist.evaluate import main as evaluate
from tsal_dist.inference.trained import NothingSaved
from tsal_dist.insight.accuracy_page import _best, open_with
from tsal_dist.insight.measured import Model, was_trained_on
from tsal_dist.insight.report import _limits_of_scores, build_report
from tsal_dist.run import load_run, open_run, pin_shards


def begin(faces, folder, *words):
    return open_run(short_config(faces, folder, *words), "new")


def test_shards_are_known_by_what_is_in_them(faces, tmp_path):
    shutil.copytree(faces.train, tmp_path / "copy")
    run = begin(faces, tmp_path / "run")
    for url, known in ((faces.train, True), (str(tmp_path / "copy"), True), (faces.held_out, False)):
        assert was_trained_on(run, open_shards([url])) is known


def test_unlabelled_footage_counts_where_the_method_learns_from_it(faces, tmp_path):
    both = (f"data.labelled={faces.held_out}", f"data.unlabelled={faces.train}", "data.validation=")
    for method, known in (("tsal", True), ("supervised", False)):
        run = begin(faces, tmp_path / method, *both, f"method.name={method}")
        assert was_trained_on(run, open_shards([faces.train])) is known


def test_training_shards_that_have_gone_are_known_by_what_the_run_wrote_down(faces, tmp_path):
    run = begin(faces, tmp_path / "run", f"data.labelled={tmp_path / 'gone'}", "method.name=supervised")
    assert was_trained_on(run, open_shards([faces.train])) is None, "nothing was written down yet"
    pin_shards(run.dir, {"labelled": open_shards([faces.train]).fingerprint, "validation": ""})
    assert was_trained_on(run, open_shards([faces.train])) is True
    assert was_trained_on(run, open_shards([faces.held_out, faces.train])) is True
    assert was_trained_on(run, open_shards([faces.held_out])) is False


def test_training_shards_of_an_object_store_are_known_as_local_ones_are(faces, tmp_path):
    url = f"memory://words{tmp_path}/train"
    fsspec.filesystem("memory").put(faces.train, url, recursive=True)
    run = begin(faces, tmp_path / "run", f"data.labelled={url}", "method.name=supervised")
    assert was_trained_on(run, open_shards([faces.train])) is None, "the store was not asked"
    assert was_trained_on(run, open_shards([url])) is True, "the store is within reach"
    pin_shards(run.dir, {"labelled": open_shards([url]).fingerprint, "validation": ""})
    assert was_trained_on(run, open_shards([faces.train])) is True
    assert was_trained_on(run, open_shards([faces.held_out])) is False


def test_one_of_several_folders_is_looked_for_in_all_of_them(faces, tmp_path):
    url = f"memory://several{tmp_path}/train"
    fsspec.filesystem("memory").put(faces.train, url, recursive=True)
    several = f'data.labelled=["{url}", "memory://several{tmp_path}/gone"]'
    run = begin(faces, tmp_path / "run", several, "method.name=supervised")
    assert was_trained_on(run, open_shards([url])) is True, "though the other has gone"
    held_out = open_shards([faces.held_out])
    assert was_trained_on(run, held_out) is None, "they may be in the one that has gone"
    pin_shards(run.dir, {"labelled": "0" * 64, "validation": held_out.fingerprint})
    assert was_trained_on(run, held_out) is False, "they were held out"


def test_nobody_is_told_what_nobody_knows():
    model = Model(
        *("run", "student", "run student", 8, 8, found_with([0.0, 0.0]), None, (), (), ()),
        mirrored=False,
        trained_on=None,
        chosen_on=False,
        average_K2=None,
    )
    vars(model)["few"] = []
    assert "frames that it may have been trained on" in open_with([model])
    assert "nobody knows whether the shards named above are among it" in _limits_of_scores([model])[0]
    known = replace(model, trained_on=False)
    vars(known)["few"] = []
    assert "never trained on" in open_with([known])
    assert "held-out shards" in _limits_of_scores([known])[0]


def test_held_out_shards_that_are_not_there_are_named(faces, tmp_path, monkeypatch):
    """A page may be made long after its shards have gone: what does not need them is told all the same."""
    begin(faces, tmp_path / "run", "data.validation=shards/val")
    monkeypatch.chdir(tmp_path)
    text = html.unescape(build_report([tmp_path / "run"]))
    assert f"data.validation names 'shards/val', and there is no such folder in {tmp_path}." in text
    assert "names no validation shards" not in text
    assert 'id="training"' in text


def test_a_run_that_has_saved_nothing_is_not_said_to_have_no_held_out_frames(faces, tmp_path):
    begin(faces, tmp_path / "run")
    text = build_report([tmp_path / "run"])
    assert "nothing was saved yet that could be measured" in text
    assert "names no validation shards" not in text


@pytest.mark.slow
def test_frames_that_were_trained_on_are_not_called_held_out(faces, run_of):
    run = run_of("supervised")
    text = html.unescape(build_report([run], [faces.train]))
    assert "On 8 frames that it was trained on, the student's points lie" in text
    assert "8 frames that run trained on, of 4 videos" in text
    assert "Held-out footage: run trained on the shards named above" in text
    for claim in ("never trained on", "held-out frames of", "held-out shards", "A fresh test set"):
        assert claim not in text
    held_out = html.unescape(build_report([run]))
    assert "On 16 frames that it never trained on, the student's points lie" in held_out
    assert "16 held-out frames of 2 videos" in held_out
    assert "trained on the shards" not in held_out


def test_what_is_not_a_number_is_not_the_best():
    assert _best(["0.3", "0.2", "0.4"], more_is_better=False) == 1
    assert _best(["0.3", "0.2", "0.4"], more_is_better=True) == 2
    for none in (["0.2", "0.2"], ["0.2"], ["-", "-"], ["-", "0.2", "0.3"], ["0.2", "-"]):
        assert _best(none, more_is_better=False) is None


def test_a_table_has_a_dash_for_a_jitter_that_is_none(capsys):
    from tsal_dist.evaluate import _numbers, _print_table
    from tsal_dist.inference.decoding import PLAIN

    found = {"run student step 8": found_with([0.0, 0.0])}
    _print_table(found, "shards/val", {})
    said = capsys.readouterr().out
    assert "nan" not in said
    (row,) = (line for line in said.splitlines() if "run student" in line)
    assert row.rstrip(" │|").split()[-1] == "-"
    numbers = json.dumps(_numbers(found, [], (), PLAIN), allow_nan=False)
    assert json.loads(numbers)["models"]["run student step 8"]["jitter"] is None


def test_evaluate_looks_where_the_run_was_started(faces, tmp_path, monkeypatch):
    """There it finds the shards, and then that nothing was saved yet."""
    shutil.copytree(faces.held_out, tmp_path / "project" / "val")
    monkeypatch.chdir(tmp_path / "project")
    begin(faces, "runs/mine", "data.validation=val")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(NothingSaved, match="has no finished checkpoint yet"):
        evaluate(["--run", "project/runs/mine"])
    assert load_run("project/runs/mine").config.data.validation == ("val",)
    (tmp_path / "project" / "val").rename(tmp_path / "project" / "gone")
    with pytest.raises(
        ConfigError, match=r"data\.validation names 'val', and there is no such folder .* run was started in"
    ):
        evaluate(["--run", "project/runs/mine"])


def test_shards_may_be_named_one_flag_at_a_time():
    """As for every other verb; all but the last were left out without a word."""
    assert build_parser().parse_args(["run", "--shards", "a", "--shards", "b", "c"]).shards == ["a", "b", "c"]
