"""Both roles close where their numbers go: what was not handed over by then is late, or lost."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.ranks import run_ranks
from tests.roles.short_runs import words
from tsal_dist.config import RunConfig
from tsal_dist.errors import ExchangeError
from tsal_dist.roles.student_upkeep import StudentUpkeep


def train_noted(rank, world, argv, folder):
    """A run whose sinks leave a file when they are closed."""
    from tsal_dist.runs import process
    from tsal_dist.train import main

    opened = process.open_sinks

    def open_noted(run_dir, role, *chosen):
        sink = opened(run_dir, role, *chosen)
        close = sink.close

        def close_noted():
            close()
            (Path(folder) / f"{role}-closed").touch(exist_ok=False)

        sink.close = close_noted
        return sink

    process.open_sinks = open_noted
    return int(main(argv))


@pytest.mark.slow
@pytest.mark.ranks
def test_each_role_closes_its_sinks_once(faces, tmp_path):
    argv = words(faces, tmp_path / "run", "method.name=mean_teacher")
    assert run_ranks(train_noted, 1, argv, str(tmp_path), group=False) == [0]
    assert sorted(path.name for path in tmp_path.glob("*-closed")) == ["student-closed", "teacher-closed"]


def test_weights_that_cannot_be_published_at_the_end_cost_no_numbers():
    def refuse(timeout_s):
        raise ExchangeError("Weights could not be published.")

    closed = []
    publisher = SimpleNamespace(close=refuse)
    sink = SimpleNamespace(close=lambda: closed.append("sink"))
    student = SimpleNamespace(config=RunConfig())
    upkeep = StudentUpkeep(student, None, None, publisher, sink, None, None)
    with pytest.raises(ExchangeError):
        upkeep.close()
    assert closed == ["sink"]
