"""Every check on the method on trial."""

from collections.abc import Callable

import pytest

from tsal_dist.recipes.conformance.checks import CHECKS
from tsal_dist.recipes.conformance.trial import Trial


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__.removeprefix("check_"))
def test_of_the_method(check: Callable[[Trial], None], trial: Trial) -> None:
    check(trial)
