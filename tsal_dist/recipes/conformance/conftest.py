"""Which methods are on trial: the one that the command named, or all that are shipped."""

import pytest

from tsal_dist.recipes.conformance.trial import Trial


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "trial" in metafunc.fixturenames:
        from tsal_dist.recipes.find import PACKAGED

        asked: Trial | None = metafunc.config.pluginmanager.get_plugin("on trial")
        trials = [asked] if asked else [Trial(name, {}) for name in PACKAGED]
        metafunc.parametrize("trial", trials, ids=[trial.name for trial in trials], scope="module")
