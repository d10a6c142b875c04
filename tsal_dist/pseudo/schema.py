"""What a row is: columns as numpy arrays, the two topics' schemas, and which schemas understand each other.

Columns are held as `Columns`: a name to an array whose first axis is the row, or to `Strings` for text. A schema
grows by adding columns (minor); a reader fills a column it does not find with zeros and skips one it does not know.
Everything else is another major version and is refused when the topic is opened.
"""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from dataclasses import field as default
from functools import cached_property
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from tsal_dist.errors import DataError, ExchangeError

MAJOR = 1
TEXT = "text"
BITS = "bits"
_KNOWN_TYPE = re.compile(r"text|bits|u?int(8|16|32|64)|float(16|32|64)")
SOURCES = ("heatmap", "center", "track")


@dataclass(frozen=True)
class Strings:
    """A column of text: N codes into a short list of names, as text repeats from row to row."""

    codes: NDArray[np.int32]
    names: tuple[str, ...]

    @staticmethod
    def of(values: Sequence[str]) -> "Strings":
        names = tuple(dict.fromkeys(values))
        place = {name: code for code, name in enumerate(names)}
        return Strings(np.array([place[value] for value in values], np.int32), names)

    def __len__(self) -> int:
        return len(self.codes)

    def __getitem__(self, rows: slice) -> "Strings":
        return Strings(self.codes[rows], self.names)

    def tolist(self) -> list[str]:
        return [self.names[code] for code in self.codes]


Column: TypeAlias = NDArray[Any] | Strings
Columns: TypeAlias = dict[str, Column]


@dataclass(frozen=True)
class Field:
    """One column. `shape` is that of a row: () for a number, (K, 2) for the points of one source."""

    name: str
    dtype: str
    """`text`, `bits` (booleans, eight to a byte) or a numpy dtype, little endian on disk."""
    shape: tuple[int, ...] = ()

    def zeros(self, rows: int) -> Column:
        """What a row holds that was written before this column existed."""
        if self.dtype == TEXT:
            return Strings(np.zeros(rows, np.int32), ("",))
        return np.zeros((rows, *self.shape), np.bool_ if self.dtype == BITS else self.dtype)


STAMPS = (Field("teacher_step", "int64"), Field("teacher_rank", "int16"), Field("t_ns", "int64"))
"""Written by the producer from what it knows: the step of the weights, its rank, the time of publication."""
IDENTITY = (
    Field("video", TEXT),
    Field("frame", "int32"),
    Field("sample_id", "uint64"),
    Field("shard", "int32"),
    Field("index", "int32"),
)
"""Which frame a row is about, and where to read it again."""


@dataclass(frozen=True)
class Schema:
    """The columns of a topic. `unit` consecutive rows (the frames of a clip) stay together everywhere."""

    topic: str
    fields: tuple[Field, ...]
    unit: int = 1
    minor: int = 0
    major: int = MAJOR
    points: int = 0
    sources: tuple[str, ...] = ()

    @cached_property
    def all_fields(self) -> tuple[Field, ...]:
        return IDENTITY + STAMPS + self.fields

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "units": "points and boxes in pixels of the source frame, boxes x1 y1 x2 y2"}

    @staticmethod
    def from_json(text: Mapping[str, Any]) -> "Schema":
        fields = tuple(Field(item["name"], item["dtype"], tuple(item["shape"])) for item in text["fields"])
        return Schema(
            text["topic"],
            fields,
            text["unit"],
            text["minor"],
            text["major"],
            text["points"],
            tuple(text["sources"]),
        )

    @staticmethod
    def parse(text: Any, place: str) -> "Schema":
        """`from_json` of what a file says."""
        try:
            schema = Schema.from_json(text)
            numbers = (schema.unit, schema.minor, schema.major, schema.points)
            sizes = [size for field in schema.fields for size in field.shape]
            if (
                not all(type(number) is int and number >= 0 for number in (*numbers, *sizes))
                or schema.unit < 1
            ):
                raise ValueError("a number in it is not whole")
            # Checked before numpy is asked: its names of types are a small language of their own.
            for field in schema.fields:
                if not (isinstance(field.name, str) and _KNOWN_TYPE.fullmatch(field.dtype)):
                    raise ValueError(f"{field.dtype!r} is no type of a column")
        except (KeyError, TypeError, ValueError) as error:
            raise ExchangeError(
                f"{place} holds no schema of rows ({type(error).__name__}: {error}). Was it edited by hand?"
            ) from None
        return schema

    @cached_property
    def text(self) -> str:
        """Canonical JSON: the same schema gives the same text."""
        return json.dumps(self.to_json(), sort_keys=True, separators=(",", ":"))

    @cached_property
    def fingerprint(self) -> str:
        return hashlib.sha256(self.text.encode()).hexdigest()

    def check_readable(self, other: "Schema", place: str) -> None:
        """Raise where rows written as `other` cannot be read as this schema."""
        for what in ("topic", "major", "unit", "points"):
            mine, theirs = getattr(self, what), getattr(other, what)
            if mine != theirs:
                raise ExchangeError(
                    f"{place} has {what} {theirs!r}, this process expects {mine!r}. "
                    f"Use the same settings and version in both roles, or start a new run."
                )
        known = {field.name: field for field in other.fields}
        for field in self.fields:
            if field.name in known and known[field.name] != field:
                raise ExchangeError(
                    f"{place} holds column {field.name!r} as {known[field.name].dtype}{known[field.name].shape}, "
                    f"this process expects {field.dtype}{field.shape}. Start a new run, or use the old settings."
                )


