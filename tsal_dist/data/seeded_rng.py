"""Random numbers that belong to what they are drawn for, not to the process that draws them."""

import hashlib

import numpy as np
from numpy.typing import NDArray


def philox_for(*identity: int | str) -> np.random.Philox:
    """A counter-based generator keyed by the words given: equal words, equal numbers, on any machine.

    Python's `hash` is salted per process, so the key is a digest.
    """
    digest = hashlib.sha256("\0".join(map(str, identity)).encode()).digest()
    return np.random.Philox(key=int.from_bytes(digest[:16], "little"))


def generator_for(*identity: int | str) -> np.random.Generator:
    """As `philox_for`, with distributions. For one clip: `generator_for(seed, epoch, sample_id)`."""
    return np.random.Generator(philox_for(*identity))


def shuffled(size: int, *identity: int | str) -> NDArray[np.int64]:
    """A permutation of 0..size-1. Sorted raw draws: numpy may change how `permutation` spends its bits."""
    return np.argsort(philox_for(*identity).random_raw(size), kind="stable").astype(np.int64)
