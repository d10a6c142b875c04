"""Files of other labelling tools, one format to a file: each reads its own into entries and writes entries back.

What a format cannot say is lost on the way out and never invented on the way in: DeepLabCut has no hidden points, Label
Studio no frames of videos, and COCO names these in a way of our own, `file#frame`. Coordinates are pixels of the source,
frames count from 0 in an `Entry`.
"""
