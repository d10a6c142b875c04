"""manifest.json and X.json: which shards a folder has, and which of their frames belong together.

A segment is a run of neighbouring frames in one shard. In a segment of a video the frame numbers rise by a
constant step, so any window of it is a clip; in a segment of stills every frame stands for itself. The
manifest's fingerprint covers the bytes of every shard: a reader's saved position is worth nothing for another.
"""

import hashlib
import json
from collections.abc import Sequence
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from tsal_dist.errors import DataError
from tsal_dist.records import UNNAMED, Layout, frame_name
from tsal_dist.shards.files import join, read_bytes

MANIFEST = "manifest.json"
FORMAT: Final = 1
_ONLY_WHERE_SAID = ("names", "skeleton", "first_pixel", "crop")
_MOST_FRAMES = 2**31 - 1  # the frame table holds 32 bits


class _Page(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Segment(_Page):
    """Neighbouring frames of a shard that may be read as one clip, or as stills."""

    kind: Literal["video", "stills"]
    video: str
    """Name of the source; "" for stills, whose names are in the frame table."""
    start: int = Field(ge=0)
    """Position of the first frame in the shard."""
    frames: int = Field(ge=1)
    first_frame: int = Field(ge=0)
    """Number of the first frame in its source; 0 for stills."""
    frame_step: int = Field(ge=1)
    """Distance of neighbouring frames in the source; 1 for stills."""
    labelled: str = Field(pattern=r"^(\d+(-\d+)?(,\d+(-\d+)?)*)?$")
    """Which of these frames have points, counted from 0 in the segment, as ranges: "", "0-99" or "0,10,20-24"."""

    @model_validator(mode="after")
    def _check(self) -> "Segment":
        """Numbers that other parts turn into arrays: checked here, before anything is as large as they say."""
        if (
            max(self.first_frame + (self.frames - 1) * self.frame_step, self.start + self.frames)
            > _MOST_FRAMES
        ):
            raise ValueError(f"a shard holds no frames beyond number {_MOST_FRAMES}")
        edges = [int(edge) for edge in self.labelled.replace("-", ",").split(",") if edge]
        if edges != sorted(set(edges)) or edges[-1:] > [self.frames - 1]:
            raise ValueError(f"labelled = {self.labelled!r} are no rising positions below {self.frames}")
        return self

    def labelled_positions(self) -> NDArray[np.int64]:
        """Positions in the shard of the labelled frames, rising."""
        return self.start + parse_ranges(self.labelled)


class Shard(_Page):
    """What X.json says of a finished shard; the manifest repeats it."""

    format: Literal[1] = FORMAT
    name: str = Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]*$")
    """File name without extension."""
    plan: str
    """Fingerprint of the plan that the shard belongs to."""
    frames: int = Field(ge=0)
    labelled: int = Field(ge=0)
    failed: int = Field(ge=0)
    tar_bytes: int = Field(ge=0)
    tar_sha256: str
    idx_sha256: str
    parquet_sha256: str
    segments: tuple[Segment, ...]

    def is_still(self, position: int) -> bool:
        """Whether the frame there is a picture of its own and no frame of a video."""
        return any(
            one.kind == "stills" and one.start <= position < one.start + one.frames for one in self.segments
        )

    def frame_name(self, position: int, video: str, frame: int) -> str:
        """For people; `frame` is what the frame table says, which of a still is no frame number."""
        return frame_name(video, None if self.is_still(position) else frame)


class FaceCrops(_Page):
    """That shards hold squares around faces in place of whole pictures."""

    side_px: int = Field(ge=16)
    """Longer side of a stored picture at most."""
    margin: float = Field(ge=0)
    """What is kept beside the face box on each side, as a share of the box's longer side."""


