"""A contact sheet: frames of a folder with their boxes and landmarks, to be looked at before training."""

import cv2
import numpy as np
from numpy.typing import NDArray

from tsal_dist.errors import DataError
from tsal_dist.pack.face import HIDDEN
from tsal_dist.pack.picture_file import AS_STORED
from tsal_dist.shards import files
from tsal_dist.shards.frames import FrameTable, read_frames
from tsal_dist.shards.index import read_index
from tsal_dist.shards.manifest import Manifest

_LABELLED, _HIDDEN, _BOX, _TEXT = (80, 220, 80), (60, 140, 250), (230, 160, 60), (255, 255, 255)  # BGR


def draw_sheet(manifest: Manifest, rows: int, columns: int, tile_px: int) -> NDArray[np.uint8]:
    """rows x columns frames spread evenly over the folder, BGR."""
    if not manifest.frames:
        raise DataError(f"{manifest.url} holds no frame to show.")
    count = min(rows * columns, manifest.frames)
    chosen = np.linspace(0, manifest.frames - 1, count).round().astype(int)
    ends = np.cumsum([shard.frames for shard in manifest.shards])
    sheet = np.zeros((-(-count // columns) * tile_px, columns * tile_px, 3), np.uint8)
    tables: dict[int, FrameTable] = {}
    for place, wanted in enumerate(chosen.tolist()):
        shard = int(np.searchsorted(ends, wanted, side="right"))
        position = wanted - (int(ends[shard - 1]) if shard else 0)
        table = tables.get(shard) or read_frames(manifest.parquet_url(shard))
        tables = {shard: table}
        top, left = place // columns * tile_px, place % columns * tile_px
        sheet[top : top + tile_px, left : left + tile_px] = _draw_tile(
            manifest, shard, position, table, tile_px
        )
    return sheet


def _draw_tile(
    manifest: Manifest, shard: int, position: int, table: FrameTable, tile_px: int
) -> NDArray[np.uint8]:
    record = read_index(manifest.idx_url(shard))[position]
    start = int(record["jpg_offset"])
    with files.view(manifest.tar_url(shard)) as tar:
        data = np.frombuffer(bytes(tar[start : start + int(record["jpg_size"])]), np.uint8)
    image = cv2.imdecode(data, AS_STORED)
    if image is None:
        raise DataError(
            f"{manifest.tar_url(shard)}: the picture at position {position} cannot be decoded; run `tsal shards lint`."
        )
    height, width = image.shape[:2]
    scale = tile_px / max(height, width)
    small = cv2.resize(image, (max(1, round(width * scale)), max(1, round(height * scale))))
    tile = np.zeros((tile_px, tile_px, 3), np.uint8)
    tile[: small.shape[0], : small.shape[1]] = small

    def at(x: float, y: float) -> tuple[int, int]:
        return round((x + 0.5) * scale - 0.5), round((y + 0.5) * scale - 0.5)

    x1, y1, x2, y2 = table.box_N4[position].tolist()
    cv2.rectangle(tile, at(x1, y1), at(x2, y2), _BOX, 1)
    for (x, y), seen in zip(table.points_NK2[position].tolist(), table.visible_NK[position], strict=True):
        if seen:
            cv2.circle(tile, at(x, y), 1, _HIDDEN if seen == HIDDEN else _LABELLED, -1, cv2.LINE_AA)
    # As label tables count, from 1: whoever sees a wrong label here looks it up there.
    video, frame = table.videos[table.video_N[position]], int(table.frame_N[position])
    name = manifest.shards[shard].frame_name(position, video, frame)
    cv2.putText(tile, name[-40:], (4, tile_px - 6), cv2.FONT_HERSHEY_SIMPLEX, 0.35, _TEXT, 1, cv2.LINE_AA)
    return tile
