"""Random views of a clip: one geometry and one look for all its frames.

Frames of a clip must move like the video does, or optical flow would measure the augmentation; so everything is
drawn once per clip (`draw_view`), turned into one matrix (`View.to_crop`) and painted alike on each frame
(`View.paint`). Every number is drawn whatever the chances are: changing one setting leaves the others' draws.
"""

from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from tsal_dist.config.data import AugmentConfig
from tsal_dist.geometry import affine

Image = NDArray[np.uint8]

PATCH_SHARE = (0.15, 0.45)  # an occluder's sides, as shares of the crop's
BLUR_PX_AT_256 = (0.6, 2.4)
JPEG_QUALITY = (8, 35)


@dataclass(frozen=True)
class Patch:
    """A textured ellipse or rectangle that hides part of the face; shares of the crop's side."""

    x: float
    y: float
    width: float
    height: float
    ellipse: bool
    texture_hwc: Image


@dataclass(frozen=True)
class View:
    """One draw; the defaults leave a clip as it is."""

    zoom: float = 1.0
    degrees: float = 0.0
    shift: tuple[float, float] = (0.0, 0.0)
    flip: bool = False
    brightness: float = 0.0
    contrast: float = 1.0
    saturation: float = 1.0
    blur_px: float = 0.0
    """Gaussian's sigma in a crop of 256 pixels; 0 leaves the picture sharp."""
    streak_degrees: float | None = None
    """Direction of a motion blur, in place of the gaussian."""
    jpeg_quality: int = 0
    """0 leaves the picture as it is."""
    patch: Patch | None = None

    def to_crop(self, box_4: ArrayLike, crop_px: int, expand: float) -> affine.Matrix:
        """Source pixels to crop pixels for a face box x1 y1 x2 y2."""
        return affine.crop(
            box_4,
            crop_px,
            expand=expand,
            zoom=self.zoom,
            degrees=self.degrees,
            shift_px=(self.shift[0] * crop_px, self.shift[1] * crop_px),
            flip=self.flip,
        )

    def paint(self, crop_hwc: Image) -> Image:
        """Everything but geometry, in the order in which a camera does it: scene, light, lens, compression."""
        if self.patch is not None:
            crop_hwc = _cover(crop_hwc, self.patch)
        if self.saturation != 1.0:
            grey_hw = cv2.cvtColor(crop_hwc, cv2.COLOR_RGB2GRAY)
            grey_hwc = cv2.cvtColor(grey_hw, cv2.COLOR_GRAY2RGB)
            crop_hwc = _image(cv2.addWeighted(crop_hwc, self.saturation, grey_hwc, 1 - self.saturation, 0))
        if self.brightness or self.contrast != 1.0:
            level = (np.arange(256) - 128.0) * self.contrast + 128.0 + 255.0 * self.brightness
            crop_hwc = _image(cv2.LUT(crop_hwc, np.clip(np.rint(level), 0, 255).astype(np.uint8)))
        if self.blur_px:
            crop_hwc = _blur(crop_hwc, self.blur_px * crop_hwc.shape[0] / 256, self.streak_degrees)
        if self.jpeg_quality:
            _, data = cv2.imencode(".jpg", crop_hwc, [cv2.IMWRITE_JPEG_QUALITY, self.jpeg_quality])
            crop_hwc = _image(cv2.imdecode(data, cv2.IMREAD_COLOR))
        return crop_hwc


PLAIN = View()


