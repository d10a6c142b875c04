"""One small data set for all tests of the loops, and one whole run per recipe."""

import functools

import pytest

from tests.loops.short_runs import pack_faces, train


@pytest.fixture(scope="session")
def faces(tmp_path_factory):
    return pack_faces(tmp_path_factory.mktemp("faces"))


@pytest.fixture(scope="session")
def run_of(faces, tmp_path_factory):
    """The run of a recipe on one process, made when it is first asked for."""
    return functools.cache(
        lambda recipe: train(faces, tmp_path_factory.mktemp(recipe) / "run", f"train.recipe={recipe}")
    )
