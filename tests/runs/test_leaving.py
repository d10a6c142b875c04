"""A role's group is torn down where nobody can hold that up: on a GPU that waits for what a dead peer will never finish."""

from types import SimpleNamespace
from unittest import mock

import pytest

from tests.ranks import run_ranks
from tests.roles.short_runs import words

pytestmark = pytest.mark.ranks


def ended_by(rank, world, argv, device, ends):
    """Whether the group was left by a process on that device whose part in the run ended so."""
    import torch

    from tsal_dist.dist.groups import RoleGroup
    from tsal_dist.errors import ExitCode, PeerLost
    from tsal_dist.runs import process
    from tsal_dist.train import main

    group = RoleGroup("student", 0, 1, torch.device(device))
    part = PeerLost("student 0 of 2 lost another rank") if ends == "lost" else RuntimeError("a defect")
    with (
        mock.patch.object(process, "join_role", return_value=group),
        mock.patch.object(process, "_open_context", return_value=SimpleNamespace(tenures={})),
        mock.patch.object(
            process,
            "_play",
            **({"return_value": ExitCode[ends]} if ends in ExitCode.__members__ else {"side_effect": part}),
        ),
        mock.patch.object(process, "leave_role") as left,
    ):
        if ends in ExitCode.__members__:
            assert main(argv) == ExitCode[ends]
        else:
            with pytest.raises(type(part)):
                main(argv)
    return left.called


@pytest.mark.parametrize(
    ("device", "ends", "left"),
    [
        ("cuda", "DONE", True),
        ("cuda", "REQUEUE", True),
        ("cuda", "lost", False),
        ("cuda", "a defect", False),
        ("cpu", "lost", True),
    ],
)
def test_the_group_is_left_where_that_ends(faces, tmp_path, device, ends, left):
    argv = words(faces, tmp_path / "run", "method.name=supervised")
    assert run_ranks(ended_by, 1, argv, device, ends, group=False) == [left]
