"""A detector with everything around it inside: a picture and boxes in, points and expected errors out.

What `Finder` does with OpenCV is done here with tensors, so that it can be exported: a runtime in any language then needs
neither our crops nor our decoding. Axes: N boxes, K points, G knots of the calibration, P pixels of a
crop, R rows of all crops.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tsal_dist.data.decode import FILL
from tsal_dist.geometry.center import agreement
from tsal_dist.geometry.heatmap import decode_heatmap
from tsal_dist.inference.trained import Trained
from tsal_dist.metrics.calibration import Calibration
from tsal_dist.models.detectors import stride_of
from tsal_dist.models.input import MEAN_RGB, STD_RGB


class WholeDetector(nn.Module):
    """RGB image_HW3 in bytes and box_N4 to points_NK2 and expected_px_NK in the image's pixels, score_NK and agreement_N."""

    fill_3: Tensor
    mean_3: Tensor
    std_3: Tensor
    knot_G: Tensor
    width_G: Tensor
    first_K: Tensor
    slope_KG: Tensor

    def __init__(self, trained: Trained, calibration: Calibration | None) -> None:
        super().__init__()
        self.model = trained.model
        self.stride = stride_of(trained.model)
        self.size_px, self.radius = trained.config.model.crop_px, trained.config.model.decode_radius
        self.sigma_px = trained.config.train.loss.sigma_px
        self.grown = 1 + 2 * trained.expand
        self.register_buffer("fill_3", torch.tensor(FILL, dtype=torch.float32))
        self.register_buffer("mean_3", 255 * torch.tensor(MEAN_RGB))
        self.register_buffer("std_3", 255 * torch.tensor(STD_RGB))
        knot_G, table_KG = _known(calibration, trained.config.model.num_points)
        self.register_buffer("knot_G", knot_G[:-1])
        self.register_buffer("width_G", knot_G.diff())
        self.register_buffer("first_K", table_KG[:, 0])
        self.register_buffer("slope_KG", table_KG.diff(dim=1) / knot_G.diff().clamp_min(1e-9))

    def forward(self, image_HW3: Tensor, box_N4: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        center_N12 = ((box_N4[:, :2] + box_N4[:, 2:]) / 2).unsqueeze(1)
        side_N = (box_N4[:, 2:] - box_N4[:, :2]).amax(1) * self.grown
        step_N11 = (side_N / self.size_px)[:, None, None]  # pixels of the image per pixel of the crop
        middle = (self.size_px - 1) / 2
        crop_N3hw = self._crop(image_HW3, center_N12, step_N11, middle)
        output = self.model((crop_N3hw - self.mean_3[:, None, None]) / self.std_3[:, None, None])
        points_NK2, score_NK = decode_heatmap(output[0][-1, :, :-1], self.stride, self.radius, squared=True)
        expected_NK = self._expected(score_NK) * step_N11[:, :, 0]
        agreement_N = agreement(points_NK2, output[1], output[2], self.stride, self.sigma_px)
        return (points_NK2 - middle) * step_N11 + center_N12, expected_NK, score_NK, agreement_N

    def _crop(self, image_HW3: Tensor, center_N12: Tensor, step_N11: Tensor, middle: float) -> Tensor:
        """Bilinear, and beyond the image's edge the colour that a net learns with: zeros are filled in, and are moved there."""
        axis = torch.arange(self.size_px, device=image_HW3.device, dtype=torch.float32) - middle
        at_P2 = torch.stack([axis.repeat(self.size_px), axis.repeat_interleave(self.size_px)], dim=-1)
        from_NP2 = at_P2 * step_N11 + center_N12
        last_2 = torch.stack(
            [
                torch.ones_like(axis[0]) * (image_HW3.shape[1] - 1),
                torch.ones_like(axis[0]) * (image_HW3.shape[0] - 1),
            ]
        )
        # One grid, with the crops one below the other: a picture per crop would be a large one copied many times.
        grid_1Rw2 = (2 * from_NP2 / last_2 - 1).reshape(1, -1, self.size_px, 2)
        image_13HW = (image_HW3.float() - self.fill_3).permute(2, 0, 1).unsqueeze(0)
        crop_3Rw = F.grid_sample(image_13HW, grid_1Rw2, padding_mode="zeros", align_corners=True)[0]
        crop_N3hw = crop_3Rw.reshape(3, -1, self.size_px, self.size_px).transpose(0, 1)
        return crop_N3hw + self.fill_3[:, None, None]

    def _expected(self, score_NK: Tensor) -> Tensor:
        """The calibration's straight pieces, added up as far as the score reaches: in pixels of the crop."""
        into_NKG = (score_NK.unsqueeze(-1) - self.knot_G).clamp_min(0).minimum(self.width_G)
        return self.first_K + (into_NKG * self.slope_KG).sum(-1)


def _known(calibration: Calibration | None, points: int) -> tuple[Tensor, Tensor]:
    """Knots and expected errors; where nothing was measured, errors that are no numbers."""
    if calibration is None:
        return torch.tensor([0.0, 1.0]), torch.full((points, 2), float("nan"))
    return calibration.knot_G.float(), calibration.expected_KG.float()
