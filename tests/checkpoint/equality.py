"""Equality of nested states to the bit, as the suite of methods has it."""

from tsal_dist.recipes.conformance.sameness import equal

__all__ = ["equal"]
