"""A soak: real training for a while, hurt on a seeded schedule, then its books closed.

`schedule` says what happens when, `injuries` does it, `run_under_test` keeps the roles going as a cluster would,
`process_growth` watches memory and descriptors, `violations` says what was broken. tools/soak/__main__.py puts them together.
"""
