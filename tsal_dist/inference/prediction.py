"""Landmarks on footage that nobody labelled: frame by frame, the box following the face by its own landmarks.

Where no box is given, boxes all over the first frame are looked into and moved to what is found in them. From then on
the box is the landmarks' own, smoothed; when the peaks fall so low that the face seems lost, the search
begins anew.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from tsal_dist.errors import DataError
from tsal_dist.geometry import affine
from tsal_dist.geometry.center import decode_center
from tsal_dist.geometry.heatmap import decode_heatmap
from tsal_dist.inference.trained import Trained
from tsal_dist.models.detectors import stride_of
from tsal_dist.models.input import normalize

Box = NDArray[np.float64]
Image = NDArray[np.uint8]

IMAGE_SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff"}
LOOKS = 4
"""How often a box that was guessed is looked at again, each time closer."""
SEARCH = ((0.9, 1), (0.65, 2), (0.45, 3))
"""A search's first boxes: their side as a share of the picture's shorter one, and how many stand along each side."""
SMOOTH = 0.6
"""Share of the new landmarks' box in the next frame's; the rest is the old one's, against trembling."""
LOST_SCORE = 0.15
"""Mean peak below which the face counts as lost. A found face's is several times higher."""


@dataclass(frozen=True)
class Found:
    """One frame's landmarks, in its own pixels."""

    path: str
    frame: int
    """Counted from 0."""
    pts_ms: float
    box_4: Box
    points_K2: NDArray[np.float64]
    score_K: NDArray[np.float64]


@dataclass(frozen=True)
class Picture:
    """One frame to look at."""

    path: str
    frame: int
    pts_ms: float
    image_HWC: Image
    """BGR, as OpenCV decodes."""


