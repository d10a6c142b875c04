"""What every config section shares: frozen, strict about keys, documented under each field."""

from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    """A group of settings. A part takes the section it needs, never the whole run."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False)


def is_said(section: BaseModel, key: str) -> bool:
    """Whether somebody set this dotted key. A default that nobody chose may give way to what the data say."""
    for name in key.split("."):
        if name not in section.model_fields_set:
            return False
        section = getattr(section, name)
    return True
