"""How far a detector can be trusted: what its scores mean in pixels, and what it says where there is no subject.

Measured on held-out labelled frames and kept beside the run, one file per role and step.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from tsal_dist.data.shard_set import ShardSet
from tsal_dist.errors import CheckpointError
from tsal_dist.inference.labelled_frames import read_frames
from tsal_dist.inference.looking import Box, Eyes, Look, box_around, gather_evidence, search
from tsal_dist.inference.pictures import Image
from tsal_dist.inference.presence import Presence, destroy, learn
from tsal_dist.metrics.calibration import Calibration, Tally, fit_tally
from tsal_dist.run_dir import write_new

Floats = NDArray[np.float64]

PRESENCE_FRAMES = 48
"""Frames among them that are also looked at with their subject destroyed."""
CUTS = (3, 5)
"""Tiles along a side that a subject is cut into."""
SHIFTS = 0.15
"""Boxes are shifted and scaled by up to so much of their size, as a tracker's are."""

CALIBRATION, PRESENCE = "trust.calibration.", "trust.presence."


@dataclass(frozen=True)
class Trust:
    """What was measured of one detector."""

    calibration: Calibration
    presence: Presence | None
    """None where there was but one frame to learn it from, or one landmark."""

    def expected_px(self, look: Look) -> Floats:
        """By how much the points CK are expected to be off, in pixels of the picture."""
        stated_CK = self.calibration.expected_px(torch.from_numpy(look.score_CK))
        return np.asarray(stated_CK.numpy() / look.zoom_C[:, None], np.float64)

    def to_tensors(self) -> dict[str, Tensor]:
        """What there is, by names that can lie beside a detector's own."""
        tensors = {CALIBRATION + name: tensor for name, tensor in self.calibration.to_tensors().items()}
        arrays = self.presence.to_arrays() if self.presence else {}
        return tensors | {PRESENCE + name: torch.from_numpy(array) for name, array in arrays.items()}

    @staticmethod
    def from_tensors(tensors: Mapping[str, Tensor]) -> "Trust":
        """Undoes `to_tensors`; other names are left alone."""
        parts = [
            {name.removeprefix(part): tensor for name, tensor in tensors.items() if name.startswith(part)}
            for part in (CALIBRATION, PRESENCE)
        ]
        return Trust(Calibration.from_tensors(parts[0]), Presence.from_arrays(parts[1]) if parts[1] else None)


def measure_trust(
    eyes: Eyes,
    shards: ShardSet,
    crop_px: int,
    on_frame: Callable[[int, int], None] = lambda done, of: None,
) -> Trust:
    """Look at held-out frames through boxes like a tracker's, and at a part of them with the subject destroyed. A single frame
    says how far off points are; two are the fewest that tell a subject from none, and of a lone landmark none do."""
    random = np.random.default_rng(0)
    tally = Tally(shards.points)
    whole: list[Floats] = []
    destroyed: list[Floats] = []
    for frame in read_frames(shards, crop_px):
        on_frame(frame.number + 1, frame.count)
        box_4 = _shifted(frame.box_4, random)
        look = eyes.closely(frame.image_HWC, box_4)
        tally.add(look.score_CK, frame.off_px(look)[None], frame.placed_K[None])
        # A lone landmark outlives the cuts, and there is nothing else that they could put asunder.
        if shards.points > 1 and frame.number % max(1, frame.count // PRESENCE_FRAMES) == 0:
            whole.append(gather_evidence(eyes, frame.image_HWC, _settled(eyes, frame.image_HWC, box_4)))
            torn_HWC = destroy(frame.image_HWC, frame.box_4, CUTS[len(whole) % len(CUTS)], random)
            destroyed.append(gather_evidence(eyes, torn_HWC, search(eyes, torn_HWC)))
            destroyed.append(gather_evidence(eyes, torn_HWC, _settled(eyes, torn_HWC, box_4)))
    presence = learn(np.array(whole), np.array(destroyed)) if len(whole) > 1 else None
    return Trust(fit_tally(tally, no_evidence_px=crop_px / 2), presence)


def save_trust(trust: Trust, path: Path) -> None:
    """Whole or not at all, and only where there is none yet."""
    write_new(path, save(trust.to_tensors()))


def load_trust(path: Path) -> Trust | None:
    """What `save_trust` wrote, or what lies beside exported weights; None where nothing was measured."""
    try:
        tensors = load(path.read_bytes())
    except FileNotFoundError:
        return None
    except SafetensorError as error:
        raise CheckpointError(f"{path} is damaged ({error}). Delete it, and it is measured again.") from None
    return Trust.from_tensors(tensors) if any(name.startswith(CALIBRATION) for name in tensors) else None


def _settled(eyes: Eyes, image_HWC: Image, box_4: Box) -> Box:
    """The box after two frames of a tracker."""
    for _ in range(2):
        box_4 = box_around(eyes.look(image_HWC, [box_4]).points_CK2[0], image_HWC, box_4)
    return box_4


def _shifted(box_4: Box, random: np.random.Generator) -> Box:
    middle_2, half_2 = (box_4[:2] + box_4[2:]) / 2, (box_4[2:] - box_4[:2]) / 2
    middle_2 = middle_2 + random.uniform(-SHIFTS, SHIFTS, 2) * half_2
    half_2 = half_2 * np.exp(random.uniform(-SHIFTS, SHIFTS))
    return np.concatenate([middle_2 - half_2, middle_2 + half_2])
