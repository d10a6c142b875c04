"""Is a method sound? One suite for every method, this package's and anybody's.

    python -m tsal_dist.recipes.conformance my_idea.py:recipe floor=0.2

`checks` holds what is checked of its parts, each a function of a `Trial`, and `test_method` runs them under pytest, in
seconds. `training` holds what is checked of its runs, each a function of the method's `ShortRuns`: a few steps on synthetic
faces in processes of their own, and `test_training` runs those, in about a minute; `--quick` leaves them out.
"""
