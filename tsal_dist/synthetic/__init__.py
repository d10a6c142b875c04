"""A world of synthetic faces: videos with exact landmarks that anyone may have.

A head has a `shape` (68 points, how people differ, how expressions move them), a `surface` in three dimensions,
a `look`, and a `skin` painted on it; `features` paints per frame what moves by itself. `motion` tells the clip's
story, `camera` and `raster` take it to pixels, `head` draws it, `scenery` stands around it. `clip` renders one
clip in memory, a pure function of a small spec:

    rendered = clip.render_clip(clip.ClipSpec(seed=1, frames=8, size_px=96))

`dataset` writes many clips to disk with their annotations and lists; a tiny data set for a test is one line:

    dataset.write_dataset(folder, dataset.DatasetSpec(videos=3, frames=6, size_px=64, labelled=0.5))
"""
