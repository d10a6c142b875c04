"""A run, written down: typed sections, TOML in, JSON out, no torch.

`load_config(files, overrides)` merges TOML files left to right, then dotted overrides
(`train.optim.lr=1e-4`), and returns a frozen `RunConfig`. The class defaults are the vetted recipe: a file
says only what differs from them. A key that does not exist is an error that names the nearest one that does.
"""

from tsal_dist.config.load import load_config
from tsal_dist.config.run import RunConfig

__all__ = ["RunConfig", "load_config"]
