"""Every check that trains, on the method on trial."""

import shutil
from collections.abc import Callable, Iterator

import pytest

from tsal_dist.recipes.conformance.short_runs import ShortRuns, World
from tsal_dist.recipes.conformance.training import CHECKS
from tsal_dist.recipes.conformance.trial import Trial


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("short-runs")
    yield World(folder)
    if not request.session.testsfailed:  # else somebody will want to look at them
        shutil.rmtree(folder)


@pytest.fixture(scope="module")
def runs(trial: Trial, world: World) -> ShortRuns:
    return ShortRuns(trial, world)


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__.removeprefix("check_"))
def test_of_its_training(check: Callable[[ShortRuns], None], runs: ShortRuns) -> None:
    check(runs)
