"""Asynchronous teacher-student training of landmark detectors on video.

import tsal_dist as tsal

found = tsal.open("runs/mine").predict("clip.mp4", smooth="offline")
found.table; found.draw("overlay.mp4")
"""

from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tsal_dist.inference.detector import Detector
    from tsal_dist.inference.trained import Role

__version__ = "0.2.0"


def open(place: "str | PathLike[str]", role: "Role" = "student", step: str = "best") -> "Detector":
    """The detector of a run's folder, of a file of weights, or of an .onnx file with everything inside."""
    if Path(place).suffix.lower() == ".onnx":
        from tsal_dist.inference.whole_file import open_whole

        return open_whole(str(place))
    from tsal_dist.inference.session import open_detector

    if Path(place).is_file():
        return open_detector(weights=str(place))
    if role not in ("student", "teacher"):
        from tsal_dist.errors import ConfigError

        raise ConfigError(f"role is {role!r}; it must be student or teacher.")
    return open_detector(run=str(place), role=role, step=step)
