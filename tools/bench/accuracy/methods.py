"""Which methods there are to compare, and how one is asked for: the only page that knows the setting's name."""

from collections.abc import Sequence

from tsal_dist.config.method import ALONE
from tsal_dist.errors import ConfigError

BASELINE = ALONE
"""Labels alone: what every method has to beat."""


def list_methods() -> tuple[str, ...]:
    """Every method of the project, the baseline first."""
    from tsal_dist.recipes.find import list_names

    return (BASELINE, *(name for name in list_names() if name != BASELINE))


def choose_methods(asked: Sequence[str] | None) -> tuple[str, ...]:
    """Those that were asked for, labels alone first: without them there is nothing to compare with.

    Anybody's method is named by its file, `my_idea.py:recipe`, as everywhere.
    """
    known = list_methods()
    strangers = [name for name in asked or () if name not in known and ":" not in name]
    if strangers and "=" in strangers[0]:
        raise ConfigError(
            f"--methods took the setting {strangers[0]!r} for a name. Write settings before --methods, or another flag between."
        )
    if strangers:
        raise ConfigError(f"--methods names {strangers[0]!r}; the project has {', '.join(known)}.")
    return known if asked is None else (BASELINE, *(name for name in asked if name != BASELINE))


def method_words(method: str) -> list[str]:
    """What `train` is told."""
    return [f"method.name={method}"]
