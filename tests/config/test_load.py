"""Files merge left to right, overrides win, and every mistake is one clear sentence."""

import json
import re
from datetime import date
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tsal_dist.config import RunConfig, load_config
from tsal_dist.config.load import all_keys, build_config, parse_value, read_toml, to_override
from tsal_dist.config.moved import MOVED
from tsal_dist.errors import ConfigError


def write(folder, name, text):
    path = folder / name
    path.write_text(text)
    return path


def test_later_files_win_and_keep_what_they_do_not_mention(tmp_path):
    first = write(tmp_path, "first.toml", "[train]\nsteps = 9000\nseed = 3\n[train.optim]\nlr = 0.5\n")
    later = write(tmp_path, "later.toml", "[train]\nsteps = 8000\n")
    config = load_config([first, later])
    assert (config.train.steps, config.train.seed, config.train.optim.lr) == (8000, 3, 0.5)


def test_overrides_win_over_files(tmp_path):
    file = write(tmp_path, "a.toml", "[train.optim]\nlr = 0.5\n")
    assert load_config([file], ["train.optim.lr=1e-4"]).train.optim.lr == 1e-4


def test_a_run_is_named_after_its_last_file(tmp_path):
    files = [write(tmp_path, "base.toml", ""), write(tmp_path, "night.toml", "")]
    assert load_config(files).run.name == "night"
    assert load_config(files, ["run.name=mine"]).run.name == "mine"
    assert load_config([write(tmp_path, "my night (2).toml", "")]).run.name == "my-night-2-"


@pytest.mark.parametrize(
    ("override", "value"),
    [
        ("method.name=supervised", "supervised"),
        ('method.name="supervised"', "supervised"),
        ("method.name = supervised ", "supervised"),
    ],
)
def test_a_word_needs_no_quotes(override, value):
    assert load_config([], [override]).method.name == value


def test_another_method_takes_nothing_of_the_settings_of_the_one_before(tmp_path):
    """Neither from a file below it, whatever the order of the overrides; of its own it keeps all."""
    file = tmp_path / "a.toml"
    file.write_text('[method]\nname = "tsal"\nkeep = 0.3\nqueue = 2\n')
    assert load_config([file]).method.settings == {"keep": 0.3, "queue": 2}
    assert load_config([file], ["method.keep=0.5"]).method.settings == {"keep": 0.5, "queue": 2}
    assert load_config([file], ["method.name=mean_teacher"]).method.settings == {}
    for words in (
        ["method.views=3", "method.name=mean_teacher"],
        ["method.name=mean_teacher", "method.views=3"],
    ):
        assert load_config([file], words).method.settings == {"views": 3}


AWKWARD = [
    "runs/😀x", "a\x7fb", 'a "quoted" one', "back\\slash\\u0041", "two\nlines\r\n", "\t tab ", "nul\0", "nan", "3", "true",
    "", "[1]", "\udcff",
]  # fmt: skip
"""Text that a shell, JSON or TOML writes in a way of its own. The last one is a name that is no UTF-8, as Python holds it."""


@pytest.mark.parametrize("text", AWKWARD, ids=ascii)
def test_a_setting_that_was_written_as_a_word_is_read_as_it_was(text):
    assert load_config([], [to_override("run.dir", text)]).run.dir == text
    assert load_config([], [to_override("data.labelled", [text, "b"])]).data.labelled == (text, "b")


@given(
    st.recursive(
        st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
        st.lists,
        max_leaves=5,
    )
)
def test_every_value_of_a_setting_survives_as_a_word(value):
    key, _, word = to_override("method.x", value).partition("=")
    assert (key, parse_value(word)) == ("method.x", value)
    assert type(parse_value(word)) is type(value)


@pytest.mark.parametrize(
    "value", [float("nan"), float("-inf"), [1.0, float("nan")], None, {"a": 1}, date(2020, 1, 1)], ids=str
)
def test_what_no_setting_can_be_is_refused_before_it_becomes_a_word(value):
    with pytest.raises(ConfigError, match=r"method\.floor = .* Give text, a finite number"):
        to_override("method.floor", value)


@pytest.mark.parametrize(("old", "new"), sorted(MOVED.items()))
def test_a_setting_under_its_old_name_is_refused_with_the_new_one(old, new):
    with pytest.raises(ConfigError, match=re.escape(repr(new))):
        load_config([], [f"{old}=1"])


