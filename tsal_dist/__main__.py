"""`python -m tsal_dist` is the command `tsal`."""

from tsal_dist.door import script

script()
