"""Is a method sound? Its file or name, and what it cannot do without.

python -m tsal_dist.recipes.conformance my_idea.py:recipe
python -m tsal_dist.recipes.conformance my_idea.py:recipe floor=0.2 views=2
python -m tsal_dist.recipes.conformance --quick my_idea.py:recipe
"""

import argparse
from typing import Any

from tsal_dist.cli import run_entry
from tsal_dist.config.load import parse_value
from tsal_dist.errors import ConfigError


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("name", metavar="METHOD", help="by its name, file or module")
    parser.add_argument("settings", nargs="*", metavar="key=value", help="settings of the method")
    parser.add_argument("--quick", action="store_true", help="leave out the checks that train")
    args = parser.parse_intermixed_args(argv)
    try:
        import pytest
    except ImportError:
        raise ConfigError(
            "The suite runs under pytest, which is not installed: pip install pytest."
        ) from None
    from tsal_dist.recipes.conformance.trial import Trial
    from tsal_dist.recipes.find import find_method

    trial = Trial(args.name, dict(_setting(text) for text in args.settings))
    find_method(args.name).read(trial.needed)  # a mistake in the command is no failure of the method
    suites = ["test_method"] if args.quick else ["test_method", "test_training"]
    suites = [f"tsal_dist.recipes.conformance.{name}" for name in suites]
    words = ["-q", "-rs", "-p", "no:cacheprovider", "--pyargs", *suites]

    class Naming:
        """Tells the suite what is on trial."""

        def pytest_configure(self, config: pytest.Config) -> None:
            config.pluginmanager.register(trial, "on trial")

    return int(pytest.main(words, plugins=[Naming()]))


def _setting(text: str) -> tuple[str, Any]:
    key, equals, value = text.partition("=")
    if not equals:
        raise ConfigError(f"{text!r} is not of the form key=value.")
    return key, parse_value(value)


if __name__ == "__main__":
    raise SystemExit(run_entry(main))