@dataclass(frozen=True)
class SourceColumns:
    """What one source says of each point beside where it is, how sure, and whether at all."""

    name: str
    adds: str = ""
    """One of ADDED: the rest of its column's name; "" adds nothing."""
    dtype: str = "uint8"
    shape: tuple[int, ...] = ()
    """Of what it adds, for one point."""
    states_error: bool = False
    """Whether the error in source pixels that the score stands for comes with it."""


ADDED = ("candidates", "patch", "feature")


class Added(NamedTuple):
    """What a source says more of each point of N rows."""

    kind: str
    """One of ADDED."""
    value_NK: NDArray[Any]
    """N K and whatever follows."""


def labels_schema(
    points: int,
    sources: Sequence[str | SourceColumns] = SOURCES,
    unit: int = 1,
) -> Schema:
    """teacher → student: where each source of the teacher sees each point, in source pixels.

    A patch comes with `cell`: source pixels per cell of it, along its columns and rows.
    """
    declared = [source if isinstance(source, SourceColumns) else SourceColumns(source) for source in sources]
    fields = [Field("box", "float32", (4,)), Field("fb_error", "float32", (points,))]
    for source in declared:
        fields += [
            Field(f"{source.name}_xy", "float32", (points, 2)),
            Field(f"{source.name}_score", "float32", (points,)),
            Field(f"{source.name}_valid", BITS, (points,)),
        ]
        if source.states_error:
            fields.append(Field(f"{source.name}_error", "float32", (points,)))
        if source.adds:
            fields.append(Field(f"{source.name}_{source.adds}", source.dtype, (points, *source.shape)))
    if any(source.adds == "patch" for source in declared):
        fields.append(Field("cell", "float32", (2, 2)))
    more = any(source.adds or source.states_error for source in declared)
    names = tuple(source.name for source in declared)
    return Schema("labels", tuple(fields), unit, int(more), points=points, sources=names)


def feedback_schema() -> Schema:
    """student → teacher: how much a frame or its video deserves to be labelled next."""
    return Schema("feedback", (Field("score", "float32"),))


