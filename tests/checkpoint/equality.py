"""Equality of nested states to the bit: types, dtypes, shapes, order, NaN and the sign of zero."""

import math

import numpy as np
import torch


def equal(first, second):
    if type(first) is not type(second):
        return False
    if isinstance(first, torch.Tensor):
        same_form = first.dtype == second.dtype and first.shape == second.shape
        return same_form and torch.equal(first, second)
    if isinstance(first, np.ndarray):
        return first.dtype == second.dtype and np.array_equal(first, second)
    if isinstance(first, dict):
        return list(first) == list(second) and all(equal(first[key], second[key]) for key in first)
    if isinstance(first, list | tuple):
        return len(first) == len(second) and all(map(equal, first, second))
    if isinstance(first, float):
        both_nan = math.isnan(first) and math.isnan(second)
        return both_nan or (first == second and math.copysign(1, first) == math.copysign(1, second))
    return first == second
