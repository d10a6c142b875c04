"""What a detector sees: RGB bytes to normalised floats, on the device that will use them."""

import torch
from torch import Tensor

# The statistics that the pretrained trunks were trained with.
MEAN_RGB = (0.485, 0.456, 0.406)
STD_RGB = (0.229, 0.224, 0.225)


def normalize(image_NHWC: Tensor) -> Tensor:
    """Image_N3HW float32 from uint8 RGB; its memory stays channels-last, as the bytes came."""
    mean_3 = torch.tensor(MEAN_RGB, device=image_NHWC.device) * 255
    std_3 = torch.tensor(STD_RGB, device=image_NHWC.device) * 255
    return ((image_NHWC.float() - mean_3) / std_3).permute(0, 3, 1, 2)
