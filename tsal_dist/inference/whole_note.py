"""What a whole file says of itself beside its graph: its points, its crop, and what tells a subject from none."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tsal_dist.errors import CheckpointError
from tsal_dist.inference.presence import Presence
from tsal_dist.records import Layout

INPUTS = ("image_HW3", "box_N4")
OUTPUTS = ("points_NK2", "expected_px_NK", "score_NK", "agreement_N")
NOTE = "tsal_dist"
"""Under this name the file's metadata hold the note, as JSON."""


@dataclass(frozen=True)
class WholeNote:
    """A few kilobytes; the curves of the expected error are in the graph."""

    name: str
    num_points: int
    layout: Layout
    crop_px: int
    box_expand: float
    presence: Presence | None
    """None where nothing tells a subject from none."""
    only_errors: bool = False
    """Whether how far off points are was measured all the same; else the expected errors are no numbers either."""

    def to_metadata(self) -> dict[str, str]:
        """As an .onnx file's properties."""
        presence = self.presence.to_arrays() if self.presence else {}
        said = {
            "name": self.name,
            "points": self.num_points,
            "names": self.layout.names,
            "skeleton": self.layout.skeleton,
            "crop_px": self.crop_px,
            "box_expand": self.box_expand,
            "presence": {name: array.tolist() for name, array in presence.items()} or None,
            "only_errors": self.only_errors,
        }
        return {NOTE: json.dumps(said)}

    @staticmethod
    def from_metadata(metadata: Mapping[str, str], where: str) -> "WholeNote":
        """Undoes `to_metadata`. CheckpointError where it is no whole file of ours."""
        if NOTE not in metadata:
            raise CheckpointError(
                f"{where} does not say what its points are and when there is a subject. Write it with "
                f"`tsal export --whole`, of this version or a later one."
            )
        try:
            return _parse(json.loads(metadata[NOTE]))
        except (ValueError, KeyError, TypeError) as error:
            raise CheckpointError(
                f"What {where} says of itself is damaged ({error!r}). Export it again."
            ) from None


def _parse(said: Mapping[str, Any]) -> WholeNote:
    points = int(said["points"])
    names = tuple(str(name) for name in said["names"])
    skeleton = tuple((int(a), int(b)) for a, b in said["skeleton"])
    if len(names) not in (0, points) or any(not 0 <= end < points for pair in skeleton for end in pair):
        raise ValueError(f"names or skeleton of others than its {points} points")
    return WholeNote(
        str(said["name"]),
        points,
        Layout(names, skeleton),
        int(said["crop_px"]),
        float(said["box_expand"]),
        Presence.from_arrays(said["presence"]) if said["presence"] else None,
        bool(said.get("only_errors")),
    )
