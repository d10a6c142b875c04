"""What launchers ask cores for is what training starts."""

import pytest

from launch.process_plan import Load, load_of, plan_crews, streams_of
from tests.roles.short_runs import pack_faces, short_config


@pytest.fixture(scope="module")
def faces(tmp_path_factory):
    return pack_faces(tmp_path_factory.mktemp("faces"))


@pytest.mark.parametrize(
    ("role", "overrides", "streams"),
    [
        ("student", (), 2),
        ("student", ("method.name=supervised",), 1),
        ("teacher", (), 3),
        ("teacher", ("train.priority=0.5",), 4),
    ],
)
def test_a_rank_opens_as_many_pools_as_are_asked_for(role, overrides, streams, faces, tmp_path, monkeypatch):
    from tsal_dist.data import pool

    pools = []

    class Counted(pool.InProcess):
        def __init__(self, build_reader, workers, *rest):
            super().__init__(build_reader)
            pools.append(workers)

    monkeypatch.setattr(pool, "Workers", Counted)
    config = short_config(faces, tmp_path / "run", "data.workers=3", *overrides)
    open_role(config, role)
    assert pools == [3] * streams
    assert streams_of(config, role) == streams


def open_role(config, role):
    """Build a rank of the role, as a process does, and close it: the second, which has no books to keep."""
    import torch

    from tsal_dist.exchange.memory import MemoryStore
    from tsal_dist.exchange.tenure import Tenure
    from tsal_dist.run import open_run
    from tsal_dist.runs.build import build_student, build_teacher
    from tsal_dist.runs.build_streams import RoleRank
    from tsal_dist.runs.open_data import open_data

    run, shards, seat = open_run(config, "new"), open_data(config), RoleRank(1, 2, torch.device("cpu"))
    if role == "student":
        build_student(config, run, shards, seat, notes=None, incarnation=1).close()
    else:
        tenure = Tenure(MemoryStore(), role, seat.rank, run.id, incarnation=1, token="any")
        build_teacher(config, run, shards, seat, tenure, clips_per_cycle=1, limited=True).close()


@pytest.mark.parametrize(
    ("overrides", "nodes", "procs", "loads"),
    [
        (("runtime.topology=inline",), 1, 1, [Load(1, 10)]),
        (("runtime.topology=split", "runtime.teachers=1"), 1, 3, [Load(3, 14)]),
        # The busiest machine counts: here the second, on which only teachers sit.
        (("runtime.topology=split", "runtime.teachers=2"), 2, 2, [Load(2, 12)]),
        (("runtime.topology=detached", "runtime.teachers=node"), 2, 4, [Load(3, 12), Load(1, 6)]),
        (("runtime.topology=split", "data.workers=0"), 1, 2, [Load(2, 0)]),
    ],
)
def test_the_busiest_machine_counts(overrides, nodes, procs, loads, faces, tmp_path):
    config = short_config(faces, tmp_path, "data.workers=2", *overrides)
    assert [load_of(config, crew) for crew in plan_crews(config, nodes, procs)] == loads


def test_a_load_in_words():
    assert Load(1, 3).describe() == "1 training process, 3 readers of clips"
    assert Load(2, 0).describe() == "2 training processes, which read clips themselves"
    assert Load(2, 3).cores == 5
