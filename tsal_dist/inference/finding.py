"""A detector asked once or several times for the points of crops, as a `Decoding` says."""

from torch import Tensor

from tsal_dist.errors import ConfigError
from tsal_dist.geometry.heatmap import decode_heatmap
from tsal_dist.inference.decoding import Decoding
from tsal_dist.models.companions import agree
from tsal_dist.models.output import DetectorOutput, Forward
from tsal_dist.models.views import average_views, views_of


def check_views(decoding: Decoding) -> None:
    """There are only so many, and landmarks without known left and right are never mirrored."""
    most = len(views_of(decoding.mirror))
    if not 1 <= decoding.views <= most:
        why = (
            "" if decoding.mirror else ", as it is not known which landmarks change places in a mirror image"
        )
        raise ConfigError(f"--views is {decoding.views}; it must be 1 to {most}{why}.")


def find_points(
    forward: Forward, image_N3HW: Tensor, stride: int, radius: int, decoding: Decoding
) -> tuple[Tensor, Tensor, DetectorOutput]:
    """Points_NK2 in pixels of the crops, score_NK, and what the detector said of the plain view."""
    plain = forward(image_N3HW)
    heat_NKhw = average_views(
        forward, plain.points_heat_NKhw, image_N3HW, stride, decoding.views, decoding.mirror
    )
    if decoding.fitting:
        fitting = decoding.fitting
        agreed = agree(heat_NKhw, fitting.known, stride, radius, fitting.sigma_px)
        return agreed.points_NK2, agreed.score_NK, plain
    points_NK2, score_NK = decode_heatmap(heat_NKhw, stride, radius, squared=True)
    return points_NK2, score_NK, plain
