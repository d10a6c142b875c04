"""A version is read once for all ranks of a role, and every rank has it."""

from types import SimpleNamespace

import pytest

from tests.ranks import run_ranks

pytestmark = pytest.mark.ranks


def fetch(rank, world, folder):
    import torch

    from tsal_dist.roles.teacher_loop import TeacherLinks
    from tsal_dist.weights.fetch import WeightReader
    from tsal_dist.weights.format import MODEL, save_version, version_folder

    if rank == 0:
        for step in (3, 5):
            save_version(
                folder, step, {"w": torch.full((2,), float(step)), "n": torch.tensor(step)}, "tsal", nme=0.5
            )
        broken = version_folder(folder, 5) / MODEL
        broken.write_bytes(broken.read_bytes()[:-1] + b"x")
    # Whoever is not rank 0 has nothing to read with.
    reader = WeightReader(folder) if rank == 0 else None
    links = SimpleNamespace(teacher=SimpleNamespace(rank=rank), weights=reader)
    whole, absent, damaged = (TeacherLinks._fetch(links, step) for step in (3, 4, 5))
    return whole.version, {name: value.tolist() for name, value in whole.tensors.items()}, absent, damaged


def test_rank_0_reads_and_hands_on(tmp_path):
    first, second = run_ranks(fetch, 2, tmp_path)
    assert first == second
    version, tensors, absent, damaged = second
    assert (version.step, version.recipe, version.nme) == (3, "tsal", 0.5)
    assert tensors == {"w": [3.0, 3.0], "n": 3}
    assert absent is damaged is None
