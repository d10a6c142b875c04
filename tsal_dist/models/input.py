"""What a detector sees: RGB bytes to normalised floats, on the device that will use them."""

import torch
from torch import Tensor

# The statistics that the pretrained trunks were trained with.
MEAN_RGB = (0.485, 0.456, 0.406)
STD_RGB = (0.229, 0.224, 0.225)


def normalize(image_NHWC: Tensor) -> Tensor:
    """Image_N3HW float32 from uint8 RGB; its memory stays channels-last, as the bytes came."""
    mean_3, std_3 = _row(MEAN_RGB, image_NHWC.device), _row(STD_RGB, image_NHWC.device)
    return ((image_NHWC.float() - mean_3 * 255) / (std_3 * 255)).permute(0, 3, 1, 2)


def _row(values: tuple[float, ...], device: torch.device) -> Tensor:
    """Made on the device: numbers that come from the host make it wait."""
    return torch.cat([torch.full((1,), value, device=device) for value in values])
