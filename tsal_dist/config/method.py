"""Which method a run trains by. Its own settings are typed by the method's file, which may be anybody's."""

from typing import Any

from pydantic import ConfigDict

from tsal_dist.config.section import Section

ALONE = "supervised"
"""The name of no method: labels alone, and so no teacher."""


class MethodConfig(Section):
    """A method by its name, and whatever settings that method has."""

    model_config = ConfigDict(extra="allow")

    name: str = "tsal"
    """A recipe of this package (`python -m tsal_dist.recipes` lists them), of another installed one, or anybody's file:
    `my_idea.py:recipe`, `package.module:recipe`. With no other key it is the method as published."""

    @property
    def settings(self) -> dict[str, Any]:
        """What is set beside the name, as it was written down."""
        return dict(self.model_extra or {})
