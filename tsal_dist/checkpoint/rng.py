"""The random number generators of one process: captured, put back, or begun afresh."""

import random
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch


def capture_rng() -> dict[str, Any]:
    """The state of every generator that training may draw from; a checkpoint can hold it."""
    name, keys, position, has_gauss, gauss = np.random.get_state(legacy=True)
    return {
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state() if torch.cuda.is_available() else None,
        "numpy": {"name": name, "keys": keys, "at": position, "has_gauss": has_gauss, "gauss": gauss},
        "python": random.getstate(),
    }


def resume_rng(kept: Mapping[str, Any] | None, seed: int, step: int, rank: int) -> None:
    """Go on as at a checkpoint of `step`: with what it kept of this rank, or afresh where it kept nothing of it."""
    if kept is None:
        seed_rng(seed, step, rank)
    else:
        restore_rng(kept["rng"])


def restore_rng(state: Mapping[str, Any]) -> None:
    """Continue the sequences that `capture_rng` interrupted."""
    torch.set_rng_state(state["torch"])
    if state["cuda"] is not None and torch.cuda.is_available():
        torch.cuda.set_rng_state(state["cuda"])
    numpy = state["numpy"]
    np.random.set_state((numpy["name"], numpy["keys"], numpy["at"], numpy["has_gauss"], numpy["gauss"]))
    random.setstate(state["python"])


def seed_rng(seed: int, step: int, rank: int) -> None:
    """Begin every generator afresh, as a pure function of the arguments.

    At the start of a run, and after resuming with another number of ranks, whose sequences nobody has.
    """
    words = np.random.SeedSequence([seed, step, rank]).generate_state(3)
    torch.manual_seed(int(words[0]))  # CUDA's too
    np.random.seed(int(words[1]))
    random.seed(int(words[2]))
