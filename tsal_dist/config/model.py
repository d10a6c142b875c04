"""The detector and the tracker."""

from typing import Literal

from pydantic import Field, field_validator

from tsal_dist.config.section import Section
from tsal_dist.plugins import list_offered

DETECTORS = ("lite", "lite0", "lite1", "lite2", "resnet18", "resnet50", "hrnet_w18", "cpm_vgg16")
"""Of this package."""
DETECTOR_GROUP = "tsal_dist.detectors"
"""The entry points under which other packages offer theirs."""


class TrackerConfig(Section):
    """What carries points and heatmaps from one frame to its neighbour."""

    kind: Literal["dis", "lk", "pwc"] = "dis"
    """`dis` (dense) and `lk` (sparse) come from OpenCV and need no training; `pwc` is a flow net trained with
    the detector."""

    lr: float = Field(2e-4, gt=0)
    """Learning rate of `pwc`."""

    steps_per_version: int = Field(20, ge=0)
    """Steps that `pwc` takes for each student version the teacher absorbs, during burn-in too."""

    threads: int = Field(0, ge=0)
    """Threads that find the flow of `dis` and `lk` while the device labels; 0 takes as many as torch computes with."""

    max_fb_error_px: float = Field(1.5, gt=0)
    """A tracked point is valid where forward and backward flow disagree by at most this, in crop pixels."""

    max_move: float = Field(0.15, gt=0)
    """A tracked point is valid where it moved by at most this share of the crop."""


class LayoutConfig(Section):
    """What the landmarks are called. The labelled shards say it where their labels did."""

    names: tuple[str, ...] = ()
    """One name per landmark; () as the shards say, and numbers where they say nothing."""

    skeleton: tuple[tuple[int, int], ...] = ()
    """Pairs of landmarks, counted from 0, that pictures join by a line."""

    flip: Literal["faces", "names", "none"] = "faces"
    """How landmarks change places in a mirror image: as in the `faces` of 68, 98 or 19 points, by the sides in their
    `names` (left_ear and right_ear), or `none` when nobody knows, and then nothing is ever mirrored."""


class ModelConfig(Section):
    """The network that teacher and student share the shape of."""

    detector: str = "hrnet_w18"
    """`lite` trains on one CPU core; so does `lite0` (`lite1`, `lite2`: larger), which starts from ImageNet;
    `resnet18` and `resnet50` are for weights of your own, `hrnet_w18` is the stronger one, `cpm_vgg16` the
    paper's. `python -m tsal_dist.models` lists them, and what installed packages offer; `my_net.py:Net` is a file."""

    num_points: int = Field(68, ge=1)
    """Landmarks per subject: unless said, as many as the labelled shards have."""

    crop_px: int = Field(256, ge=32, multiple_of=32)
    """Side of the square the detector sees: unless said, less where the shards' subjects are small."""

    weights: str = ""
    """A local file with weights to start from (safetensors, or a torch file of plain tensors). "" starts
    `lite0` to `lite2` from the file of their installed package and the others from random; "random" starts any
    from random. Nothing is ever downloaded."""

    decode_radius: int = Field(4, ge=1)
    """Radius, in heatmap cells, of the local soft-argmax around a peak."""

    tracker: TrackerConfig = TrackerConfig()

    layout: LayoutConfig = LayoutConfig()

    @field_validator("detector")
    @classmethod
    def _known(cls, name: str) -> str:
        """Known by its name; whether a file fits is seen when it is built."""
        if ":" not in name and name not in DETECTORS and name not in list_offered(DETECTOR_GROUP):
            raise ValueError(
                f"there is no such detector. There are {', '.join(DETECTORS)}; a file of your own is named as my_net.py:Net"
            )
        return name
