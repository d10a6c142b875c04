"""Every parser that a stranger can feed, built once."""

import pytest

from tests.fuzz import annotations, queue_files, run_files, shard_files

FAMILIES = (annotations, shard_files, queue_files, run_files)


@pytest.fixture(scope="session")
def all_targets(tmp_path_factory):
    """By name."""
    found = {}
    for family in FAMILIES:
        made = family.targets(tmp_path_factory.mktemp(family.__name__.rpartition(".")[2]))
        assert tuple(target.name for target in made) == family.NAMES
        found |= {target.name: target for target in made}
    return found


@pytest.fixture(params=[name for family in FAMILIES for name in family.NAMES])
def target(request, all_targets):
    return all_targets[request.param]
