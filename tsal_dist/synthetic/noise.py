"""Noise that looks like clouds: of skin, and of what stands behind a face."""

from collections.abc import Sequence

import cv2
import numpy as np

from tsal_dist.synthetic.shape import Array


def soft_noise(rng: np.random.Generator, height: int, width: int, octaves: Sequence[int]) -> Array:
    """Cloudy noise in -1..1: one layer per octave (cells across the picture), each weaker than the last."""
    total = np.zeros((height, width), np.float32)
    strength, weight = 1.0, 0.0
    for cells in octaves:
        grid = rng.uniform(-1.0, 1.0, (cells, cells)).astype(np.float32)
        total += strength * cv2.resize(grid, (width, height), interpolation=cv2.INTER_CUBIC)
        weight += strength
        strength *= 0.6
    return np.asarray(total / weight, np.float64)
