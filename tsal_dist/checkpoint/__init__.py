"""Everything a role needs to go on as if nothing had happened.

Rank 0 writes the role's state, every rank its own random numbers, and only when all of it is on disk does COMMIT
appear, holding the digest of every file (`store`). A folder without COMMIT is nothing. States are nested dicts; `codec`
turns them into tensors and JSON and back, exactly and without pickle; `rng` captures the random number generators of a
process.
"""
