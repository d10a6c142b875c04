"""The weights that a role begins with, which it needs once: afterwards its checkpoints hold them."""

from pathlib import Path

from tsal_dist.checkpoint.store import Checkpoints
from tsal_dist.config.model import ModelConfig
from tsal_dist.errors import ConfigError
from tsal_dist.models.published import locate_weights


def first_weights(config: ModelConfig, checkpoints: Path, forked: bool = False) -> str:
    """The file that a role's detector starts from, "" for none: its own `checkpoints` make up for an absent one, and so
    does the run that it is `forked` from."""
    try:
        return locate_weights(config.detector, config.weights)
    except ConfigError:
        if forked or Checkpoints.to_read(checkpoints).committed():
            return ""
        raise
