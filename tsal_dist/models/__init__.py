"""Detectors: an image in, heatmaps, a centre map and offsets out.

`build_detector` makes one by name: `lite` (trains on one CPU core), `lite0` to `lite2` (so does the first, from
ImageNet weights that a package ships), `resnet18` and `resnet50` (for a published file), `hrnet_w18` (stronger),
`cpm_vgg16` (the paper's). All of them take normalised crops (`input.normalize`) and give the same `DetectorOutput`, at their own
`stride`. They are plain modules with plain arguments that know nothing of ranks; `pretrained` fills their trunk
from a local file, which `published` finds, and says what it loaded. `views` asks one of them several times, `companions`
says which peaks fit each other, and `box_net` makes one that finds subjects in whole pictures.
"""