def test_one_folder_needs_no_brackets():
    assert load_config([], ["data.labelled=shards/a"]).data.labelled == ("shards/a",)
    assert load_config(["configs/demo.toml"], ["data.validation="]).data.validation == ()
    assert load_config([], ['data.labelled=["shards/a", "shards/b"]']).data.labelled == (
        "shards/a",
        "shards/b",
    )


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("train.optim.lrr=1", ["train.optim.lrr", "train.optim.lr"]),
        ("train.lr=1", ["train.lr", "train.optim.lr"]),
        ("modell.points=1", ["modell", "model"]),
        ("train.steps=many", ["train.steps", "many", "integer"]),
        ("train.optim.lr=-1", ["train.optim.lr", "-1", "greater than 0"]),
        ("train=3", ["train = 3"]),
        ("data.labelled=[1]", ["data.labelled.0", "1"]),
        ("train.steps", ["section.key=value"]),
        ("=3", ["section.key=value"]),
        ("train.optim.lr=nan", ["train.optim.lr", "finite"]),
    ],
)
def test_a_mistake_names_the_key_the_value_and_the_way_out(override, words):
    with pytest.raises(ConfigError) as caught:
        load_config([], [override])
    message = str(caught.value)
    assert "\n" not in message
    assert [word for word in words if word not in message] == []


def test_a_missing_file_names_its_neighbour(tmp_path):
    write(tmp_path, "demo.toml", "")
    with pytest.raises(ConfigError, match=r"Did you mean .*demo\.toml"):
        load_config([tmp_path / "dmo.toml"])


def test_a_missing_file_in_a_missing_folder_names_the_one_that_is_meant(tmp_path, monkeypatch):
    (tmp_path / "configs" / "sweeps").mkdir(parents=True)
    for folder in ("configs", "configs/sweeps"):
        write(tmp_path / folder, "demo.toml", "")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=r"Did you mean 'configs/demo\.toml'"):
        load_config(["config/demo.toml"])
    with pytest.raises(ConfigError, match=r"no sweep file .* Did you mean 'configs/sweeps/demo\.toml'"):
        read_toml(Path("config/sweeps/demo.toml"), "sweep file")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigError, match="Name another: there is none beside it"):
        load_config(["empty/demo.toml"])


@pytest.mark.parametrize("text", ["[train", "a = ", "\x00"])
def test_broken_toml_names_the_file(tmp_path, text):
    with pytest.raises(ConfigError, match="broken.toml is not valid TOML"):
        load_config([write(tmp_path, "broken.toml", text)])


def test_a_folder_is_not_a_file(tmp_path):
    with pytest.raises(ConfigError, match="is a folder"):
        load_config([tmp_path])


def test_the_resolved_config_survives_json():
    config = load_config([], ["train.steps=7", "train.burn_in_steps=3", "data.labelled=x"])
    assert build_config(json.loads(config.model_dump_json())) == config


def parsed_or_refused(override):
    """A RunConfig or a ConfigError; anything else is a defect."""
    try:
        return load_config([], [override])
    except ConfigError as error:
        return error


@given(st.text(max_size=60))
def test_no_override_breaks_the_parser(text):
    assert str(parsed_or_refused(text))


@given(st.sampled_from(sorted(all_keys())), st.text(max_size=20))
def test_no_value_breaks_the_parser(key, value):
    result = parsed_or_refused(f"{key}={value}")
    assert isinstance(result, RunConfig) or key.split(".")[0] in str(result)


@pytest.mark.parametrize(
    ("text", "spec"), [("2", "2"), (".25", ".25"), ("0.25", "0.25"), ("node", "node"), ('"2"', "2")]
)
def test_a_teacher_spec_needs_no_quotes(text, spec):
    assert float_or_word(load_config([], [f"runtime.teachers={text}"]).runtime.teachers) == float_or_word(
        spec
    )


def float_or_word(text):
    return text if text.isalpha() else float(text)


@pytest.mark.parametrize(
    "value", ["[" * 9000, '{a="' * 100, "9" * 5000, "2020-99-99", "[" * 300 + "]" * 300, "1e999"], ids=len
)
def test_monstrous_values_are_refused_in_a_line(tmp_path, value):
    with pytest.raises(ConfigError, match="train.steps"):
        load_config([], [f"train.steps={value}"])
    (tmp_path / "c.toml").write_text(f"[train]\nsteps = {value}\n")
    with pytest.raises(ConfigError) as refusal:
        load_config([tmp_path / "c.toml"])
    assert len(str(refusal.value)) < 600


def test_a_key_of_a_thousand_parts_is_refused():
    with pytest.raises(ConfigError, match="not of the form"):
        load_config([], [".".join("a" * 1000) + "=1"])
