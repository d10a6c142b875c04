"""Is a method sound? One suite for every method, this package's and anybody's.

    python -m tsal_dist.recipes.conformance my_idea.py:recipe floor=0.2

`checks` holds what is checked, each a function of a `Trial`; `test_method` runs them under pytest. The last ones train: a few
steps on synthetic faces, in processes of their own.
"""
