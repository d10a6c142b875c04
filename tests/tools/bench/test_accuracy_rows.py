"""The accuracy bench's arithmetic by hand, and the page that says it."""

import math
from dataclasses import replace

import numpy as np
import pytest

from tools.bench.accuracy.cells import (
    SAME_TIME,
    Result,
    Variant,
    keep_result,
    list_cells,
    read_result,
    same_time_cells,
)
from tools.bench.accuracy.data_set import DataSet, Fold
from tools.bench.accuracy.measure import usual_bend
from tools.bench.accuracy.page import say_headroom, write_page
from tools.bench.accuracy.rows import Headroom, Mean, headroom, summarise
from tsal_dist.json_object import if_finite

FOLDS = tuple(Fold({"5": f"few-{n}", "90": f"all-{n}"}, "video", f"test-{n}") for n in range(2))
DATA = DataSet("mice", ("5", "90"), FOLDS, steps=100, repeats=2, settings=("a.b=1",), about="two folds")
# From .10 at few labels to .06 at all of them: .08 closes a half, .12 opens another.
ERROR = {
    ("5", "supervised"): 0.10,
    ("90", "supervised"): 0.06,
    ("5", "tsal"): 0.08,
    ("5", "mean_teacher"): 0.12,
}
METHODS = ("supervised", "mean_teacher", "tsal")


def cells(*variants):
    return list_cells(DATA, METHODS, [Variant(), *variants], "demo.toml", ["c.d=2"])


def results(seconds=10.0):
    """Repetition 1 is harder by 2 points for all, and by a further .4 for tsal."""
    found = {}
    for cell in cells():
        error = ERROR.get((cell.amount, cell.method))
        if error is not None:
            error += 0.02 * cell.repeat + 0.004 * cell.repeat * (cell.method == "tsal")
            slow = {"supervised": 1.0, "mean_teacher": 2.0, "tsal": 3.5}[cell.method]
            found[cell.name] = Result(error, error / 2, 0.01, None, seconds * slow)
    return found


def rows():
    return {(row.amount, row.method): row for row in summarise(DATA, cells(), results())}


def test_mean_and_standard_error_by_hand():
    mean = Mean.of([1.0, 2.0, 3.0])
    assert (mean.value, mean.error) == pytest.approx((2.0, 1 / math.sqrt(3)))
    assert Mean.of([5.0]).value == 5.0
    assert math.isnan(Mean.of([5.0]).error)
    assert math.isnan(Mean.of([]).value)


def test_differences_are_taken_within_a_repetition():
    """What a fold costs everybody is no error of the difference."""
    row = rows()["5", "tsal"]
    assert row.test.value == pytest.approx(0.092)
    assert row.test.error == pytest.approx(0.012)
    assert row.against_alone.value == pytest.approx(-0.018)
    assert row.against_alone.error == pytest.approx(0.002)
    assert row.ratio == pytest.approx(0.092 / 0.11)
    assert math.isnan(rows()["5", "supervised"].against_alone.value)


def test_the_gap_is_between_the_baselines():
    assert rows()["5", "mean_teacher"].gap_closed == pytest.approx(-0.5)
    assert rows()["5", "tsal"].gap_closed == pytest.approx(0.018 / 0.04)
    assert math.isnan(rows()["5", "supervised"].gap_closed)


def test_a_partial_table_compares_repetitions_that_all_have():
    """Of the baselines only the easy repetition is there: the hard one of tsal must not count against it."""
    there = results()
    for cell in cells():
        if cell.repeat == 1 and cell.method == "supervised":
            del there[cell.name]
    row = {(row.amount, row.method): row for row in summarise(DATA, cells(), there)}["5", "tsal"]
    assert row.repeats == 2
    assert row.against_alone.value == pytest.approx(-0.02)
    assert row.gap_closed == pytest.approx(0.5)


def test_cells_share_folds_seeds_and_steps():
    every = cells(Variant("calm", ("e.f=3",)))
    assert len({cell.name for cell in every}) == len(every) == 2 * 2 * (1 + 2 + 2)
    for cell in every:
        words = cell.words
        assert {
            "train.steps=100",
            "train.burn_in_steps=30",
            "a.b=1",
            "c.d=2",
            f"train.seed={cell.repeat}",
        } <= set(words)
        assert words.index("c.d=2") > words.index("a.b=1"), "what is asked for wins over the data set's own"
        assert f"data.labelled={'few' if cell.amount == '5' else 'all'}-{cell.repeat}" in words
        assert cell.test == f"test-{cell.repeat}"
        assert not any(cell.test in word for word in words), "nothing is trained or chosen on the test frames"
    assert {cell.method for cell in every if "e.f=3" in cell.words} == {"mean_teacher calm", "tsal calm"}
    assert [cell.repeat for cell in every] == sorted(cell.repeat for cell in every), "a whole table early"


