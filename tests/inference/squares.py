"""Subjects that anyone can see, a bright square and a flag, with detectors that were not trained, and films."""

import cv2
import numpy as np
import torch
from torch import nn

from tests.pack.packing import pack_all
from tsal_dist.config import load_config
from tsal_dist.data.shard_set import open_shards
from tsal_dist.geometry.center import encode_center
from tsal_dist.geometry.heatmap import encode_heatmap
from tsal_dist.inference.finder import Finder
from tsal_dist.inference.trained import Trained
from tsal_dist.models.input import MEAN_RGB, STD_RGB
from tsal_dist.models.output import DetectorOutput

SIDE_PX, SQUARE_PX = 160, 24
FLAG_RGB = ((1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 1, 0))
FLAG_PX, FLAG_NAMES = 48, ("red", "green", "blue", "yellow")
FLAG_CONFIG = load_config(
    [],
    [
        "model.num_points=4",
        "model.crop_px=64",
        "model.detector=lite",
        f"model.layout.names={list(FLAG_NAMES)}",
        "model.layout.skeleton=[[0,1],[2,3]]",
    ],
)


class SquareDetector(nn.Module):
    """Four landmarks at the corners of what is bright; low peaks everywhere where nothing is."""

    stride = 4

    def forward(self, image_N3HW):
        mean_3, std_3 = (torch.tensor(value).view(3, 1, 1) for value in (MEAN_RGB, STD_RGB))
        bright_NHW = ((image_N3HW * std_3 + mean_3).mean(1) > 0.5).float()
        size = image_N3HW.shape[-1]
        axis = torch.arange(float(size))
        points, seen = [], []
        for bright_HW in bright_NHW:
            columns, rows = axis[bright_HW.amax(0) > 0], axis[bright_HW.amax(1) > 0]
            found = len(columns) > 0
            x1, x2 = (columns[0], columns[-1]) if found else (axis[0], axis[-1])
            y1, y2 = (rows[0], rows[-1]) if found else (axis[0], axis[-1])
            points.append(
                torch.stack([torch.stack(each) for each in ((x1, y1), (x2, y1), (x2, y2), (x1, y2))])
            )
            seen.append(1.0 if found else 0.05)
        points_N42, peak_N4 = torch.stack(points), torch.tensor(seen)[:, None].expand(-1, 4)
        seen_N4 = torch.ones_like(peak_N4, dtype=torch.bool)
        cells = (size // self.stride, size // self.stride)
        heat_N5hw = encode_heatmap(points_N42, seen_N4, cells, self.stride, 3.0)
        heat_N5hw = heat_N5hw * peak_N4[:, :1, None, None]
        center = encode_center(points_N42, seen_N4, cells, self.stride)
        offset_N8hw = center.offset_NK2.flatten(1)[..., None, None].expand(-1, -1, *cells)
        return DetectorOutput(heat_N5hw.unsqueeze(0), 8 * center.center_N1hw - 4, offset_N8hw)


def draw_square(middle, side=SQUARE_PX):
    image = np.zeros((SIDE_PX, SIDE_PX, 3), np.uint8)
    if middle is not None:
        (x1, y1), (x2, y2) = (
            (np.array(middle) - side / 2).astype(int),
            (np.array(middle) + side / 2).astype(int),
        )
        image[y1:y2, x1:x2] = 255
    return image


class FlagDetector(nn.Module):
    """Four landmarks at the outer corners of a flag's red, green, blue and yellow quarters; the peak of each falls with how
    far its colour is scattered. What is left of a flag that was cut up is no flag."""

    stride = 4

    def forward(self, image_N3HW):
        mean_3, std_3 = (torch.tensor(value).view(3, 1, 1) for value in (MEAN_RGB, STD_RGB))
        bright_N3HW = (image_N3HW * std_3 + mean_3) > 0.5
        size = image_N3HW.shape[-1]
        axis = torch.arange(float(size))
        points, peaks = [], []
        for colour in FLAG_RGB:
            mask_NHW = (bright_N3HW == torch.tensor(colour).view(3, 1, 1)).all(1).float()
            count_N = mask_NHW.sum((1, 2)).clamp_min(1)
            x_N, y_N = (mask_NHW.sum(1) @ axis) / count_N, (mask_NHW.sum(2) @ axis) / count_N
            away_NHW = (axis - x_N[:, None])[:, None] ** 2 + (axis - y_N[:, None])[:, :, None] ** 2
            scatter_N = (mask_NHW * away_NHW).sum((1, 2)) / count_N
            points.append(torch.stack([x_N, y_N], -1))
            peaks.append(torch.exp(-scatter_N / (0.2 * size) ** 2) * (count_N > size / 2) + 0.02)
        quarters_N42, peak_N4 = torch.stack(points, 1), torch.stack(peaks, 1)
        middle_N12 = quarters_N42.mean(1, keepdim=True)
        points_N42 = (middle_N12 + 2 * (quarters_N42 - middle_N12)).clamp(0, size - 1)
        seen_N4 = torch.ones_like(peak_N4, dtype=torch.bool)
        cells = (size // self.stride, size // self.stride)
        heat_N5hw = encode_heatmap(points_N42, seen_N4, cells, self.stride, 4.0)
        heat_N5hw = torch.cat([heat_N5hw[:, :4] * peak_N4[..., None, None], heat_N5hw[:, 4:]], 1)
        center = encode_center(points_N42, seen_N4, cells, self.stride)
        offset_N8hw = center.offset_NK2.flatten(1)[..., None, None].expand(-1, -1, *cells)
        return DetectorOutput(heat_N5hw.unsqueeze(0), 8 * center.center_N1hw - 4, offset_N8hw)


def draw_flag(middle, side):
    """Quarters: red and green above, blue and yellow below, on black."""
    image = np.zeros((SIDE_PX, SIDE_PX, 3), np.uint8)
    if middle is not None:
        half = side // 2
        corners = ((0, 0), (half, 0), (0, half), (half, half))
        for (right, down), colour in zip(corners, FLAG_RGB, strict=True):
            x, y = middle[0] - half + right, middle[1] - half + down
            image[y : y + half, x : x + half] = 255 * np.array(colour[::-1])
    return image


def flag_points(middle, side):
    signs = np.array([(-1, -1), (1, -1), (-1, 1), (1, 1)])
    return np.array(middle) - 0.5 + side / 2 * signs


def pack_flags(folder, side, off_px, count=40, **options):
    """Shards with stills of flags all over the picture, whose labels are `off_px` to the right of where they belong."""
    lines = ["path,x1,y1,x2,y2," + ",".join(f"p{k}x,p{k}y" for k in range(4))]
    random = np.random.default_rng(0)
    for number in range(count):
        middle = random.integers(50, 110, 2).tolist()
        cv2.imwrite(str(folder / f"{number}.png"), draw_flag(middle, side))
        points_42 = flag_points(middle, side)
        box_4 = np.concatenate([points_42.min(0), points_42.max(0)])
        lines.append(",".join(map(str, [f"{number}.png", *box_4, *(points_42 + [off_px, 0]).ravel()])))
    (folder / "labels.csv").write_text("\n".join(lines))
    pack_all(folder, lists=[folder / "labels.csv"], split="held-out", quality=98, **options)
    return open_shards([str(folder / "held-out")])


def finder_of(detector, *settings):
    config = load_config([], ["model.num_points=4", "model.crop_px=64", "model.detector=lite", *settings])
    return Finder(Trained(detector, config, "made"), torch.device("cpu"))


def write_film(path, middles, draw=draw_square):
    path.parent.mkdir(parents=True, exist_ok=True)
    codec = "MJPG" if path.suffix == ".avi" else "mp4v"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*codec), 25, (SIDE_PX, SIDE_PX))
    for middle in middles:
        writer.write(draw(middle))
    writer.release()
    return path
