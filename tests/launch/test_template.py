"""Blanks are filled completely or not at all."""

import pytest
import yaml

from launch.template import fill_template, yaml_word


@pytest.fixture
def template(tmp_path):
    path = tmp_path / "job.txt"
    path.write_text("a {{one}} b {{one}}\n  {{block}}\n{{empty}}\n$HOME ${x} {single}\n")
    return path


def test_blanks_are_filled(template):
    text = fill_template(template, {"one": 1, "block": "x:\n  y\n\nz", "empty": ""})
    assert text == "a 1 b 1\n  x:\n    y\n\n  z\n$HOME ${x} {single}\n"


def test_what_is_missing_or_left_over_is_a_defect(template):
    with pytest.raises(KeyError, match="block"):
        fill_template(template, {"one": 1, "empty": ""})
    with pytest.raises(ValueError, match="no blanks for \\['two'\\]"):
        fill_template(template, {"one": 1, "block": "", "empty": "", "two": 2})


@pytest.mark.parametrize(
    "word",
    [
        "runs/😀",
        "ü",
        "del\x7f",
        'a "quoted" one',
        "\\ud83d\\ude00",
        "\\😀",
        "a\u2028b",
        "two\nlines",
        "- x: 1",
    ],
)
def test_a_word_of_yaml_is_read_as_it_was(word):
    assert yaml.safe_load(f"- {yaml_word(word)}") == [word]
