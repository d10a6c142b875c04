"""One process's part in a run, from its first file to its last.

`process` tells it; `build` makes a rank's parts from a config, `other_runs` finds labels and plans of other runs,
`overlap` refuses held-out footage that is trained on.
"""