def draw_view(config: AugmentConfig, rng: np.random.Generator) -> View:
    """One random view; `rng` should be the clip's own (`seeded_rng.generator_for`)."""
    geometry, colour = np.split(rng.random(7) * 2 - 1, [4])
    flip, blur, streak, jpeg, occlude, ellipse, *strength = rng.random(9)
    place = rng.random(4)
    texture_hwc = rng.integers(0, 256, (3, 3, 3), dtype=np.uint8)
    sides = PATCH_SHARE[0] + place[2:] * (PATCH_SHARE[1] - PATCH_SHARE[0])
    return View(
        zoom=1 + config.scale * geometry[0],
        degrees=config.rotate_deg * geometry[1],
        shift=(config.shift * geometry[2], config.shift * geometry[3]),
        flip=bool(flip < config.flip_prob),
        brightness=config.brightness * colour[0],
        contrast=1 + config.contrast * colour[1],
        saturation=1 + config.saturation * colour[2],
        blur_px=_between(BLUR_PX_AT_256, strength[0]) if blur < config.blur_prob else 0.0,
        streak_degrees=360 * strength[1] if streak < 0.5 else None,
        jpeg_quality=round(_between(JPEG_QUALITY, strength[2])) if jpeg < config.jpeg_prob else 0,
        patch=Patch(
            x=place[0],
            y=place[1],
            width=sides[0],
            height=sides[1],
            ellipse=ellipse < 0.5,
            texture_hwc=texture_hwc,
        )
        if occlude < config.occlude_prob
        else None,
    )


def _between(bounds: tuple[float, float], share: float) -> float:
    return bounds[0] + share * (bounds[1] - bounds[0])


def _image(array: object) -> Image:
    return np.asarray(array, np.uint8)


def cover_with(patch: Patch, size_px: int) -> tuple[slice, slice, Image, Image]:
    """Rows and columns of a crop that the patch lies on, what it looks like there, and its mask."""
    width, height = max(2, round(patch.width * size_px)), max(2, round(patch.height * size_px))
    left, top = round(patch.x * size_px - width / 2), round(patch.y * size_px - height / 2)
    cover_hwc = cv2.resize(patch.texture_hwc, (width, height), interpolation=cv2.INTER_CUBIC)
    mask_hw = np.full((height, width), 255, np.uint8)
    if patch.ellipse:
        mask_hw[:] = 0
        cv2.ellipse(mask_hw, (width // 2, height // 2), (width // 2, height // 2), 0, 0, 360, 255, cv2.FILLED)
    rows = slice(max(0, top), min(size_px, top + height))
    columns = slice(max(0, left), min(size_px, left + width))
    inner = (slice(rows.start - top, rows.stop - top), slice(columns.start - left, columns.stop - left))
    return rows, columns, _image(cover_hwc[inner]), mask_hw[inner]


def blur_kernel(
    sigma_px: float, streak_degrees: float | None
) -> tuple[NDArray[np.float32], Literal["reflect", "replicate"]]:
    """The weights of a blur, a square of odd side, and how it goes on beyond the picture's border."""
    if streak_degrees is None:
        side = round(6 * sigma_px + 1) | 1  # as OpenCV chooses it for bytes
        along = cv2.getGaussianKernel(side, sigma_px, cv2.CV_32F)
        return np.asarray(along @ along.T, np.float32), "reflect"
    reach = max(1, round(2 * sigma_px))
    kernel_hw = np.zeros((2 * reach + 1, 2 * reach + 1), np.float32)
    step = reach * np.array([np.cos(np.radians(streak_degrees)), np.sin(np.radians(streak_degrees))])
    start, end = np.rint(reach - step).astype(int), np.rint(reach + step).astype(int)
    cv2.line(kernel_hw, (int(start[0]), int(start[1])), (int(end[0]), int(end[1])), 1.0)
    return np.asarray(kernel_hw / kernel_hw.sum(), np.float32), "replicate"


def _cover(crop_hwc: Image, patch: Patch) -> Image:
    rows, columns, cover_hwc, mask_hw = cover_with(patch, crop_hwc.shape[0])
    painted_hwc = crop_hwc.copy()
    cv2.copyTo(cover_hwc, mask_hw, painted_hwc[rows, columns])
    return painted_hwc


def _blur(crop_hwc: Image, sigma_px: float, streak_degrees: float | None) -> Image:
    if streak_degrees is None:
        return _image(cv2.GaussianBlur(crop_hwc, (0, 0), sigma_px))
    kernel_hw, _ = blur_kernel(sigma_px, streak_degrees)
    return _image(cv2.filter2D(crop_hwc, -1, kernel_hw, borderType=cv2.BORDER_REPLICATE))
