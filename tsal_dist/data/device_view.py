"""The views of `augment` as tensor operations, for clips that readers left raw: on the device that will use them.

The oracle is what a reader paints. Both round to whole grey levels after every stage, as a camera would; they differ by
what OpenCV's warp saves in precision (it knows 32 places between two pixels) and by ties in rounding.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from tsal_dist.data.augment import View, blur_kernel, cover_with
from tsal_dist.data.copy_lane import lane_to
from tsal_dist.data.decode import FILL
from tsal_dist.data.raw_clip import RawClip
from tsal_dist.geometry import affine
from tsal_dist.geometry.warp import resample
from tsal_dist.records import Clip

RED, GREEN, BLUE = 0.299, 0.587, 0.114
"""Of grey."""


def crop_side(clip: Clip) -> int:
    """Pixels of the crop that a clip is or will be."""
    return clip.crop_px if isinstance(clip, RawClip) else clip.image_THWC.shape[1]


def render(clips: Sequence[Clip], device: torch.device) -> Tensor:
    """Image_BTHWC of clips of equal length, raw or not, as bytes on the device. One copy for all of their pixels."""
    if not any(isinstance(clip, RawClip) for clip in clips):
        return lane_to(device).send(np.stack([clip.image_THWC for clip in clips]))
    pixels = lane_to(device).send(np.concatenate([clip.image_THWC.reshape(-1) for clip in clips]))
    parts = torch.split(pixels, [clip.image_THWC.size for clip in clips])
    images = [part.view(clip.image_THWC.shape) for part, clip in zip(parts, clips, strict=True)]
    return torch.stack(
        [
            take_view(image_THWC, clip) if isinstance(clip, RawClip) else image_THWC
            for image_THWC, clip in zip(images, clips, strict=True)
        ]
    )


def take_view(image_THWC: Tensor, clip: RawClip) -> Tensor:
    """Crop_THWC of one clip's windows: one resampling, then everything that `View.paint` does. Beyond a window lies the fill
    colour, as beyond the constant border of `cv2.warpAffine`."""
    source_T3HW, back_23 = image_THWC.permute(0, 3, 1, 2).float(), affine.invert(clip.from_image_23)
    fill_311 = torch.cat([torch.full((1, 1, 1), float(value), device=image_THWC.device) for value in FILL])
    crop_T3hw = resample(source_T3HW - fill_311, back_23, clip.crop_px, "zeros") + fill_311
    return _paint(_round(crop_T3hw), clip.view).to(torch.uint8).permute(0, 2, 3, 1).contiguous()


def _paint(crop_T3hw: Tensor, view: View) -> Tensor:
    """Scene, light, lens, as `View.paint`; compression is a reader's."""
    send, size_px = lane_to(crop_T3hw.device).send, crop_T3hw.shape[-1]
    if view.patch is not None:
        rows, columns, cover_hwc, mask_hw = cover_with(view.patch, size_px)
        cover_3hw = send(cover_hwc).permute(2, 0, 1).float()
        hidden_hw = send(mask_hw) > 0
        part = crop_T3hw[:, :, rows, columns]
        crop_T3hw[:, :, rows, columns] = torch.where(hidden_hw, cover_3hw, part)
    if view.saturation != 1.0:
        red, green, blue = torch.split(crop_T3hw, 1, dim=1)
        grey_T1hw = torch.round(RED * red + GREEN * green + BLUE * blue)
        crop_T3hw = _round(view.saturation * crop_T3hw + (1 - view.saturation) * grey_T1hw)
    if view.brightness or view.contrast != 1.0:
        crop_T3hw = _round((crop_T3hw - 128.0) * view.contrast + 128.0 + 255.0 * view.brightness)
    if view.blur_px:
        crop_T3hw = _round(_blur(crop_T3hw, view))
    return crop_T3hw


def _blur(crop_T3hw: Tensor, view: View) -> Tensor:
    kernel_hw, border = blur_kernel(view.blur_px * crop_T3hw.shape[-1] / 256, view.streak_degrees)
    reach = kernel_hw.shape[0] // 2
    weight_311hw = lane_to(crop_T3hw.device).send(kernel_hw).expand(3, 1, -1, -1)
    return F.conv2d(F.pad(crop_T3hw, (reach,) * 4, mode=border), weight_311hw, groups=3)


def _round(level: Tensor) -> Tensor:
    return level.round().clamp(0, 255)
