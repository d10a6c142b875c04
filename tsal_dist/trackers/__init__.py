"""Trackers: what carries points and heatmaps from one frame to its neighbour.

`build_tracker` makes one by name. `dis` (dense) and `lk` (a grid of Lucas-Kanade windows) come from OpenCV, need
no training and run on the CPU; `pwc` is a flow network that is trained with the detector. Given pairs of frames
each answers with a `Flow`: forward, backward, by how much the two disagree, and where they can be trusted.
`carry.carry_points` moves landmarks along it.
"""
