"""What trains a flow network without labels: what it rebuilds should look like what was there.

Axes: N pairs, H W pixels. Pictures are floats in [0, 1].
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from tsal_dist.losses.term import Term

PATCH = 7
# Differences in gray well above this, in units of [0, 255], count as plain "lighter" or "darker".
SOFT_GRAY = 0.9
SOFT_HAMMING = 0.1
EDGE = 10.0


def census_loss(image_N3HW: Tensor, rebuilt_N3HW: Tensor, valid_N1HW: Tensor) -> Term:
    """Sum over valid pixels of rho(census(I), census(I~)); count: valid pixels.

    census(I)_q = d_q / sqrt(0.81 + d_q^2), d_q = 255 (gray(p + q) - gray(p)) over a 7x7 patch: the order of
    brightness, which light and exposure leave alone. rho = mean over q of d^2 / (0.1 + d^2), a soft count of the
    places where the order differs.
    """
    difference = (_census(image_N3HW) - _census(rebuilt_N3HW)).square()
    error_N1HW = (difference / (SOFT_HAMMING + difference)).mean(1, keepdim=True)
    # Within half a patch of the border the patch is cut off.
    margin = PATCH // 2
    inside = F.pad(
        torch.ones_like(valid_N1HW[..., margin:-margin, margin:-margin], dtype=torch.float32), [margin] * 4
    )
    mask_N1HW = valid_N1HW.float() * inside
    return Term((error_N1HW * mask_N1HW).sum(), mask_N1HW.sum())


def smoothness_loss(flow_N2HW: Tensor, image_N3HW: Tensor) -> Term:
    """Sum over pixels, axes a and components of exp(-10 |d_a I|) |d_a f| / 2; count: pixels.

    A flow may break where the picture has an edge. |d_a I| is the mean over colours; f is in pixels.
    """
    total = flow_N2HW.new_zeros(())
    for axis in (-1, -2):
        edge = image_N3HW.diff(dim=axis).abs().mean(1, keepdim=True)
        total = total + (torch.exp(-EDGE * edge) * flow_N2HW.diff(dim=axis).abs()).sum() / 2
    return Term(total, torch.full((), float(flow_N2HW[:, 0].numel()), device=flow_N2HW.device))


def _census(image_N3HW: Tensor) -> Tensor:
    red_N1HW, green_N1HW, blue_N1HW = torch.split(image_N3HW.float(), 1, dim=1)
    gray_N1HW = 255 * (0.299 * red_N1HW + 0.587 * green_N1HW + 0.114 * blue_N1HW)
    count, _, height, width = gray_N1HW.shape
    around_NQHW = F.unfold(gray_N1HW, PATCH, padding=PATCH // 2).view(count, PATCH**2, height, width)
    difference = around_NQHW - gray_N1HW
    return difference / torch.sqrt(SOFT_GRAY**2 + difference.square())
