"""Which method is on trial."""

import sys
from typing import Any

import pytest

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

from tsal_dist.recipes.conformance.trial import Trial


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("tsal_dist", "conformance of a method")
    group.addoption(
        "--recipe", metavar="NAME", help="a method by its name, file or module; without it all that are here"
    )
    group.addoption(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="a setting of it; repeatable"
    )


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "trial" in metafunc.fixturenames:
        from tsal_dist.recipes.find import PACKAGED

        asked = metafunc.config.getoption("--recipe")
        settings = dict(_setting(text) for text in metafunc.config.getoption("--set"))
        names = (asked,) if asked else PACKAGED
        trials = [Trial(name, settings if asked else NEEDED.get(name, {})) for name in names]
        metafunc.parametrize("trial", trials, ids=names, scope="module")


NEEDED: dict[str, dict[str, Any]] = {"feature_distillation": {"teacher": "a run"}}
"""What a method cannot do without."""


def _setting(text: str) -> tuple[str, Any]:
    key, _, value = text.partition("=")
    try:
        return key, tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        return key, value
