"""Isotonic regression: the rising sequence that is nearest to given means, in the sense of weighted squares."""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def rising(mean_Gx: Floats, weight_G: Floats) -> Floats:
    """The nearest sequence along G that never falls, for every column x; weights are above 0.

    Its value at i is the largest, over starts a <= i, of the smallest mean over a..b, over ends b >= i: exact, and
    for some hundred places faster in arrays than the pooling of neighbours one by one.
    """
    places = len(weight_G)
    weight_before = np.concatenate([[0.0], np.cumsum(weight_G)])
    sum_before = np.concatenate(
        [np.zeros_like(mean_Gx[:1]), np.cumsum(mean_Gx * weight_G[:, None], axis=0)], axis=0
    )
    starts, ends = np.arange(places)[:, None], np.arange(places)[None, :]
    whole = ends >= starts
    weight_ab = np.where(whole, weight_before[1:][None, :] - weight_before[:-1][:, None], 1.0)
    sum_abx = sum_before[1:][None] - sum_before[:-1][:, None]
    mean_abx = np.where(whole[..., None], sum_abx / weight_ab[..., None], np.inf)
    least_abx = np.minimum.accumulate(mean_abx[:, ::-1], axis=1)[:, ::-1]
    best: Floats = np.where(whole[..., None], least_abx, -np.inf).max(axis=0)
    return best
