"""Two folders of shards, compared by what a reader gets from them, not by how they are cut."""

from dataclasses import dataclass

import numpy as np

from tsal_dist.shards.frames import FrameTable, read_frames
from tsal_dist.shards.index import read_index
from tsal_dist.shards.manifest import Manifest

Frame = tuple[str, int]
"""Video and frame number."""


@dataclass(frozen=True)
class Difference:
    """What one folder has and the other has not."""

    same_bytes: bool
    """Every shard has the same name and digest; nothing else was looked at."""
    only_first: tuple[Frame, ...] = ()
    only_second: tuple[Frame, ...] = ()
    other_picture: tuple[Frame, ...] = ()
    """In both, with another JPEG."""
    other_label: tuple[Frame, ...] = ()
    """In both, with other landmarks, box or label flag."""

    @property
    def empty(self) -> bool:
        return not (self.only_first or self.only_second or self.other_picture or self.other_label)


def compare_folders(first: Manifest, second: Manifest) -> Difference:
    if first.fingerprint == second.fingerprint:
        return Difference(same_bytes=True)
    one, two = _read(first), _read(second)
    both = sorted(set(one) & set(two))
    return Difference(
        same_bytes=False,
        only_first=tuple(sorted(set(one) - set(two))),
        only_second=tuple(sorted(set(two) - set(one))),
        other_picture=tuple(key for key in both if one[key][0] != two[key][0]),
        other_label=tuple(key for key in both if one[key][1] != two[key][1]),
    )


def _read(manifest: Manifest) -> dict[Frame, tuple[int, bytes]]:
    """Checksum of the picture and bytes of the label, by frame."""
    found: dict[Frame, tuple[int, bytes]] = {}
    for number, shard in enumerate(manifest.shards):
        table = read_frames(manifest.parquet_url(number))
        index = read_index(manifest.idx_url(number), shard.tar_bytes)
        for position, crc32 in enumerate(index["jpg_crc32"].tolist()):
            frame = (table.videos[table.video_N[position]], int(table.frame_N[position]))
            found[frame] = (crc32, _label(table, position))
    return found


def _label(table: FrameTable, position: int) -> bytes:
    parts = (table.labelled_N, table.box_N4, table.points_NK2, table.visible_NK)
    return b"".join(np.ascontiguousarray(part[position]).tobytes() for part in parts)
