"""The only place where pixel conventions live.

A pixel's coordinate is its centre: the top left pixel of an image is (0, 0) and its picture reaches from -0.5
to width - 0.5. Points are (x, y). Boxes are x1 y1 x2 y2 in the same coordinates.

An `affine` matrix takes source pixels to the crop that the detector sees; the image and its points go through
the same 2x3 matrix, and the inverse takes predictions home. A mirrored face also swaps its left and right
landmarks (`flip`). A heatmap of stride d has one cell per d x d pixels; a cell's centre is the pixel
d * cell + (d - 1) / 2, which `heatmap`, `center` and `boxes` use to encode targets and to decode predictions. `warp`
follows an optical flow from frame to frame: flow a->b holds, for each pixel p of a, the step to p's place in b.

A grid of pixel coordinates is sampled with align_corners=True, where a coordinate means the same at every resolution of the
sampler: with False, a zero flow moves the picture. Where a place is a share of the picture's sides (a map that is enlarged by a
whole factor, or turned about its middle) it is align_corners=False: there the picture's edges are -1 and 1, and the cells'
centres stay where the formula above has them. `affine` and `flip` are free of torch, for the processes that only read data.
"""
