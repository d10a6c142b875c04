"""How exact a process computes: stated once, for everything that runs in it.

TF32 rounds the factors of float32 products to 10 bits on GPUs that have it; sums stay float32. Free to choose, cuDNN
measures its algorithms at the first batch of each size; sizes never change here, so that pays. Deterministic, it takes
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
    torch.backends.cudnn.benchmark = not settings.deterministic
    # By torch's older words: they set the newer ones along. Set by the newer words alone, torch still remembers the older
    # ones as they were, and what asks for those, as torch.export does, is refused for a mixture.
    torch.backends.cuda.matmul.allow_tf32 = settings.tf32
    torch.backends.cudnn.allow_tf32 = settings.tf32