def test_labels_alone_get_the_time_of_the_slowest():
    more = list(same_time_cells(DATA, cells(), results(), "demo.toml", []))
    few = [cell for cell in more if cell.amount == "5"]
    assert [cell.method for cell in few] == [SAME_TIME] * 2
    assert all(
        "train.steps=350" in cell.words
        and "train.burn_in_steps=30" in cell.words
        and "method.name=supervised" in cell.words
        for cell in few
    )
    assert not [cell for cell in more if cell.amount == "90"], "no method has trained on these"
    assert not list(same_time_cells(DATA, cells(), {}, "demo.toml", []))


def test_a_cell_is_read_back_by_its_settings(tmp_path):
    cell = cells()[0]
    result = Result(0.1, 0.05, 0.01, None, 12.5)
    assert read_result(tmp_path, cell) is None
    keep_result(tmp_path, cell, result)
    assert read_result(tmp_path, cell) == result
    other = list_cells(DATA, METHODS, [Variant()], "demo.toml", ["c.d=3"])[0]
    assert read_result(tmp_path, other) is None


def test_headroom_is_more_than_its_error():
    found = headroom(DATA, cells(), results())
    assert (found.few.value, found.many.value) == pytest.approx((0.11, 0.07))
    assert found.gain.value == pytest.approx(0.04)
    assert found.gain.error == pytest.approx(0.0, abs=1e-12)
    assert say_headroom(found).startswith("Headroom: 11.00 ± 1.00 with the fewest labels, 7.00")
    none = Headroom(Mean(0.1, 0.01), Mean(0.09, 0.01), Mean(0.01, 0.006))
    assert "none. More labels would not help this net" in say_headroom(none)
    assert "does not tell" in say_headroom(Headroom(Mean(0.1), Mean(0.05), Mean(0.05)))


def test_the_page_says_what_is_missing():
    page = write_page([DATA], cells(), results())
    assert "**mice**: two folds; 100 student steps." in page
    assert "8 of 12 cells are there." in page
    (tsal,) = [line for line in page.splitlines() if "| tsal |" in line]
    cells_of = [cell.strip() for cell in tsal.strip("|").split("|")]
    assert cells_of[2:7] == ["2", "9.20 ± 1.20", "-1.80 ± 0.20", "0.84", "45 %"]
    assert "Headroom" in page


def test_a_test_set_without_neighbouring_frames_has_a_row_without_jitter():
    """Labelled frames may lie far apart in their videos, where jitter is not a number."""
    assert (if_finite(float("nan")), if_finite(0.25)) == (None, 0.25)
    found = {name: replace(one, jitter=None) for name, one in results().items()}
    row = summarise(DATA, cells(), found)[0]
    assert math.isnan(row.jitter.value)
    assert row.test.value > 0
    head, _, *lines = (
        line.split("|") for line in write_page([DATA], cells(), found).splitlines() if line.startswith("|")
    )
    assert len(lines) == 4
    assert {line[head.index(" jitter, % ")].strip() for line in lines} == {""}


def test_jitter_without_labels_is_what_is_usual():
    """Two landmarks of three shake by 1 and 2 percent; the third is out of view and jumps."""
    at_T = np.arange(6.0)
    shaking_T = np.where(at_T % 2, 1.0, -1.0) / 4  # bends by four times its size
    track_TK2 = np.zeros((6, 3, 2))
    track_TK2[:, 0, 0] = at_T + 0.01 * shaking_T
    track_TK2[:, 1, 1] = at_T + 0.02 * shaking_T
    track_TK2[:, 2, 0] = 50 * shaking_T
    assert usual_bend([track_TK2]) == pytest.approx(0.02)
    assert usual_bend([track_TK2[:, :1], track_TK2[:, :1]]) == pytest.approx(0.01)
    # Videos are not joined: the step from one's end to the other's start is nobody's jitter.
    steady = np.zeros((5, 1, 2))
    assert usual_bend([steady, steady + 100]) == 0