class Manifest(_Page):
    """One folder of shards, as its readers see it."""

    format: Literal[1] = FORMAT
    split: str
    plan: str
    """Fingerprint of inputs, options and format; the packer refuses to mix two plans in one folder."""
    scheme: str
    """Name of the landmark layout, such as `300w-68`."""
    points: int = Field(ge=0)
    """K, the landmarks of a subject; 0 when nothing is labelled."""
    names: tuple[str, ...] = ()
    """What the landmarks are called, in their order; () when the labels did not say. Absent from the file then."""
    skeleton: tuple[tuple[int, int], ...] = ()
    """Pairs of landmarks, counted from 0, that are drawn joined; () and absent when the labels did not say."""
    first_pixel: tuple[int, ...] = ()
    """What the annotations called the first pixel before they were packed; in the shards it is always 0. Empty in
    folders that do not say."""
    shards: tuple[Shard, ...]
    crop: FaceCrops | None = None
    """Absent where whole pictures are stored."""
    fingerprint: str = ""
    """sha256 over everything above."""
    url: str = Field("", exclude=True)
    """Where it was read; not part of the file."""

    @model_validator(mode="after")
    def _check(self) -> "Manifest":
        """Names and lines that other parts index by."""
        if self.names and (len(self.names) != self.points or len(set(self.names)) < len(self.names)):
            raise ValueError(
                f"{len(self.names)} names are not {self.points} different ones, one per landmark"
            )
        if any(not 0 <= end < self.points for pair in self.skeleton for end in pair):
            raise ValueError(f"skeleton names a landmark that is none of {self.points}")
        return self

    @property
    def videos(self) -> frozenset[str]:
        """Names of the sources that are no stills."""
        return frozenset(
            part.video for shard in self.shards for part in shard.segments if part.kind == "video"
        )

    @property
    def layout(self) -> Layout:
        return Layout(self.names, self.skeleton)

    @property
    def frames(self) -> int:
        return sum(shard.frames for shard in self.shards)

    @property
    def labelled(self) -> int:
        return sum(shard.labelled for shard in self.shards)

    def tar_url(self, shard: int) -> str:
        return join(self.url, f"{self.shards[shard].name}.tar")

    def idx_url(self, shard: int) -> str:
        return join(self.url, f"{self.shards[shard].name}.idx")

    def parquet_url(self, shard: int) -> str:
        return join(self.url, f"{self.shards[shard].name}.parquet")


def build_manifest(
    split: str,
    plan: str,
    scheme: str,
    points: int,
    shards: tuple[Shard, ...],
    layout: Layout = UNNAMED,
    first_pixel: Sequence[int] = (),
    crop: FaceCrops | None = None,
) -> Manifest:
    bare = Manifest(
        split=split,
        plan=plan,
        scheme=scheme,
        points=points,
        names=layout.names,
        skeleton=layout.skeleton,
        first_pixel=tuple(first_pixel),
        shards=shards,
        crop=crop,
    )
    return bare.model_copy(update={"fingerprint": _fingerprint(bare)})


def encode_manifest(manifest: Manifest) -> bytes:
    return _canonical(manifest)


def encode_shard(shard: Shard) -> bytes:
    return _canonical(shard)


def decode_shard(data: bytes, where: str) -> Shard:
    try:
        return Shard.model_validate_json(data)
    except ValidationError as error:
        raise DataError(f"{where} is not the commit record of a shard: {_first(error)}.") from error


def decode_manifest(data: bytes, url: str) -> Manifest:
    """Check and read a manifest; `url` is its folder."""
    where = join(url, MANIFEST)
    try:
        manifest = Manifest.model_validate_json(data)
    except ValidationError as error:
        raise DataError(f"{where} is not a manifest of format {FORMAT}: {_first(error)}.") from error
    if manifest.fingerprint != _fingerprint(manifest):
        raise DataError(
            f"{where} was changed after it was written: its fingerprint does not match. Pack again."
        )
    return manifest.model_copy(update={"url": url})


def open_manifest(url: str) -> Manifest:
    """The manifest of the folder of shards at a path or URL."""
    return decode_manifest(read_bytes(join(url, MANIFEST)), url)


def format_ranges(positions: NDArray[np.int64]) -> str:
    """Rising whole numbers as text: [0, 1, 2, 7] is "0-2,7"."""
    if not len(positions):
        return ""
    breaks = np.flatnonzero(np.diff(positions) != 1)
    first = positions[np.concatenate([[0], breaks + 1])]
    last = positions[np.concatenate([breaks, [len(positions) - 1]])]
    return ",".join(f"{a}" if a == b else f"{a}-{b}" for a, b in zip(first, last, strict=True))


def parse_ranges(text: str) -> NDArray[np.int64]:
    """What `format_ranges` was given."""
    if not text:
        return np.empty(0, np.int64)
    runs = [part.split("-") for part in text.split(",")]
    return np.concatenate([np.arange(int(run[0]), int(run[-1]) + 1) for run in runs])


def _canonical(page: _Page) -> bytes:
    tree = page.model_dump()
    for name in _ONLY_WHERE_SAID:  # a folder whose labels have no names keeps the bytes it always had
        if name in tree and not tree[name]:
            del tree[name]
    return json.dumps(tree, sort_keys=True, indent=1).encode() + b"\n"


def _fingerprint(manifest: Manifest) -> str:
    return hashlib.sha256(_canonical(manifest.model_copy(update={"fingerprint": ""}))).hexdigest()


def _first(error: ValidationError) -> str:
    problem = error.errors()[0]
    return f"{'.'.join(str(part) for part in problem['loc'])}: {problem['msg']}"
