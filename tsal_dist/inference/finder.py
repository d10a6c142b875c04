"""A detector run on crops around boxes: landmarks in the frame's own pixels."""

import hashlib
from collections.abc import Sequence

import numpy as np
import torch

from tsal_dist.data.decode import warp_crop
from tsal_dist.geometry import affine
from tsal_dist.geometry.center import agreement
from tsal_dist.inference.decoding import PLAIN, Decoding
from tsal_dist.inference.finding import check_views, find_points
from tsal_dist.inference.looking import Box, Floats, Look
from tsal_dist.inference.pictures import Image
from tsal_dist.inference.trained import Trained
from tsal_dist.models.detectors import stride_of
from tsal_dist.models.input import normalize
from tsal_dist.records import Layout


class Finder:
    """Runs a detector on crops around boxes. `decoding` is for what is handed on; searches ask once."""

    def __init__(self, trained: Trained, device: torch.device, decoding: Decoding = PLAIN) -> None:
        self.decoding = decoding.of(trained.config.model)
        check_views(self.decoding)
        self._model = trained.model.to(device).eval()
        self._config, self._expand = trained.config, trained.expand
        self._device = device
        self._stride = stride_of(trained.model)
        self.num_points = trained.config.model.num_points
        self.layout = Layout(trained.config.model.layout.names, trained.config.model.layout.skeleton)

    def digest(self) -> str:
        """Of the net's weights, its settings, and how it is asked and read."""
        decoding, model = self.decoding, self._config.model
        told = (model.model_dump_json(), self._expand, self._config.train.loss.sigma_px)
        seal = hashlib.sha256(repr((*told, decoding.views, decoding.mirror, decoding.companions)).encode())
        tensors = dict(self._model.state_dict())
        if decoding.fitting:
            tensors |= {f"fitting.{name}": value for name, value in vars(decoding.fitting.known).items()}
            seal.update(repr(decoding.fitting[1:]).encode())
        for name, tensor in sorted(tensors.items()):
            seal.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
            seal.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
        return seal.hexdigest()

    def closely(self, image_HWC: Image, box_4: Box) -> Look:
        """Landmarks within one box, decoded as the finder was told to."""
        return self.look(image_HWC, [box_4], self.decoding)

    @torch.no_grad()
    def look(self, image_HWC: Image, boxes: Sequence[Box], decoding: Decoding = PLAIN) -> Look:
        """Landmarks within boxes of landmarks, grown to what was trained on."""
        settings, size_px = self._config.model, self._config.model.crop_px
        matrices = [affine.crop(box_4, size_px, expand=self._expand) for box_4 in boxes]
        crops = [warp_crop(image_HWC, matrix, size_px) for matrix in matrices]
        image_C3HW = normalize(torch.from_numpy(np.stack(crops)).to(self._device))
        points_CK2, score_CK, output = find_points(
            self._model, image_C3HW, self._stride, settings.decode_radius, decoding
        )
        agreement_C = agreement(
            points_CK2,
            output.center_N1hw,
            output.offset_N2Khw,
            self._stride,
            self._config.train.loss.sigma_px,
        )
        home = [
            affine.apply(affine.invert(matrix), points_K2.double().cpu().numpy())
            for matrix, points_K2 in zip(matrices, points_CK2, strict=True)
        ]
        zoom_C = np.array([affine.magnification(matrix) for matrix in matrices])
        return Look(np.stack(home), _home(score_CK), _home(agreement_C), zoom_C)


def _home(value: torch.Tensor) -> Floats:
    numbers: Floats = value.double().cpu().numpy()
    return numbers