class Finder:
    """Runs a detector on crops around boxes."""

    def __init__(self, trained: Trained, device: torch.device) -> None:
        self._model = trained.model.to(device).eval()
        self._config = trained.config
        self._device = device
        self._stride = stride_of(trained.model)

    def look(self, image_HWC: Image, box_4: Box) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Landmarks_K2 in the image's pixels and score_K, within a box grown as in training."""
        points_1K2, score_1K, _ = self._look(image_HWC, [box_4])
        return points_1K2[0], score_1K[0]

    def search(self, image_HWC: Image) -> Box:
        """A box around the face, wherever it is: boxes all over the picture are looked into, each is moved to what
        was found in it, and the one wins whose points are sure and told alike by heatmaps and offsets."""
        boxes = list(spread_boxes(image_HWC))
        for _ in range(LOOKS):
            points_CK2, score_CK, agreement_C = self._look(image_HWC, boxes)
            boxes = [tight_box(points_K2, image_HWC) for points_K2 in points_CK2]
        return boxes[int(np.argmax(score_CK.mean(1) * agreement_C))]

    @torch.no_grad()
    def _look(
        self, image_HWC: Image, boxes: Sequence[Box]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
        """Landmarks_CK2 in the image's pixels, score_CK and agreement_C of the two descriptions, for C boxes."""
        settings, size_px = self._config.model, self._config.model.crop_px
        matrices = [affine.crop(box_4, size_px, expand=self._config.data.box_expand) for box_4 in boxes]
        crops = [
            cv2.cvtColor(
                cv2.warpAffine(image_HWC, matrix, (size_px, size_px), flags=cv2.INTER_LINEAR),
                cv2.COLOR_BGR2RGB,
            )
            for matrix in matrices
        ]
        output = self._model(normalize(torch.from_numpy(np.stack(crops)).to(self._device)))
        points_CK2, score_CK = decode_heatmap(output.points_heat_NKhw, self._stride, settings.decode_radius)
        faces_C1K2, _ = decode_center(output.center_N1hw, output.offset_N2Khw, self._stride, top=1)
        gap_CK = (points_CK2 - faces_C1K2[:, 0]).norm(dim=-1)
        agreement_C = torch.exp(-gap_CK.square() / (4 * self._config.train.loss.sigma_px**2)).mean(1)
        home = [
            affine.apply(affine.invert(matrix), points_K2.double().cpu().numpy())
            for matrix, points_K2 in zip(matrices, points_CK2, strict=True)
        ]
        return np.stack(home), score_CK.double().cpu().numpy(), agreement_C.double().cpu().numpy()


def follow(
    finder: Finder,
    pictures: Iterator[Picture],
    first_box: Box | None = None,
    boxes: Mapping[tuple[str, int], Box] | None = None,
) -> Iterator[tuple[Picture, Found]]:
    """Landmarks of each picture. `first_box` is of the first frame of each video; `boxes` names frames' own boxes, and a
    frame without one follows the last."""
    box_4: Box | None = None
    path = ""
    for picture in pictures:
        if picture.path != path:  # another video, another face
            path, box_4 = picture.path, first_box
        given = (boxes or {}).get((picture.path, picture.frame))
        if given is not None:
            box_4 = given
        elif box_4 is None:
            box_4 = finder.search(picture.image_HWC)
        points_K2, score_K = finder.look(picture.image_HWC, box_4)
        yield (
            picture,
            Found(picture.path, picture.frame, picture.pts_ms, box_4, points_K2, score_K),
        )
        lost = float(score_K.mean()) < LOST_SCORE
        box_4 = None if lost else SMOOTH * tight_box(points_K2, picture.image_HWC) + (1 - SMOOTH) * box_4


def read_pictures(path: Path) -> Iterator[Picture]:
    """Every frame of a video, an image, or a folder's images in the order of their names."""
    if path.is_dir():
        names = sorted(each for each in path.iterdir() if each.suffix.lower() in IMAGE_SUFFIXES)
        if not names:
            raise DataError(f"{path} holds no images. Name a video, an image, or a folder of images.")
        for name in names:
            yield _read_image(name)
    elif path.suffix.lower() in IMAGE_SUFFIXES:
        yield _read_image(path)
    else:
        yield from _read_video(path)


def count_pictures(path: Path) -> int:
    """How many pictures there will be, for a progress bar; 0 where a video does not say."""
    if path.is_dir():
        return sum(each.suffix.lower() in IMAGE_SUFFIXES for each in path.iterdir())
    if path.suffix.lower() in IMAGE_SUFFIXES:
        return 1
    capture = cv2.VideoCapture(str(path))
    count = int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
    capture.release()
    return max(0, count)


def frame_rate(path: Path) -> float:
    """Frames per second of a video; 25 where it does not say."""
    capture = cv2.VideoCapture(str(path))
    rate = float(capture.get(cv2.CAP_PROP_FPS))
    capture.release()
    return rate if 1 <= rate <= 1000 else 25.0


def spread_boxes(image_HWC: Image) -> Iterator[Box]:
    """Squares of several sizes all over the picture: where a search begins."""
    height, width = image_HWC.shape[:2]
    for share, places in SEARCH:
        half = share * min(height, width) / 2
        for y in np.linspace(half, height - half, places):
            for x in np.linspace(half, width - half, places):
                yield np.array([x - half, y - half, x + half, y + half])


def tight_box(points_K2: NDArray[np.float64], image_HWC: Image) -> Box:
    """Around the landmarks, at least a few pixels large, and with its middle in the picture."""
    low, high = points_K2.min(0), points_K2.max(0)
    middle = np.clip((low + high) / 2, 0, np.array(image_HWC.shape[1::-1]) - 1)
    half = np.maximum((high - low) / 2, 4.0)
    return np.concatenate([middle - half, middle + half])


def _read_image(path: Path) -> Picture:
    image = cv2.imread(str(path))
    if image is None:
        raise DataError(f"{path} cannot be decoded as an image. Check that it is whole.")
    return Picture(str(path), 0, 0.0, np.asarray(image, np.uint8))


def _read_video(path: Path) -> Iterator[Picture]:
    if not path.is_file():
        raise DataError(f"There is no video {path}.")
    capture = cv2.VideoCapture(str(path))
    try:
        number = 0
        while True:
            fine, image = capture.read()
            if not fine:
                break
            pts_ms = float(capture.get(cv2.CAP_PROP_POS_MSEC))
            yield Picture(str(path), number, pts_ms, np.asarray(image, np.uint8))
            number += 1
    finally:
        capture.release()
    if not number:
        raise DataError(f"{path} holds no frame that OpenCV can decode. Check it with another player.")
