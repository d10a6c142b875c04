"""A first look into every file: is it there, can it be decoded, how many frames does it promise, what is it?

A frame count in a header is trusted only where the container stores it (AVI, MP4); elsewhere packets are
counted, which costs no decoding. What it is says `content`.
"""

import os
from dataclasses import dataclass

import cv2

from tsal_dist.pack.content import content_digest
from tsal_dist.pack.edit_list import hides_frames
from tsal_dist.pack.frame_count import LONGEST, open_video, stores_frame_count
from tsal_dist.pack.inputs import Input
from tsal_dist.shards.frames import OK


@dataclass(frozen=True)
class Probe:
    """What is known of an input before it is decoded."""

    digest: str
    size_bytes: int
    frames: int
    status: str = OK
    reason: str = ""


def probe(one: Input) -> Probe:
    if one.problem is not None:
        return Probe("", 0, 0, *one.problem)
    files = files_of(one)
    try:
        size = sum(os.path.getsize(file) for file in files)
        if not size:
            return Probe("", 0, 0, "empty", "the file has no bytes")
        digest = content_digest(files)
    except OSError as error:
        return Probe("", 0, 0, "missing", error.strerror or str(error))
    if one.kind != "video":
        return Probe(digest, size, len(one.labels))
    frames, status, reason = _look_into(one)
    return Probe(digest, size, frames, status, reason)


def files_of(one: Input) -> list[str]:
    """The files that it is read from; one that is missing where all are."""
    files = [label.file for label in one.labels.values()] if one.kind == "sequence" else [one.path]
    return [file for file in files if os.path.exists(file)] or files[:1]


def _look_into(one: Input) -> tuple[int, str, str]:
    video = open_video(one.path)
    try:
        if not video.isOpened():
            return 0, "open_failed", "no video stream that OpenCV can decode"
        frames = int(video.get(cv2.CAP_PROP_FRAME_COUNT))
        if not video.grab():
            return 0, "no_frames", "the file opens but not one frame can be decoded"
    finally:
        video.release()
    if hides_frames(one.path):
        frames = _count(one.path)
    elif not (stores_frame_count(one.path) and 0 < frames <= LONGEST):
        frames = _count(one.path, cv2.CAP_PROP_FORMAT, -1)  # packets, not decoded
    if one.annotations and one.annotations != frames:
        frames = _count(one.path)  # the header may be what is wrong
        if one.annotations != frames:
            reason = f"{one.annotations} annotations for {frames} frames; which belongs to which is unknown"
            return 0, "annotation_mismatch", reason
    return frames, OK, ""


def _count(path: str, *options: int) -> int:
    video = cv2.VideoCapture(path, cv2.CAP_FFMPEG, options)
    try:
        count = 0
        while video.grab():
            count += 1
        return count
    finally:
        video.release()
