"""One clip's pixels and landmarks under one view: what own and foreign shards have in common."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tsal_dist.config.data import AugmentConfig
from tsal_dist.data.augment import PLAIN, View, draw_view
from tsal_dist.data.decode import decode_crop
from tsal_dist.data.seeded_rng import generator_for
from tsal_dist.errors import ConfigError
from tsal_dist.geometry import affine


@dataclass(frozen=True)
class ViewSettings:
    """What is done to every clip."""

    crop_px: int
    expand: float = 0.2
    """The subject's box grows by this share on each side."""
    augment: AugmentConfig | None = None
    """None: the plain crop."""
    labels: bool = True
    """False: annotations are not looked at."""
    labels_of: frozenset[int] | None = None
    """Shards whose annotations are looked at; None is all of them."""
    raw: bool = False
    """True: readers only decode and cut; the view is taken where the pixels are used (`device_view`)."""
    points: int | None = None
    """K of the clips, for shards that have no landmarks of their own; None takes theirs."""
    mirror: tuple[int, ...] = ()
    """Which landmark takes which one's place in a mirror image (`geometry.flip`); () where nobody knows."""

    def check(self, points: int) -> None:
        """Refuse mirrors of a layout that nobody knows before an epoch begins, not in its middle."""
        if self.points not in (None, points) and self.labels and points:
            raise ConfigError(
                f"The shards have {points} landmarks where {self.points} are expected. "
                "Take shards of one landmark layout."
            )
        points = points or self.points or 0  # clips without landmarks of their own still carry a teacher's
        if self.augment is not None and self.augment.flip_prob and points and not self.mirror:
            raise ConfigError(
                f"flip_prob is {self.augment.flip_prob:g}, and nobody knows which of these {points} landmarks takes "
                "which one's place in a mirror image. Set flip_prob=0, or name the landmarks by their sides."
            )

    def looks_at_labels(self, shard: int) -> bool:
        """Whether this shard's annotations count."""
        return self.labels and (self.labels_of is None or shard in self.labels_of)

    def view(self, rng_key: Sequence[int | str], mirrored: bool = True) -> View:
        """The view that these words stand for; the plain one without words or augmentation."""
        if self.augment is None or not rng_key:
            return PLAIN
        view = draw_view(self.augment, generator_for(*rng_key))
        return view if mirrored else replace(view, flip=False)


def crop_images(
    images: Sequence[bytes | memoryview], view: View, to_crop_23: affine.Matrix, crop_px: int
) -> NDArray[np.uint8]:
    """Encoded frames to RGB image_THWC."""
    image_THWC = np.empty((len(images), crop_px, crop_px, 3), np.uint8)
    for number, data in enumerate(images):
        image_THWC[number] = view.paint(decode_crop(data, to_crop_23, crop_px))
    return image_THWC


def place_points(
    points_TK2: ArrayLike,
    placed_TK: ArrayLike,
    to_crop_23: affine.Matrix,
    crop_px: int,
    mirror_K: Sequence[int] = (),
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Landmarks of the source in a crop: moved, renamed by `mirror_K` if it is given, and which of them lie inside.

    Points that are not placed, or fall outside of the crop, are zero and not visible. Any leading axes.
    """
    moved = affine.apply(to_crop_23, points_TK2)
    visible = np.asarray(placed_TK, np.bool_)
    if mirror_K:
        order = list(mirror_K)
        moved, visible = moved[..., order, :], visible[..., order]
    inside = ((moved >= -0.5) & (moved <= crop_px - 0.5)).all(-1)
    visible = visible & inside
    return np.where(visible[..., None], moved, 0.0).astype(np.float32), visible
