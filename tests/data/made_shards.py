"""Small folders of shards, written by the format's own functions, whose pictures say which frame they are."""

import hashlib
import zlib

import cv2
import numpy as np

from tsal_dist.shards.files import put_bytes
from tsal_dist.shards.frames import FrameRow, encode_frames
from tsal_dist.shards.index import INDEX_DTYPE, encode_index
from tsal_dist.shards.manifest import (
    Segment,
    Shard,
    build_manifest,
    encode_manifest,
    encode_shard,
    format_ranges,
)
from tsal_dist.shards.names import frame_key
from tsal_dist.shards.ustar import END, encode_member

WIDTH, HEIGHT, POINTS = 96, 72, 68


def frame_level(video: int, frame: int) -> int:
    """The grey level that stands for a frame; survives JPEG within a few steps."""
    return (video * 40 + frame * 5) % 230 + 10


def points_of(frame: int) -> np.ndarray:
    angle = np.linspace(0, 2 * np.pi, POINTS, endpoint=False)
    ring = np.stack([45 + 18 * np.cos(angle), 35 + 18 * np.sin(angle)], 1)
    return (ring + [0.25 * frame, 0.1 * frame]).astype(np.float32)


def write_shard(folder, name, videos, first_video):
    """One shard of (frames, labelled frames, kind) videos; returns its record."""
    tar, records, rows, segments = b"", [], [], []
    for offset, (count, labelled, kind) in enumerate(videos):
        number = first_video + offset
        start = len(records)
        for frame in range(count):
            video = f"video{number}" if kind == "video" else f"still{number}-{frame}"
            still_frame = frame if kind == "video" else 0
            image = np.full((HEIGHT, WIDTH, 3), frame_level(number, frame), np.uint8)
            jpg = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 95])[1].tobytes()
            key = frame_key(video, still_frame)
            json_offset = 0
            parts = encode_member(f"{key}.jpg", jpg)
            jpg_offset = len(tar) + len(parts[0])
            tar += b"".join(parts)
            parts = encode_member(f"{key}.json", b"{}")
            json_offset = len(tar) + len(parts[0])
            tar += b"".join(parts)
            records.append((jpg_offset, json_offset, len(jpg), 2, zlib.crc32(jpg), zlib.crc32(b"{}")))
            rows.append(
                FrameRow(
                    video,
                    still_frame,
                    len(rows),
                    frame * 40.0,
                    (WIDTH, HEIGHT),
                    (WIDTH, HEIGHT),
                    box=(25.0, 15.0, 65.0, 55.0),
                    face_px=40.0,
                    points_K2=points_of(frame) if frame in labelled else None,
                    visible_K=np.full(POINTS, 1, np.uint8) if frame in labelled else None,
                )
            )
        segments.append(
            Segment(
                kind=kind,
                video=f"video{number}" if kind == "video" else "",
                start=start,
                frames=count,
                first_frame=0,
                frame_step=1,
                labelled=format_ranges(np.array(sorted(labelled), np.int64)),
            )
        )
    tar += END
    idx = encode_index(np.array(records, INDEX_DTYPE), len(tar))
    parquet = encode_frames(rows, POINTS)
    record = Shard(
        name=name,
        plan="plan",
        frames=len(rows),
        labelled=sum(row.points_K2 is not None for row in rows),
        failed=0,
        tar_bytes=len(tar),
        tar_sha256=hashlib.sha256(tar).hexdigest(),
        idx_sha256=hashlib.sha256(idx).hexdigest(),
        parquet_sha256=hashlib.sha256(parquet).hexdigest(),
        segments=tuple(segments),
    )
    for extension, data in (("tar", tar), ("idx", idx), ("parquet", parquet), ("json", encode_shard(record))):
        put_bytes(f"{folder}/{name}.{extension}", data)
    return record


def write_folder(folder, shards):
    """`shards` is a list of lists of (frames, labelled frames, kind); returns the folder as a URL."""
    records, video = [], 0
    for number, videos in enumerate(shards):
        records.append(write_shard(folder, f"shard-{number:05d}", videos, video))
        video += len(videos)
    manifest = build_manifest("train", "plan", "300w-68", POINTS, tuple(records))
    put_bytes(f"{folder}/manifest.json", encode_manifest(manifest))
    return str(folder)
