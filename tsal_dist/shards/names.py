"""How a video and a frame number become the key of a tar member, and back.

WebDataset takes as a sample's key everything up to the first dot of a member's last path part, so a video's
name must lose its dots. Percent-encoding does that reversibly and without collisions; slashes stay, so that an
unpacked shard is a tree. A name too long for a ustar header is cut and ends in `~` and its digest: unique, and
the frame table holds the full name.
"""

import hashlib
import re
from functools import lru_cache
from urllib.parse import quote, unquote

from tsal_dist.errors import DataError

IMAGE_EXTENSION = "jpg"
LABEL_EXTENSION = "json"
FRAME_DIGITS = 8
_LONGEST = 80  # with "-<8 digits>.json" the last path part stays below ustar's 100 bytes
_KEY = re.compile(rf"(?P<name>.+)-(?P<frame>\d{{{FRAME_DIGITS}}})", re.DOTALL)


@lru_cache(maxsize=1024)
def encode_name(video: str) -> str:
    """`clips/a b.mp4` becomes `clips/a%20b%2Emp4`."""
    if not video or video.startswith("/") or {"", ".", ".."} & set(video.split("/")):
        raise DataError(
            f"{video!r} cannot name a video in a shard: a name is a relative path without empty, '.' or '..' "
            "parts. Name the folder that holds all inputs with --root."
        )
    safe = quote(video, safe="/").replace(".", "%2E").replace("~", "%7E")
    folder, _, last = safe.rpartition("/")
    if len(last) <= _LONGEST and len(folder) <= 155:
        return safe
    digest = hashlib.sha256(video.encode()).hexdigest()[:32]
    return f"{last[: _LONGEST - len(digest) - 1]}~{digest}"


def decode_name(name: str) -> str:
    """The video that `encode_name` was given; refused for a name that was cut."""
    if "~" in name:
        raise DataError(f"{name!r} stands for a name too long for a tar; read it in the shard's frame table.")
    return unquote(name)


def frame_key(video: str, frame: int) -> str:
    return f"{encode_name(video)}-{frame:0{FRAME_DIGITS}d}"


def split_key(key: str) -> tuple[str, int]:
    """A key's encoded video name and frame number."""
    match = _KEY.fullmatch(key)
    if not match:
        raise DataError(f"{key!r} is not a frame of this format: expected <video>-<frame:0{FRAME_DIGITS}d>.")
    return match["name"], int(match["frame"])
