"""Detectors: an image in, heatmaps, a centre map and offsets out.

`build_detector` makes one by name: `cpm_vgg16` (the paper's), `hrnet_w18` (stronger), `lite` (trains on one CPU
core). All of them take normalised crops (`input.normalize`) and give the same `DetectorOutput`, at their own
`stride`. They are plain modules with plain arguments that know nothing of ranks; `pretrained` fills their trunk
from a local file and says what it loaded.
"""
