"""Whether scores of an adapted run are of the footage that it was adapted to."""

import pytest

from tests.roles.short_runs import short_config
from tsal_dist.insight.other_footage import say_where_measured
from tsal_dist.run import Origin, load_run, open_run


@pytest.fixture
def before(faces, tmp_path):
    return open_run(short_config(faces, tmp_path / "before", "method.name=supervised"), "new")


def went_on(faces, before, folder, *words):
    config = short_config(faces, folder, *words)
    open_run(config, "new", lambda: Origin(str(before.dir.root), before.id, 8))
    return load_run(folder)


def test_scores_of_the_old_footage_are_called_so(faces, before, tmp_path):
    run = went_on(faces, before, tmp_path / "after", "data.unlabelled=shards/night")
    said = say_where_measured(run, [faces.held_out])
    assert said.startswith(
        f"{faces.held_out} is what before was measured on. Of shards/night no label is held out"
    )
    assert say_where_measured(run, ["shards/night-val"]) == "", "there it was measured"
    judged = ("data.unlabelled=shards/night", "data.validation=shards/night-val")
    run = went_on(faces, before, tmp_path / "judged", *judged)
    assert say_where_measured(run, [faces.held_out]) == "", "labels of the new footage are held out"


def test_nothing_is_said_where_the_footage_is_the_same(faces, before, tmp_path):
    assert say_where_measured(before, [faces.held_out]) == "", "it began from nothing"
    run = went_on(faces, before, tmp_path / "after")
    assert say_where_measured(run, [faces.held_out]) == ""


def test_nothing_is_said_where_the_other_run_has_gone(faces, before, tmp_path):
    run = went_on(faces, before, tmp_path / "after", "data.unlabelled=shards/night")
    before.dir.run_json.unlink()
    assert say_where_measured(run, [faces.held_out]) == ""
