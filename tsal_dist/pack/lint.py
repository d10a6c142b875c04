"""Everything that can be wrong with a folder of shards, found without trusting any of its files.

Each shard's four files are held against each other and against the manifest: digests, the tar's structure down
to its closing blocks, index and frame table against the tar's members, labels against pictures.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np

from tsal_dist.errors import DataError
from tsal_dist.pack.foreign import FOREIGN
from tsal_dist.pack.picture_file import AS_STORED
from tsal_dist.pack.sources import SOURCES, read_sources
from tsal_dist.shards import files
from tsal_dist.shards.frames import OK, FrameTable, decode_frames, decode_status
from tsal_dist.shards.index import Index, decode_index
from tsal_dist.shards.manifest import MANIFEST, FaceCrops, Manifest, Shard, decode_shard, open_manifest
from tsal_dist.shards.names import IMAGE_EXTENSION, LABEL_EXTENSION, frame_key
from tsal_dist.shards.ustar import Member, walk

_TOLERANCE_PX = 1e-3
_EXAMPLES = 5
_KNOWN = (".tar", ".idx", ".parquet", ".json")


@dataclass(frozen=True)
class Finding:
    """Something wrong: where, which check, and what was seen."""

    where: str
    check: str
    detail: str


def lint_folder(url: str, decode_every: int = 1) -> list[Finding]:
    """[] for a folder without fault. Every n-th frame is decoded; 0 decodes none."""
    try:
        manifest = open_manifest(url)
    except DataError as error:
        return [Finding(MANIFEST, "manifest", str(error))]
    findings = list(_lint_names(manifest))
    for shard in manifest.shards:
        findings += _shorten(_lint_shard(manifest, shard, decode_every))
    return findings


def _shorten(findings: Iterator[Finding]) -> list[Finding]:
    """A few of each kind tell as much as a thousand."""
    kept: list[Finding] = []
    counts: Counter[str] = Counter()
    for finding in findings:
        counts[finding.check] += 1
        if counts[finding.check] <= _EXAMPLES:
            kept.append(finding)
    where = kept[0].where if kept else ""
    more = {check: count - _EXAMPLES for check, count in counts.items() if count > _EXAMPLES}
    return kept + [Finding(where, check, f"and {count} more") for check, count in more.items()]


def _lint_names(manifest: Manifest) -> Iterator[Finding]:
    known = {f"{shard.name}{extension}" for shard in manifest.shards for extension in _KNOWN}
    known |= {MANIFEST, SOURCES}
    for name in files.list_names(manifest.url):
        if name not in known and not (name.startswith("plan") and name.endswith(".json")):
            yield Finding(name, "leftover", "no shard of the manifest owns this file")
    try:
        read_sources(manifest.url)
    except DataError as error:
        yield Finding(SOURCES, "sources", str(error))
    doubles = Counter(shard.name for shard in manifest.shards)
    yield from (Finding(name, "name", "used by two shards") for name, count in doubles.items() if count > 1)


def _lint_shard(manifest: Manifest, shard: Shard, decode_every: int) -> Iterator[Finding]:
    base = files.join(manifest.url, shard.name)
    try:
        record = decode_shard(files.read_bytes(f"{base}.json"), f"{shard.name}.json")
        if record != shard:
            yield Finding(shard.name, "record", "X.json and the manifest disagree")
        idx, parquet = files.read_bytes(f"{base}.idx"), files.read_bytes(f"{base}.parquet")
        for data, wanted, what in (
            (idx, shard.idx_sha256, "idx"),
            (parquet, shard.parquet_sha256, "parquet"),
        ):
            if hashlib.sha256(data).hexdigest() != wanted:
                yield Finding(shard.name, "digest", f"the {what} is not the file that was committed")
        index, tar_bytes = decode_index(idx, f"{shard.name}.idx")
        table = decode_frames(parquet, f"{shard.name}.parquet")
        with files.view(f"{base}.tar") as tar:
            if not len(tar) == tar_bytes == shard.tar_bytes:
                yield Finding(shard.name, "size", f"the tar has {len(tar)} bytes and should have {tar_bytes}")
            if hashlib.sha256(tar).hexdigest() != shard.tar_sha256:
                yield Finding(shard.name, "digest", "the tar is not the file that was committed")
            members = list(walk(tar, f"{shard.name}.tar"))
            yield from _lint_index(shard, index, table, members)
            yield from _lint_table(shard, table, parquet)
            yield from _lint_crops(manifest.crop, shard, table)
            yield from _lint_frames(shard, index, table, tar, decode_every)
    except DataError as error:
        yield Finding(shard.name, "broken", str(error))


def _lint_index(shard: Shard, index: Index, table: FrameTable, members: list[Member]) -> Iterator[Finding]:
    """Index, tar and table name the same members at the same places."""
    labels = int(np.count_nonzero(index["json_size"]))
    if not (
        len(index) == len(table) == shard.frames
        and (shard.plan == FOREIGN or len(members) == len(index) + labels)
    ):
        yield Finding(
            shard.name,
            "count",
            f"{len(members)} members, {len(index)} index records, {len(table)} table rows, "
            f"{shard.frames} frames in the record",
        )
        return
    doubles = Counter(member.name for member in members)
    yield from (Finding(shard.name, "key", f"{name} twice") for name, count in doubles.items() if count > 1)
    by_place = {(member.offset, member.size): member.name for member in members}
    for position, record in enumerate(index):
        key = frame_key(table.videos[table.video_N[position]], int(table.frame_N[position]))
        image = by_place.get((int(record["jpg_offset"]), int(record["jpg_size"])))
        label = by_place.get((int(record["json_offset"]), int(record["json_size"])))
        if shard.plan == FOREIGN:
            if image is None:
                yield Finding(shard.name, "index", f"position {position}: no member of the tar lies there")
        elif image != f"{key}.{IMAGE_EXTENSION}" or (
            record["json_size"] and label != f"{key}.{LABEL_EXTENSION}"
        ):
            yield Finding(
                shard.name, "index", f"position {position}: index points at {image}, table says {key}"
            )


def _lint_table(shard: Shard, table: FrameTable, parquet: bytes) -> Iterator[Finding]:
    status = decode_status(parquet)["status"].to_pylist()
    failed = len(status) - status.count(OK)
    labelled = int(table.labelled_N.sum())
    if (failed, labelled) != (shard.failed, shard.labelled) or status.count(OK) != shard.frames:
        yield Finding(shard.name, "count", f"table: {labelled} labelled, {failed} failed; record: otherwise")
    end = 0
    for segment in shard.segments:
        rows = slice(segment.start, segment.start + segment.frames)
        marked = np.flatnonzero(table.labelled_N[rows]) + segment.start
        numbers = segment.first_frame + segment.frame_step * np.arange(segment.frames)
        names = {table.videos[code] for code in table.video_N[rows]}
        fits = segment.kind == "stills" or (
            names == {segment.video} and np.array_equal(table.frame_N[rows], numbers)
        )
        if segment.start != end or not fits or not np.array_equal(marked, segment.labelled_positions()):
            yield Finding(
                shard.name, "segment", f"at position {segment.start}: does not match the frame table"
            )
        end = segment.start + segment.frames
    if end != shard.frames:
        yield Finding(shard.name, "segment", f"segments end at position {end} of {shard.frames}")


def _lint_crops(crop: FaceCrops | None, shard: Shard, table: FrameTable) -> Iterator[Finding]:
    """Where face crops are stored, each says which part of its source it is, and a clip never changes its part."""
    if not len(table):
        return
    if (crop is None) != (table.origin_N2 is None):
        there = "whole pictures" if table.origin_N2 is None else "face crops"
        yield Finding(shard.name, "crop", f"the frame table has {there}, the manifest says otherwise")
        return
    if crop is None or table.origin_N2 is None:
        return
    for position in np.flatnonzero(table.size_N2.max(1) > crop.side_px):
        size = tuple(table.size_N2[position].tolist())
        yield Finding(
            shard.name, "crop", f"position {position}: {size} pixels, at most {crop.side_px} a side"
        )
    place_N4 = np.concatenate([table.origin_N2, table.source_size_N2], 1)
    for position in np.flatnonzero(
        (table.origin_N2 < 0).any(1) | (table.source_size_N2 < table.size_N2).any(1)
    ):
        yield Finding(
            shard.name, "crop", f"position {position}: {place_N4[position].tolist()} is no part of it"
        )
    for segment in shard.segments:
        rows = slice(segment.start, segment.start + segment.frames)
        if segment.kind == "video" and len(np.unique(place_N4[rows], axis=0)) != 1:
            yield Finding(shard.name, "crop", f"the segment at position {segment.start} shows several parts")


def _lint_frames(
    shard: Shard, index: Index, table: FrameTable, tar: memoryview, decode_every: int
) -> Iterator[Finding]:
    for position, record in enumerate(index):
        video, frame = table.videos[table.video_N[position]], int(table.frame_N[position])
        where = f"position {position} ({shard.frame_name(position, video, frame)})"
        yield from (
            Finding(shard.name, "label", f"{where}: {fault}") for fault in _label_faults(table, position)
        )
        if record["json_size"]:
            start = int(record["json_offset"])
            text = bytes(tar[start : start + int(record["json_size"])])
            yield from (
                Finding(shard.name, "json", f"{where}: {x}")
                for x in _json_faults(text, table, position, shard.plan == FOREIGN)
            )
        if decode_every and position % decode_every == 0:
            start = int(record["jpg_offset"])
            data = np.frombuffer(tar[start : start + int(record["jpg_size"])], np.uint8)
            image = cv2.imdecode(data, AS_STORED) if len(data) else None
            if image is None:
                yield Finding(shard.name, "decode", f"{where}: the image cannot be decoded")
            elif image.shape[1::-1] != tuple(table.size_N2[position]):
                yield Finding(shard.name, "decode", f"{where}: {image.shape[1::-1]} pixels, table: otherwise")


def _label_faults(table: FrameTable, position: int) -> Iterator[str]:
    width, height = table.size_N2[position]
    box_4, placed_K = table.box_N4[position], table.visible_NK[position] > 0
    if not np.isfinite(box_4).all() or box_4[2] <= box_4[0] or box_4[3] <= box_4[1]:
        yield f"the box {box_4.tolist()} has no area"
    if bool(placed_K.any()) != bool(table.labelled_N[position]):
        yield "labelled without a landmark, or landmarks without a label"
    points_K2 = table.points_NK2[position][placed_K]
    outside = (points_K2 < -0.5 - _TOLERANCE_PX) | (
        points_K2 > np.array([width, height]) - 0.5 + _TOLERANCE_PX
    )
    if outside.any() or not np.isfinite(points_K2).all():
        yield f"{int(outside.any(1).sum())} landmarks are outside of the picture"


def _json_faults(text: bytes, table: FrameTable, position: int, foreign: bool) -> Iterator[str]:
    """What others wrote of points outside of the picture is no fault of theirs: these have no place in the table."""
    try:
        told_K = (table.visible_NK[position] > 0) | (not foreign)
        page = json.loads(text)
        points_K2 = np.array(page.get("points", np.zeros_like(table.points_NK2[position])), np.float32)
        same = points_K2.shape == table.points_NK2[position].shape and np.allclose(
            points_K2[told_K], table.points_NK2[position][told_K], atol=_TOLERANCE_PX
        )
        if not same or not np.allclose(
            page.get("box", table.box_N4[position]), table.box_N4[position], atol=1e-2
        ):
            yield "the JSON member and the frame table disagree"
    except (ValueError, TypeError, AttributeError) as error:
        yield f"the JSON member cannot be read: {error}"
