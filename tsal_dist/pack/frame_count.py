"""How many frames a video's own index counts; nothing here needs what reads shards, as predictions ask too."""

import os

import cv2

from tsal_dist.pack.edit_list import hides_frames

LONGEST = 10_000_000
"""Frames; a larger count is a header's way to say "unknown"."""


def open_video(path: str, threads: int = 1) -> cv2.VideoCapture:
    """A decoder at the first frame; FFmpeg only, as other backends take `a1.jpg` for a pattern of files.

    Rotation that the file asks for is applied, as a player would.
    """
    return cv2.VideoCapture(path, cv2.CAP_FFMPEG, [cv2.CAP_PROP_N_THREADS, threads])


def stored_frames(path: str) -> int:
    """How many frames the file's own index counts; 0 where it has none, or counts hidden ones, and one would have to guess."""
    if not os.path.isfile(path) or not stores_frame_count(path) or hides_frames(path):
        return 0
    video = open_video(path)
    frames = int(video.get(cv2.CAP_PROP_FRAME_COUNT))
    video.release()
    return frames if 0 < frames <= LONGEST else 0


def stores_frame_count(path: str) -> bool:
    """Whether the container is one that counts them (AVI, MP4)."""
    with open(path, "rb") as file:
        head = file.read(12)
    return head[:4] == b"RIFF" or head[4:8] in (b"ftyp", b"moov", b"mdat", b"wide", b"free")
