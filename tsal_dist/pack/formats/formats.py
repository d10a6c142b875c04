"""Which format a file of labels has, told by its name and first line, and what reads and writes it."""

import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from tsal_dist.errors import ConfigError
from tsal_dist.pack.face import Entry
from tsal_dist.pack.formats.coco import read_coco, write_coco
from tsal_dist.pack.formats.cvat import read_cvat, write_cvat
from tsal_dist.pack.formats.deeplabcut import is_deeplabcut, read_deeplabcut, write_deeplabcut
from tsal_dist.pack.formats.label_studio import read_label_studio, write_label_studio
from tsal_dist.pack.formats.sleap import read_sleap, write_sleap
from tsal_dist.pack.formats.table import read_csv, read_parquet, write_csv
from tsal_dist.records import Layout


@dataclass(frozen=True)
class Format:
    """One way to write labels down."""

    read: Callable[[Path, Path], list[Entry]]
    """The file, and the folder that its relative paths start at."""
    write: Callable[[Path, Sequence[Entry], int, Layout], None]
    """The file, and entries whose relative paths start at its folder."""


FORMATS = {
    "csv": Format(read_csv, write_csv),
    "coco": Format(read_coco, write_coco),
    "deeplabcut": Format(read_deeplabcut, write_deeplabcut),
    "label-studio": Format(read_label_studio, write_label_studio),
    "cvat": Format(read_cvat, write_cvat),
    "sleap": Format(read_sleap, write_sleap),
}


def format_of(path: Path) -> Format | None:
    """None for a text list, one line per subject."""
    suffix = path.suffix.lower()
    if suffix == ".parquet":
        return Format(read_parquet, write_csv)
    if suffix == ".slp":
        return FORMATS["sleap"]
    if suffix == ".xml":
        return FORMATS["cvat"]
    if suffix == ".json":
        return FORMATS["label-studio" if _is_list_of_tasks(path) else "coco"]
    if suffix == ".csv":
        return FORMATS["deeplabcut" if is_deeplabcut(_first_line(path)) else "csv"]
    return None


def write_labels(path: Path, entries: Sequence[Entry], kind: str) -> None:
    """Write entries as one of FORMATS; they must agree on their landmarks. Their paths are written from the file's folder,
    where whoever reads it begins."""
    if kind not in FORMATS:
        raise ConfigError(f"There is no format {kind!r}. Choose from {', '.join(FORMATS)}.")
    counts = {len(entry.face.points_K2) for entry in entries if entry.face.points_K2 is not None}
    layouts = {entry.layout for entry in entries if entry.layout.names}
    if len(counts) > 1 or len(layouts) > 1:
        raise ConfigError(
            f"The labels for {path} have {sorted(counts)} landmarks under {len(layouts)} sets of names, and a file holds "
            "one layout. Convert them apart."
        )
    there = [replace(entry, path=_path_from(path.parent, entry.path)) for entry in entries]
    FORMATS[kind].write(path, there, next(iter(counts), 0), next(iter(layouts), Layout()))


def _path_from(folder: Path, file: str) -> str:
    """Absolute where no path leads from one to the other, as between two drives of Windows."""
    whole = os.path.abspath(file)
    try:
        return Path(os.path.relpath(whole, folder)).as_posix()
    except ValueError:
        return whole


def _is_list_of_tasks(path: Path) -> bool:
    """Label Studio writes a list, COCO an object."""
    with open(path, "rb") as file:
        return bool(re.match(rb"(\xef\xbb\xbf)?\s*\[\s*\{", file.read(1 << 10)))


def _first_line(path: Path) -> str:
    with open(path, encoding="utf-8", errors="replace") as file:
        return file.readline(4096)
