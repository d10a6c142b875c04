"""What tells a file from any other: a digest of its size and of three windows of its content, so that the same video under two
names is noticed without reading terabytes."""

import hashlib
import os
from collections.abc import Sequence

_WINDOW = 1 << 20


def content_digest(files: Sequence[str]) -> str:
    """Of one file, or of several that are one input."""
    seal = hashlib.sha256()
    for path in files:
        with open(path, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            seal.update(size.to_bytes(8, "little"))
            for start in sorted({0, max(0, size // 2 - _WINDOW // 2), max(0, size - _WINDOW)}):
                file.seek(start)
                seal.update(file.read(_WINDOW))
    return seal.hexdigest()[:32]
