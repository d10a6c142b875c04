"""Which detector is asked for, in words that another process, on another machine, understands as well."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2

from tsal_dist import __version__
from tsal_dist.inference.decoding import PLAIN, Decoding
from tsal_dist.inference.detector import Detector, OnFrame, Options
from tsal_dist.inference.pictures import Source
from tsal_dist.pack.subject_models import model_digest

if TYPE_CHECKING:
    from tsal_dist.config import RunConfig
    from tsal_dist.inference.trained import Role


@dataclass(frozen=True)
class Opening:
    """One of `model`, `run` and `weights` is given."""

    model: str | None = None
    """An .onnx file with everything inside, which is run without torch."""
    run: str | None = None
    weights: str | None = None
    role: "Role" = "student"
    step: str = "best"
    config: "RunConfig | None" = None
    threads: int = 0
    decoding: Decoding = PLAIN

    def open(self, on_frame: OnFrame = lambda done, of: None) -> Detector:
        """`on_frame` is told while it is measured how far the detector can be trusted."""
        if self.model:
            from tsal_dist.inference.whole_file import open_whole

            return open_whole(self.model, self.threads)
        from tsal_dist.inference.session import open_detector

        return open_detector(
            run=self.run,
            weights=self.weights,
            role=self.role,
            step=self.step,
            config=self.config,
            threads=self.threads,
            on_frame=on_frame,
            decoding=self.decoding,
        )

    def identify(self, detector: Detector) -> str:
        """A digest of all that its finds follow from; `detector` is what was opened."""
        if self.model:
            return hashlib.sha256(Path(self.model).read_bytes()).hexdigest()[:32]
        from tsal_dist.inference.session import identify

        return identify(detector)


def describe_looks(detector: str, options: Options, sources: Sequence[Source]) -> dict[str, dict[str, str]]:
    """For each source's path, what its rows follow from beside its content; not what only changes how they are shown."""
    shared: dict[str, Any] = {
        "frames": options.frames,
        "first_box": None if options.first_box is None else options.first_box.tolist(),
        "threshold": options.threshold,
        "subjects": options.subjects,
        "subject_model": model_digest(options.subject_model) if options.subject_model else "",
    }
    boxes: dict[str, list[Any]] = {source.path: [] for source in sources}
    for (path, frame), box_4 in options.boxes.items():
        if path in boxes:
            boxes[path].append((frame, box_4.tolist()))
    return {
        path: {
            "detector": detector,
            "way to look": hashlib.sha256(f"{shared} {of_path}".encode()).hexdigest()[:32],
            "release": f"{__version__}, OpenCV {cv2.__version__}",  # which decodes
        }
        for path, of_path in boxes.items()
    }
