"""The table that labelling fills: one line per frame that somebody has looked at, whole on disk after every change."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from tsal_dist.errors import ConfigError, DataError
from tsal_dist.pack.face import Entry, Face, build_face, name_subject, split_subject
from tsal_dist.pack.formats.table import csv_text, read_csv
from tsal_dist.records import Layout
from tsal_dist.run_dir import write_whole

Mark = tuple[float, float, int]
"""x and y in pixels of the source, and 0 without a place, 1 visible, 2 hidden."""


@dataclass
class Book:
    """Labels by video and frame; `frame` is None for a still."""

    path: Path
    layout: Layout
    entries: dict[tuple[str, int | None], Entry] = field(default_factory=dict)

    def marks(self, video: str, frame: int | None) -> list[Mark] | None:
        """None for a frame that nobody has looked at."""
        entry = self.entries.get((video, frame))
        if entry is None:
            return None
        face = entry.face
        if face.points_K2 is None or face.visible_K is None:
            return [(0.0, 0.0, 0)] * len(self.layout.names)
        return [(x, y, v) for (x, y), v in zip(face.points_K2.tolist(), face.visible_K.tolist(), strict=True)]

    def put(self, video: str, frame: int | None, marks: Sequence[Mark]) -> None:
        """Keep these marks and write the table."""
        if len(marks) != len(self.layout.names):
            raise DataError(f"{len(marks)} points where there are {len(self.layout.names)}")
        marks_K3 = np.array(marks, np.float64)
        face = build_face(marks_K3[:, :2], marks_K3[:, 2].astype(np.int64))
        if face.visible_K is None or not face.visible_K.any():
            face = Face()
        path, subject = split_subject(video)
        self.entries[video, frame] = Entry(path, frame, face, layout=self.layout, subject=subject)
        rows = [self.entries[key] for key in sorted(self.entries, key=lambda key: (key[0], key[1] or 0))]
        write_whole(self.path, csv_text(rows, len(self.layout.names), self.layout).encode())


def open_book(path: Path, layout: Layout) -> Book:
    """A new table, or one that is gone on with."""
    if not path.exists():
        return Book(path, layout)
    entries = read_csv(path, Path())
    if any(entry.layout.names != layout.names for entry in entries):
        raise ConfigError(
            f"{path} holds labels of {', '.join(entries[0].layout.names) or 'unnamed points'}, and these are "
            f"{', '.join(layout.names)}. Name another file with --out."
        )
    of_frames = {(name_subject(entry.path, entry.subject), entry.frame): entry for entry in entries}
    return Book(path, layout, of_frames)
