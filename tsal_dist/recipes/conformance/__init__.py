"""Is a method sound? One suite for every method, this package's and anybody's.

    pytest --pyargs tsal_dist.recipes.conformance --recipe my_idea.py:recipe --set views=2

`checks` holds what is checked, each a function of a `Trial`; `test_method` runs them under pytest. The last ones train: a few
steps on synthetic faces, in processes of their own.
"""