@dataclass(frozen=True)
class LabelBatch:
    """N pseudo-labelled frames; K points; one array per source."""

    video: Strings
    frame_N: NDArray[np.int32]
    sample_id_N: NDArray[np.uint64]
    shard_N: NDArray[np.int32]
    index_N: NDArray[np.int32]
    box_N4: NDArray[np.float32]
    xy_NK2: Mapping[str, NDArray[Any]]
    score_NK: Mapping[str, NDArray[Any]]
    valid_NK: Mapping[str, NDArray[np.bool_]]
    fb_error_NK: NDArray[Any]
    error_NK: Mapping[str, NDArray[Any]] = default(default_factory=dict)
    """Source pixels, of the sources that state their errors."""
    more: Mapping[str, Added] = default(default_factory=dict)
    """What sources add, each its own."""
    cell_N22: NDArray[np.float32] | None = None
    """With patches: source pixels per cell of one, along its columns and rows."""

    def __len__(self) -> int:
        return len(self.frame_N)

    def columns(self) -> Columns:
        out = _identity_columns(self) | {"box": self.box_N4, "fb_error": self.fb_error_NK}
        for source in self.xy_NK2:
            out[f"{source}_xy"] = self.xy_NK2[source]
            out[f"{source}_score"] = self.score_NK[source]
            out[f"{source}_valid"] = self.valid_NK[source]
        out |= {f"{source}_error": error_NK for source, error_NK in self.error_NK.items()}
        out |= {f"{source}_{added.kind}": added.value_NK for source, added in self.more.items()}
        return out | ({} if self.cell_N22 is None else {"cell": self.cell_N22})

    @staticmethod
    def from_columns(columns: Mapping[str, Any], sources: Sequence[str]) -> "LabelBatch":
        return LabelBatch(
            columns["video"],
            columns["frame"],
            columns["sample_id"],
            columns["shard"],
            columns["index"],
            columns["box"],
            {source: columns[f"{source}_xy"] for source in sources},
            {source: columns[f"{source}_score"] for source in sources},
            {source: columns[f"{source}_valid"] for source in sources},
            columns["fb_error"],
            {source: columns[f"{source}_error"] for source in sources if f"{source}_error" in columns},
            {
                source: Added(kind, columns[name])
                for source in sources
                for kind in ADDED
                if (name := f"{source}_{kind}") in columns
            },
            columns.get("cell"),
        )


@dataclass(frozen=True)
class FeedbackBatch:
    """N frames with the score that the student gives them."""

    video: Strings
    frame_N: NDArray[np.int32]
    sample_id_N: NDArray[np.uint64]
    shard_N: NDArray[np.int32]
    index_N: NDArray[np.int32]
    score_N: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.frame_N)

    def columns(self) -> Columns:
        return _identity_columns(self) | {"score": self.score_N}

    @staticmethod
    def from_columns(columns: Mapping[str, Any]) -> "FeedbackBatch":
        return FeedbackBatch(
            columns["video"],
            columns["frame"],
            columns["sample_id"],
            columns["shard"],
            columns["index"],
            columns["score"],
        )


def check_columns(schema: Schema, columns: Columns) -> int:
    """The number of rows, or DataError where a column is missing, unknown or of the wrong shape."""
    fields = {field.name: field for field in schema.all_fields}
    if columns.keys() != fields.keys():
        odd = sorted(columns.keys() ^ fields.keys())
        raise DataError(f"Columns {odd} are missing or unknown; topic {schema.topic!r} has {sorted(fields)}.")
    rows = len(columns["frame"])
    for name, field in fields.items():
        column = columns[name]
        shape = (len(column),) if isinstance(column, Strings) else column.shape
        if shape != (rows, *field.shape):
            raise DataError(f"Column {name!r} has shape {shape}, it must be {(rows, *field.shape)}.")
    return rows


def join_columns(parts: Sequence[Columns]) -> Columns:
    """The rows of all parts in their order."""
    out: Columns = {}
    for name in parts[0]:
        pieces = [part[name] for part in parts]
        texts = [piece for piece in pieces if isinstance(piece, Strings)]
        if texts:
            out[name] = _join_strings(texts)
        else:
            out[name] = np.concatenate([piece for piece in pieces if not isinstance(piece, Strings)])
    return out


def slice_columns(columns: Columns, rows: slice) -> Columns:
    return {name: column[rows] for name, column in columns.items()}


def _join_strings(parts: Sequence[Strings]) -> Strings:
    names = tuple(dict.fromkeys(name for part in parts for name in part.names))
    place = {name: code for code, name in enumerate(names)}
    tables = [np.array([place[name] for name in part.names], np.int32) for part in parts]
    return Strings(
        np.concatenate([table[part.codes] for table, part in zip(tables, parts, strict=True)]), names
    )


def _identity_columns(batch: LabelBatch | FeedbackBatch) -> Columns:
    return {
        "video": batch.video,
        "frame": batch.frame_N,
        "sample_id": batch.sample_id_N,
        "shard": batch.shard_N,
        "index": batch.index_N,
    }
