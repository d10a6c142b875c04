"""The table that labelling fills: one line per frame that somebody has looked at, whole on disk after every change.

Others may write to it meanwhile: a second page, a spreadsheet. So it is read again before it is written where it is not what it
was, and a frame's label is replaced only by who has seen that very label.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from tsal_dist.errors import ConfigError, DataError
from tsal_dist.pack.face import Entry, Face, build_face, name_subject, split_subject
from tsal_dist.pack.formats.table import csv_text, read_csv, unread_columns
from tsal_dist.records import Layout
from tsal_dist.run_dir import write_whole

Mark = tuple[float, float, int]
"""x and y in pixels of the source, and 0 without a place, 1 visible, 2 hidden."""

Key = tuple[str, int | None]
"""Video and frame; None for a still."""


@dataclass
class Book:
    """Labels by video and frame."""

    path: Path
    layout: Layout
    entries: dict[Key, Entry] = field(default_factory=dict)
    digest: str = ""
    """Of the file as it was last read or written; "" without one."""

    def marks(self, video: str, frame: int | None) -> list[Mark] | None:
        """None for a frame that nobody has looked at."""
        entry = self.entries.get((video, frame))
        if entry is None:
            return None
        face = entry.face
        if face.points_K2 is None or face.visible_K is None:
            return [(0.0, 0.0, 0)] * len(self.layout.names)
        return [(x, y, v) for (x, y), v in zip(face.points_K2.tolist(), face.visible_K.tolist(), strict=True)]

    def revision(self, video: str, frame: int | None) -> str:
        """Tells a frame's label from any other that it may get: a digest of its line. "" for none."""
        entry = self.entries.get((video, frame))
        return "" if entry is None else _digest(self._text([entry]))

    def put(self, video: str, frame: int | None, marks: Sequence[Mark], seen: str = "") -> None:
        """Keep these marks and write the table. `seen` is the revision that they are to replace."""
        if len(marks) != len(self.layout.names):
            raise DataError(f"{len(marks)} points where there are {len(self.layout.names)}")
        self._catch_up()
        if self.revision(video, frame) != seen:
            raise ConfigError(
                f"{_name(video, frame)} has another label in {self.path} than this page showed, and a newer one is never "
                "overwritten. Load the page again to see it."
            )
        entries = {**self.entries, (video, frame): self._entry(video, frame, marks)}
        rows = [entries[key] for key in sorted(entries, key=lambda key: (key[0], key[1] or 0))]
        data = self._text(rows)
        write_whole(self.path, data)
        self.entries, self.digest = entries, _digest(data)

    def _entry(self, video: str, frame: int | None, marks: Sequence[Mark]) -> Entry:
        """With the box and the size that its line had: a page shows neither and may take neither away."""
        before = self.entries.get((video, frame))
        box, face_px = (before.face.box, before.face.face_px) if before else (None, None)
        marks_K3 = np.array(marks, np.float64)
        face = build_face(marks_K3[:, :2], marks_K3[:, 2].astype(np.int64), box, face_px)
        if face.visible_K is None or not face.visible_K.any():
            face = Face(box=box, face_px=face_px)
        path, subject = split_subject(video)
        return Entry(path, frame, face, layout=self.layout, subject=subject)

    def _catch_up(self) -> None:
        """Take in what others wrote. A file that is gone is written again with all that is known."""
        if self.path.exists() and _digest(self.path.read_bytes()) != self.digest:
            theirs = open_book(self.path, self.layout)
            self.entries, self.digest = theirs.entries, theirs.digest

    def _text(self, rows: Sequence[Entry]) -> bytes:
        return csv_text(rows, len(self.layout.names), self.layout).encode()


def open_book(path: Path, layout: Layout) -> Book:
    """A new table, or one that is gone on with."""
    if not path.exists():
        return Book(path, layout)
    digest = _digest(path.read_bytes())
    entries = read_csv(path, Path())
    if any(entry.layout.names != layout.names for entry in entries):
        raise ConfigError(
            f"{path} holds labels of {', '.join(entries[0].layout.names) or 'unnamed points'}, and these are "
            f"{', '.join(layout.names)}. Name another file with --out."
        )
    if lost := unread_columns(path):
        raise ConfigError(
            f"{path} has the columns {', '.join(map(repr, lost))}, which would be lost: labelling writes the table anew, and "
            "knows places, boxes, face_px and subjects. Take them out, or name another file with --out."
        )
    return Book(path, layout, _by_frame(path, entries), digest)


def _by_frame(path: Path, entries: Sequence[Entry]) -> dict[Key, Entry]:
    found: dict[Key, Entry] = {}
    for entry in entries:
        key = name_subject(entry.path, entry.subject), entry.frame
        if key in found:
            raise ConfigError(
                f"{path} has two lines of {_name(*key)}, and labelling keeps one for each frame of a subject. Take one out, or "
                "tell them apart in a column `subject`."
            )
        found[key] = entry
    return found


def _name(video: str, frame: int | None) -> str:
    return video if frame is None else f"Frame {frame + 1} of {video}"


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
