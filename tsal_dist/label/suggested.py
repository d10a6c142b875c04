"""suggested.json: frames that were suggested, with the reason and the detector's guess. No table of labels: a guess is
none until somebody has looked at it."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tsal_dist.errors import ConfigError
from tsal_dist.inference.suggestion import Suggestion
from tsal_dist.json_object import read_object
from tsal_dist.records import FrameRef
from tsal_dist.run_dir import write_whole

SUGGESTED = "suggested.json"


@dataclass(frozen=True)
class Kept:
    """One suggestion, as the file has it."""

    ref: FrameRef
    video: str
    frame: int
    reason: str
    points: tuple[tuple[float, float], ...]
    """In pixels of the source."""


def write_suggestions(folder: Path, fingerprint: str, found: Sequence[Suggestion]) -> Path:
    """`fingerprint` is that of the shards: places in other shards would show other frames."""
    rows = [
        {
            "shard": one.guess.ref.shard,
            "index": one.guess.ref.index,
            "video": one.guess.video,
            "frame": one.guess.frame,
            "reason": one.reason,
            "points": [[round(value, 3) for value in point] for point in one.guess.points_K2.tolist()],
        }
        for one in found
    ]
    path = folder / SUGGESTED
    write_whole(path, json.dumps({"shards": fingerprint, "frames": rows}, indent=1).encode())
    return path


def read_suggestions(folder: Path, fingerprint: str) -> list[Kept]:
    """[] where nothing was suggested, or in other shards."""
    path = folder / SUGGESTED
    if not path.exists():
        return []
    try:
        page = read_object(path.read_bytes())
        if page["shards"] != fingerprint:
            return []
        return [
            Kept(
                FrameRef(int(row["shard"]), int(row["index"])),
                str(row["video"]),
                int(row["frame"]),
                str(row["reason"]),
                tuple((float(x), float(y)) for x, y in row["points"]),
            )
            for row in page["frames"]
        ]
    except (ValueError, LookupError, TypeError) as error:
        raise ConfigError(f"{path} is damaged ({error}). Remove it, or suggest again.") from None
