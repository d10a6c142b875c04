"""Every method that is shipped passes the suite that anybody's method can be put through."""

import pytest

from tsal_dist.recipes.conformance.checks import CHECKS
from tsal_dist.recipes.conformance.trial import Trial
from tsal_dist.recipes.find import PACKAGED


@pytest.fixture(scope="module", params=PACKAGED)
def trial(request):
    return Trial(request.param, {})


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__.removeprefix("check_"))
def test_of_every_method(check, trial):
    check(trial)
