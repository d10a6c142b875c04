"""sources.parquet: what became of every input of a folder, and what must not appear in another split.

It is written before the first frame is decoded, so that two splits packed at the same time see each other, and
once more at the end with the final status of each input.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from tsal_dist.errors import ConfigError, DataError
from tsal_dist.pack.inputs import Input
from tsal_dist.pack.video_facts import Probe
from tsal_dist.shards import files
from tsal_dist.shards.frames import OK, read_status
from tsal_dist.shards.manifest import Shard

SOURCES = "sources.parquet"
_SCHEMA = pa.schema(
    [
        pa.field(name, kind, nullable=False)
        for name, kind in (
            ("name", pa.string()),
            ("kind", pa.string()),
            ("digest", pa.string()),
            ("size_bytes", pa.int64()),
            ("frames", pa.int64()),
            ("stored", pa.int64()),
            ("status", pa.string()),
            ("reason", pa.string()),
        )
    ]
)


@dataclass(frozen=True)
class SourceRow:
    """One input of a folder."""

    name: str
    kind: str
    digest: str
    """"" for an input that could not be read at all."""
    size_bytes: int
    frames: int
    """Promised by the input, before any stride."""
    stored: int
    status: str
    """"ok" only if every wanted frame was stored."""
    reason: str


def first_rows(sources: Iterable[tuple[Input, Probe]]) -> list[SourceRow]:
    """What is known before anything is decoded."""
    return [
        SourceRow(one.name, one.kind, seen.digest, seen.size_bytes, seen.frames, 0, seen.status, seen.reason)
        for one, seen in sources
    ]


def final_rows(rows: Sequence[SourceRow], shards: Iterable[Shard], folder: str) -> list[SourceRow]:
    """The same rows with what the frame tables of the finished shards say."""
    stored: dict[str, int] = {}
    failures: dict[str, tuple[str, str]] = {}
    for shard in shards:
        table = read_status(files.join(folder, f"{shard.name}.parquet"))
        columns = (table[name].to_pylist() for name in ("video", "status", "reason"))
        for video, status, reason in zip(*columns, strict=True):
            if status == OK:
                stored[str(video)] = stored.get(str(video), 0) + 1
            else:
                failures.setdefault(str(video), (str(status), str(reason)))

    def finish(row: SourceRow) -> SourceRow:
        status, reason = failures.get(row.name, (row.status, row.reason))
        return replace(row, stored=stored.get(row.name, 0), status=status, reason=reason)

    return [finish(row) for row in rows]


def encode_sources(rows: Sequence[SourceRow]) -> bytes:
    columns: dict[str, Any] = {name: [getattr(row, name) for row in rows] for name in _SCHEMA.names}
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table(columns, schema=_SCHEMA), sink, compression="zstd")
    return sink.getvalue().to_pybytes()


def read_sources(folder: str) -> list[SourceRow]:
    """[] for a folder that has none."""
    url = files.join(folder, SOURCES)
    if not files.exists(url):
        return []
    try:
        # Without threads, as tsal_dist.shards.frames reads.
        table = pq.ParquetFile(pa.BufferReader(files.read_bytes(url))).read(use_threads=False)
        return [SourceRow(**row) for row in table.to_pylist()]
    except (pa.ArrowException, OSError, TypeError) as error:
        raise DataError(f"{url} is not a table of inputs: {error}.") from error


def check_apart(rows: Sequence[SourceRow], folder: str, others: Iterable[str]) -> None:
    """Refuse when a usable input of `folder` has the content of one in another split."""
    mine = {row.digest: row.name for row in rows if row.digest}
    for other in others:
        for row in read_sources(other):
            if row.digest in mine:
                raise ConfigError(
                    f"{mine[row.digest]} is also in {other}, as {row.name}: a video or image in two splits leaks "
                    f"from one into the other. Take it out of what is packed into {folder}, or of the other."
                )


def sibling_splits(folder: str) -> list[str]:
    """The other folders beside this one that hold a table of inputs."""
    above = files.parent(folder)
    mine = folder.rstrip("/").rpartition("/")[2]
    beside = [files.join(above, name) for name in files.list_names(above) if name != mine]
    return [place for place in beside if files.exists(files.join(place, SOURCES))]
