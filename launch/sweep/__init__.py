"""Sweeps on Ray Tune: each trial is a whole run, of several processes and, where asked for, on several machines.

`trial_plan` decides and checks everything before anything starts. `engine` hands the plan to Tune, which asks for a
placement group per trial and runs a `trial` in it; that one has a `machine` on every node it got, and those keep a
`launch.crew` each. A trial's state is its run directory (`lineage`), so stopping, retrying, resuming and cloning
are what they are for any run. `watch` shows how far the trials are, `results` and `plots` what came of them.
Only `engine`, `cluster`, `trial` and `watch` know Ray.
"""
