"""A soak: real training for a while, hurt on a seeded schedule, then its books closed.

`schedule` says what happens when; `acts` names what is done, `injuries` and `intrusions` do it, the latter by what does not
belong to the run; `preload` lies to the roles about time and listings. `run_under_test` keeps the roles going as a cluster
would, `recovery` times that, `process_growth` watches memory and descriptors, `violations` says what was broken, `report`
prints it. `session` puts them together.
"""
