"""Both roles close where their numbers go: what was not handed over by then is late, or lost."""

from pathlib import Path

import pytest

from tests.ranks import run_ranks
from tests.roles.short_runs import words


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
