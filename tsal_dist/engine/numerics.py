"""How exact a process computes: stated once, for everything that runs in it.

TF32 rounds the factors of float32 products to 10 bits on GPUs that have it; sums stay float32. The setting is of
convolutions alone. What else multiplies matrices here moves points from view to view and lays grids over pictures: each such
product would put a point in a crop of 256 pixels off by up to a sixteenth of a pixel, and saves no time worth naming.

cuDNN chooses its algorithms by rules and does not try them out. It would at the first batch of each size, again and
again: a plan may give a step any number of clips, and nets are asked for batches of many sizes. Deterministic, it takes
none whose sums depend on chance. On a CPU only determinism means anything.
"""

import torch

from tsal_dist.config.runtime import NumericsConfig
from tsal_dist.dist.environment import advise

_CUBLAS = {"CUBLAS_WORKSPACE_CONFIG": ":4096:8"}
"""Without workspaces of a fixed size cuBLAS refuses to promise anything."""


def set_numerics(settings: NumericsConfig) -> None:
    """Apply to this process. Before its first operation on a GPU."""
    if settings.deterministic:
        advise(_CUBLAS)
    torch.use_deterministic_algorithms(settings.deterministic)
    torch.backends.cudnn.deterministic = settings.deterministic
    torch.backends.cudnn.benchmark = False
    # By torch's older words: they set the newer ones along. Set by the newer words alone, torch still remembers the older
    # ones as they were, and what asks for those, as torch.export does, is refused for a mixture.
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = settings.tf32
