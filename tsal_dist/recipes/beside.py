"""Numbers of the host to where a step computes."""

from torch import Tensor


def beside(value: Tensor, like: Tensor) -> Tensor:
    """`value` where `like` is and of its kind of number, for which nobody waits.

    A copy out of memory that is not pinned holds the host until the device has done everything before it. Pinned is what
    has its last kind already: a copy that converts goes through memory of its own, which is not.
    """
    value = value.to(like.dtype)
    if like.is_cuda and not value.is_cuda:
        value = value.pin_memory()
    return value.to(like.device, non_blocking=True)
