"""Pictures whose landmarks any test can find: dots of many colours, and a detector that looks for colours."""

import numpy as np
import torch
from torch.nn import functional as F

from tsal_dist.geometry.center import encode_center
from tsal_dist.geometry.flip import flip_order
from tsal_dist.geometry.heatmap import encode_heatmap
from tsal_dist.models.input import MEAN_RGB, STD_RGB
from tsal_dist.models.output import DetectorOutput
from tsal_dist.recipes.frames import Frames
from tsal_dist.records import Clip, FrameRef

POINTS, SIZE_PX, STRIDE, DOT_PX = 68, 128, 4, 4.5


def colours():
    """One colour per landmark: at least 60 levels from every other one and from black."""
    levels = [np.arange(60, 241, 60), np.arange(60, 241, 60), np.arange(0, 241, 60)]
    return np.stack(np.meshgrid(*levels, indexing="ij"), -1).reshape(-1, 3)[:POINTS].astype(np.uint8)


def grid_points(shift=(0.0, 0.0)):
    """Landmarks far enough apart for their dots, and inside the crop however a view turns it."""
    place = np.arange(POINTS)
    return 24.0 + 10.0 * np.stack([place % 9, place // 9], 1) + np.array(shift)


def paint(points_K2):
    """A black crop with a dot of its own colour around each landmark."""
    y, x = np.mgrid[:SIZE_PX, :SIZE_PX]
    gap_KHW = np.hypot(x - points_K2[:, 0, None, None], y - points_K2[:, 1, None, None])
    shown_HW1 = (gap_KHW.min(0) <= DOT_PX)[..., None]
    return np.where(shown_HW1, colours()[gap_KHW.argmin(0)], 0).astype(np.uint8)


def build_clip(points_TK2, **settings):
    """A clip of painted frames whose crop pixels are source pixels, unless told otherwise."""
    frames, points = points_TK2.shape[:2]
    given = {
        "image_THWC": np.stack([paint(points_K2) for points_K2 in points_TK2]),
        "points_TK2": points_TK2.astype(np.float32),
        "visible_TK": np.ones((frames, points), np.bool_),
        "labelled_T": np.ones(frames, np.bool_),
        "to_crop_23": np.eye(2, 3),
        "box_4": np.array([24, 24, 104, 104], np.float32),
        "face_px": 80.0,
        "video": "painted",
        "frames_T": np.arange(frames, dtype=np.int32),
        "ref": FrameRef(0, 0),
        "stride": 1,
        "sample_id": 3,
        "pad": False,
    }
    return Clip(**(given | settings))


def unlabelled(image_NHWC, clip_frames):
    count = len(image_NHWC)
    return Frames(
        image_NHWC=torch.as_tensor(image_NHWC),
        points_NK2=torch.zeros(count, POINTS, 2),
        visible_NK=torch.zeros(count, POINTS, dtype=torch.bool),
        labelled_N=torch.zeros(count, dtype=torch.bool),
        face_px_B=torch.full((count // clip_frames,), 80.0),
        clip_frames=clip_frames,
    )


class ColourDetector:
    """Peaks where the dots are. It names them as a face's detector does: what is left in the picture is left."""

    def __init__(self):
        self.frames = 0
        """How many it has looked at."""

    def __call__(self, image_N3HW):
        self.frames += len(image_N3HW)
        points_NK2, seen_NK = self.find(image_N3HW)
        cells = (image_N3HW.shape[-2] // STRIDE, image_N3HW.shape[-1] // STRIDE)
        center = encode_center(points_NK2, seen_NK, cells, STRIDE)
        offset_N2Khw = center.offset_NK2.flatten(1)[..., None, None].expand(-1, -1, *cells)
        heat_NKhw = encode_heatmap(points_NK2, seen_NK, cells, STRIDE, sigma_px=6.0)
        return DetectorOutput(heat_NKhw.unsqueeze(0), 8 * center.center_N1hw - 4, offset_N2Khw)

    def find(self, image_N3HW):
        mean_3, std_3 = (torch.tensor(value).view(3, 1, 1) for value in (MEAN_RGB, STD_RGB))
        rgb_N13HW = ((image_N3HW * std_3 + mean_3) * 255).unsqueeze(1)
        goal_K311 = torch.from_numpy(colours()).float().view(POINTS, 3, 1, 1)
        off_NKHW = ((rgb_N13HW - goal_K311).abs().amax(2) > 26).float()
        # Where a view was resampled a dot's rim fades to black through the colours of others: only what is well
        # inside of a dot counts.
        dot_NKHW = 1 - F.max_pool2d(off_NKHW, 3, stride=1, padding=1)
        y, x = torch.meshgrid(*(torch.arange(float(side)) for side in dot_NKHW.shape[-2:]), indexing="ij")
        mass_NK = dot_NKHW.sum((-2, -1))
        sums = [(dot_NKHW * axis).sum((-2, -1)) for axis in (x, y)]
        points_NK2 = torch.stack(sums, -1) / mass_NK.clamp_min(1).unsqueeze(-1)
        mirrored_N = points_NK2[:, 0, 0] > points_NK2[:, 16, 0]
        order = list(flip_order(POINTS))
        named_NK2 = torch.where(mirrored_N[:, None, None], points_NK2[:, order], points_NK2)
        return named_NK2, mass_NK > 0


class ShiftTracker:
    """Says that everything moved by the same step, and back."""

    def __init__(self, x_px, y_px):
        self.step_2 = torch.tensor([x_px, y_px])
        self.pairs = 0

    def __call__(self, a_NHWC, b_NHWC):
        from tsal_dist.trackers.flow import Flow

        self.pairs += len(a_NHWC)
        flow_N2HW = self.step_2.view(1, 2, 1, 1).expand(len(a_NHWC), 2, *a_NHWC.shape[1:3])
        return Flow(flow_N2HW, -flow_N2HW)
