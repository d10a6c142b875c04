"""Shards to clips: the order, the read, the decode, the view.

A clip list (`clips`) is every clip that a set of shards holds. `order` shuffles it per epoch as a pure function
and deals it to ranks. A worker process (`pool`) reads a clip in one piece, decodes and crops it (`decode`), and
distorts it (`augment`) with random numbers that belong to the sample (`seeded_rng`). `stream` joins them, knows its
position, and goes on from it after a restart. `reader` gives any frame again by name, for pseudo-labels.
"""
