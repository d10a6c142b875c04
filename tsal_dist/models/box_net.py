"""A net that finds subjects in whole pictures, learnt from their labels, and the one file that carries it.

It is one of the detectors with five maps in the place of its landmarks' (`geometry.boxes`). It sees the picture in the
middle of a black square. Axes: S stages, N frames, h w cells.
"""

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import numpy as np
import safetensors.torch
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from tsal_dist.errors import ConfigError
from tsal_dist.geometry.boxes import MAPS, decode_boxes
from tsal_dist.json_object import read_sealed, write_sealed
from tsal_dist.models.detectors import build_detector, stride_of
from tsal_dist.models.input import normalize
from tsal_dist.models.layers import CENTER_PRIOR
from tsal_dist.models.output import Forward
from tsal_dist.outputs import written_whole

NOTE, FORMAT = "box_model", 1
"""Under this name the file says what it is, as JSON; other formats are refused."""


class BoxNet(nn.Module):
    """A detector whose maps speak of subjects."""

    def __init__(self, detector: str, weights: str = "") -> None:
        super().__init__()
        self.detector = build_detector(detector, MAPS, weights)
        self.stride = stride_of(self.detector)

    def forward(self, image_N3HW: Tensor) -> Tensor:
        """Maps_SN5hw of every stage, coarse to fine."""
        forward: Forward = self.detector
        maps_SN5hw = forward(image_N3HW).heat_SNKhw[:, :, :MAPS].float()
        prior_5 = torch.zeros(MAPS, device=maps_SN5hw.device)
        prior_5[0] = CENTER_PRIOR
        return maps_SN5hw + prior_5[:, None, None]

    @torch.no_grad()
    def find(self, square_SS3: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Boxes x1 y1 x2 y2 with scores in a square of RGB bytes, the best first; most of them mean nothing.

        On one thread: its sums are the same then wherever it runs, and many that look at once do not wait for each other.
        """
        device = next(self.parameters()).device
        with _one_thread():
            image_13SS = normalize(torch.from_numpy(square_SS3).unsqueeze(0).to(device))
            boxes_1C4, score_1C = decode_boxes(self(image_13SS)[-1], self.stride)
        found_C5 = torch.cat([boxes_1C4[0], score_1C[0].unsqueeze(1)], dim=1).cpu().numpy()
        return np.asarray(found_C5, np.float32)


@contextmanager
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


@dataclass(frozen=True)
class BoxNote:
    """What is known of a box model."""

    detector: str
    side_px: int
    """Of the square that it sees."""
    threshold: float
    """Score from which it counts a subject as found."""
    labels: str
    """Fingerprint of the labels it learnt from."""
    judged: str
    """In words: which frames it was measured on."""
    frames: int
    """How many these are."""
    subjects: int
    """In them."""
    recall: float | None
    """Share of the subjects that a box found at the threshold covers (intersection over union of .5 or more)."""
    precision: float | None
    """Share of the boxes found that cover one."""


def save_box_net(path: Path, net: BoxNet, note: BoxNote) -> None:
    """Whole or not at all."""
    tensors = {name: value.detach().cpu().contiguous() for name, value in net.state_dict().items()}
    page = {"format": FORMAT, "weights": _digest(tensors), **asdict(note)}
    with written_whole(path) as aside:
        safetensors.torch.save_file(tensors, aside, {NOTE: write_sealed(page).decode()})


def open_box_net(path: Path) -> tuple[BoxNet, BoxNote]:
    """The net and what is known of it; ConfigError where the file is no box model, or not whole."""
    if not path.is_file():
        raise ConfigError(f"The box model {path} does not exist. Name a file that `tsal boxes` wrote.")
    try:
        with safe_open(path, "pt") as file:
            told = (file.metadata() or {}).get(NOTE)
            tensors = {name: file.get_tensor(name) for name in file.keys()}
    except SafetensorError as error:
        raise ConfigError(
            f"{path} is no whole safetensors file ({error}). Name a file that `tsal boxes` wrote, or write it again."
        ) from None
    if told is None:
        raise ConfigError(
            f"{path} holds weights and is no box model. Name a file that `tsal boxes` wrote; a detector of landmarks goes to "
            "--weights."
        )
    note = _read_note(path, told, tensors)
    net = BoxNet(note.detector)
    try:
        net.load_state_dict(tensors)
    except RuntimeError:
        raise ConfigError(
            f"The weights in {path} do not fit the detector {note.detector!r} of this version. Train the box model again with "
            "`tsal boxes`."
        ) from None
    return net.eval(), note


def _read_note(path: Path, told: str, tensors: Mapping[str, Tensor]) -> BoxNote:
    try:
        page = read_sealed(told)
        found = page.get("format")
        if found != FORMAT:
            raise ConfigError(
                f"{path} is a box model of format {found!r}, and this version reads {FORMAT}. Install the version that wrote it, "
                "or train it again with `tsal boxes`."
            )
        if page["weights"] != _digest(tensors):
            raise ValueError("its weights are not those that were written")
        return BoxNote(**{each.name: page[each.name] for each in fields(BoxNote)})
    except (ValueError, KeyError) as error:
        raise ConfigError(
            f"The box model {path} is damaged ({error}). Copy it again, or train it again with `tsal boxes`."
        ) from None


def _digest(tensors: Mapping[str, Tensor]) -> str:
    seal = hashlib.sha256()
    for name, value in sorted(tensors.items()):
        seal.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
        seal.update(value.numpy().tobytes())
    return seal.hexdigest()[:16]
