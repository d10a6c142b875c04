"""What every config section shares: frozen, strict about keys, documented under each field."""

from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    """A group of settings. A part takes the section it needs, never the whole run."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False)
