"""A soak: real training for a while, hurt on a seeded schedule, then its books closed.

`schedule` says what happens when, `injuries` does it, `patient` keeps the roles going as a cluster would, `vitals`
watches memory and descriptors, `verdict` says what was broken. tools/soak.py puts them together.
"""
