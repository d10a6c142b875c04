"""A soak: real training for a while, hurt on a seeded schedule, then its books closed.

`schedule` says what happens when, `injuries` does it, `run` keeps the roles going as a cluster would, `growth`
watches memory and descriptors, `verdict` says what was broken. tools/soak/__main__.py puts them together.
"""
