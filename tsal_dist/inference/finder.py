"""A detector run on crops around boxes: landmarks in the frame's own pixels, and whether there is a subject at all.

Whether there is one is judged by looking again: from boxes that are shifted, larger and smaller. What is there is
found at the same place from everywhere; what is made up moves with the crop.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from tsal_dist.geometry import affine
from tsal_dist.geometry.center import decode_center
from tsal_dist.inference.decoding import PLAIN, Decoding
from tsal_dist.inference.pictures import Image
from tsal_dist.inference.trained import Trained
from tsal_dist.inference.views import choose_views, find_points
from tsal_dist.models.detectors import stride_of
from tsal_dist.models.input import normalize
from tsal_dist.records import Layout

Floats = NDArray[np.float64]
Box = Floats

LOOKS = 4
"""How often a box that was guessed is looked at again, each time closer."""
SEARCH = ((0.9, 1), (0.65, 2), (0.45, 3))
"""A search's first boxes: their side as a share of the picture's shorter one, and how many stand along each side."""
VIEWS = (
    (0.2, 0.2, 1.0),
    (-0.2, 0.2, 1.0),
    (0.2, -0.2, 1.0),
    (-0.2, -0.2, 1.0),
    (0.0, 0.0, 1.25),
    (0.0, 0.0, 0.8),
)
"""The boxes from which a find is looked at again: shift in halves of its longer side, and size."""
LEAST_PX = 8.0
"""A box that follows landmarks is no smaller."""


@dataclass(frozen=True)
class Look:
    """What was seen in C boxes of one picture."""

    points_CK2: Floats
    """Pixels of the picture."""
    score_CK: Floats
    agreement_C: Floats
    """How alike heatmaps and offsets tell the points, up to 1."""
    zoom_C: Floats
    """Pixels of the crop per pixel of the picture."""


class Finder:
    """Runs a detector on crops around boxes. `decoding` is for what is handed on; searches ask once."""

    def __init__(self, trained: Trained, device: torch.device, decoding: Decoding = PLAIN) -> None:
        self.decoding = decoding.of(trained.config.model)
        choose_views(self.decoding)
        self._model = trained.model.to(device).eval()
        self._config = trained.config
        self._device = device
        self._stride = stride_of(trained.model)
        self.num_points = trained.config.model.num_points
        self.layout = Layout(trained.config.model.layout.names, trained.config.model.layout.skeleton)

    def search(self, image_HWC: Image) -> Box:
        """A box around the subject, wherever it is: boxes all over the picture are looked into, each is moved to what
        was found in it, and the one wins whose points are sure and told alike by heatmaps and offsets."""
        boxes = list(spread_boxes(image_HWC))
        for _ in range(LOOKS):
            look = self.look(image_HWC, boxes)
            boxes = [tight_box(points_K2, image_HWC) for points_K2 in look.points_CK2]
        return boxes[int(np.argmax(look.score_CK.mean(1) * look.agreement_C))]

    def evidence(self, image_HWC: Image, box_4: Box) -> Floats:
        """Numbers that tell a subject in this box from something made up, each the larger the better; for `Presence`."""
        side_px = float((box_4[2:] - box_4[:2]).max())
        look = self.look(image_HWC, list(views_of(box_4)))
        middle_K2 = np.median(look.points_CK2, axis=0)
        strayed_CK = np.linalg.norm(look.points_CK2 - middle_K2, axis=-1) / side_px
        sizes = [look.score_CK.mean(), np.quantile(look.score_CK, 0.1), look.agreement_C.mean()]
        strays = [np.median(strayed_CK), strayed_CK.mean()]
        evidence_E: Floats = np.log(np.maximum(sizes + [1 / max(stray, 1e-4) for stray in strays], 1e-4))
        return evidence_E

    def closely(self, image_HWC: Image, box_4: Box) -> Look:
        """Landmarks within one box, decoded as the finder was told to."""
        return self.look(image_HWC, [box_4], self.decoding)

    @torch.no_grad()
    def look(self, image_HWC: Image, boxes: Sequence[Box], decoding: Decoding = PLAIN) -> Look:
        """Landmarks within boxes that are grown as in training."""
        settings, size_px = self._config.model, self._config.model.crop_px
        matrices = [affine.crop(box_4, size_px, expand=self._config.data.box_expand) for box_4 in boxes]
        crops = [
            cv2.cvtColor(
                cv2.warpAffine(image_HWC, matrix, (size_px, size_px), flags=cv2.INTER_LINEAR),
                cv2.COLOR_BGR2RGB,
            )
            for matrix in matrices
        ]
        image_C3HW = normalize(torch.from_numpy(np.stack(crops)).to(self._device))
        points_CK2, score_CK, output = find_points(
            self._model, image_C3HW, self._stride, settings.decode_radius, decoding
        )
        faces_C1K2, _ = decode_center(output.center_N1hw, output.offset_N2Khw, self._stride, top=1)
        gap_CK = (points_CK2 - faces_C1K2[:, 0]).norm(dim=-1)
        agreement_C = torch.exp(-gap_CK.square() / (4 * self._config.train.loss.sigma_px**2)).mean(1)
        home = [
            affine.apply(affine.invert(matrix), points_K2.double().cpu().numpy())
            for matrix, points_K2 in zip(matrices, points_CK2, strict=True)
        ]
        zoom_C = np.array([affine.magnification(matrix) for matrix in matrices])
        return Look(np.stack(home), _home(score_CK), _home(agreement_C), zoom_C)


def spread_boxes(image_HWC: Image) -> Iterator[Box]:
    """Squares of several sizes all over the picture: where a search begins."""
    height, width = image_HWC.shape[:2]
    for share, places in SEARCH:
        half = share * min(height, width) / 2
        for y in np.linspace(half, height - half, places):
            for x in np.linspace(half, width - half, places):
                yield np.array([x - half, y - half, x + half, y + half])


def views_of(box_4: Box) -> Iterator[Box]:
    """The boxes from which a find is looked at again."""
    middle_2, half_2 = (box_4[:2] + box_4[2:]) / 2, (box_4[2:] - box_4[:2]) / 2
    for x, y, size in VIEWS:
        moved_2 = middle_2 + np.array([x, y]) * half_2.max()
        yield np.concatenate([moved_2 - size * half_2, moved_2 + size * half_2])


def tight_box(points_K2: Floats, image_HWC: Image) -> Box:
    """Around the landmarks, at least a few pixels large, and with its middle in the picture."""
    low, high = points_K2.min(0), points_K2.max(0)
    middle = np.clip((low + high) / 2, 0, np.array(image_HWC.shape[1::-1]) - 1)
    half = np.maximum((high - low) / 2, LEAST_PX / 2)
    return np.concatenate([middle - half, middle + half])


def _home(value: torch.Tensor) -> Floats:
    numbers: Floats = value.double().cpu().numpy()
    return numbers
