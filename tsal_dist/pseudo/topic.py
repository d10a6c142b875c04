"""A topic on a store: its QUEUE.json, the names below it, and who may take part.

QUEUE.json is created once and says whose queue this is. Opening refuses another run's queue, another major version and
a schema that cannot be read, so that no later step has to wonder.
"""

import json
import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tsal_dist.errors import ConfigError, ExchangeError, StaleRun
from tsal_dist.exchange.store import NameAbsent, NameTaken, Store
from tsal_dist.json_object import read_sealed
from tsal_dist.pseudo.schema import Schema
from tsal_dist.run_dir import CREW

PROTOCOL = 1
QUEUE = "QUEUE.json"
BLOCK = 1024
"""Segments per folder; filesystems dislike folders of a million files."""
PRODUCER = re.compile(rf"(?P<role>[a-z]+(-{CREW})?)-r(?P<rank>\d{{4,}})-(?P<incarnation>\d{{6,}})")


@dataclass(frozen=True)
class Topic:
    """An open topic. `schema` is how this process writes or reads rows."""

    store: Store
    schema: Schema
    uuid: str
    run_id: str
    clips: str = ""
    """Fingerprint of the shards that rows name their frames in; "" where rows stand for themselves."""


def open_topic(store: Store, schema: Schema, run_id: str, *, clips: str = "") -> Topic:
    """Open the topic on `store`, which is made where it does not exist yet.

    `clips` is the fingerprint of the shards that this process reads. A row names a frame by its place in them, so a
    queue about others is refused: every label would be right, and on the wrong frame.
    """
    if not _is_there(store):  # looked for first: what is there can be opened on a full disk
        identity = uuid.uuid4().hex
        fresh = {
            "protocol": PROTOCOL,
            "uuid": identity,
            "run_id": run_id,
            "clips": clips,
            "schema": schema.to_json(),
            "fingerprint": schema.fingerprint,
        }
        if _create(store, json.dumps(fresh, indent=1).encode()):
            return Topic(store, schema, identity, run_id, clips)
    text = _read_queue_file(store)
    if text["run_id"] != run_id:
        raise StaleRun(
            f"{store.where(QUEUE)} belongs to run {text['run_id']}, this process to run {run_id}. "
            f"Give each run its own directory."
        )
    require_same_clips(text, clips, store.where(QUEUE))
    schema.check_readable(Schema.parse(text["schema"], store.where(QUEUE)), store.where(QUEUE))
    return Topic(store, schema, text["uuid"], run_id, clips)


def inspect_topic(store: Store) -> Topic:
    """Open whatever topic lies on `store` with its own schema: for tools, which belong to no run."""
    text = _read_queue_file(store)
    schema = Schema.parse(text["schema"], store.where(QUEUE))
    return Topic(store, schema, text["uuid"], text["run_id"], str(text.get("clips", "")))


def require_same_clips(text: Mapping[str, Any], clips: str, place: str) -> None:
    """Raise StaleRun where QUEUE.json or META.json names other shards than those with the fingerprint `clips`."""
    theirs = text.get("clips", "")
    if theirs != clips:
        raise StaleRun(
            f"{place} is about the clips of shards {str(theirs)[:12] or 'that it does not name'}, and this process "
            f"reads {clips[:12] or 'none'}: its labels would lie on other frames. Give every host the same shards "
            f"under data.unlabelled, or start a new run."
        )


def require_own(topic: Topic, meta: Mapping[str, Any], producer: str) -> None:
    """Raise ExchangeError, or StaleRun where it is about other shards, for the META.json of a producer that this topic's
    readers cannot take rows from."""
    if (meta.get("queue"), meta.get("run_id")) != (topic.uuid, topic.run_id):
        raise ExchangeError(f"It writes for run {meta.get('run_id')!r}, queue {meta.get('queue')!r}.")
    require_same_clips(meta, topic.clips, topic.store.where(meta_name(producer)))
    topic.schema.check_readable(Schema.parse(meta.get("schema"), producer), producer)


def producer_name(role: str, rank: int, incarnation: int) -> str:
    name = f"{role}-r{rank:04d}-{incarnation:06d}"
    split_producer(name)
    return name


def split_producer(name: str) -> tuple[str, int, int]:
    """Role (with its crew, where that has a name), rank and incarnation."""
    match = PRODUCER.fullmatch(name)
    if match is None:
        raise ConfigError(
            f"{name!r} is no name of a producer; it must be <role>-r<rank>-<incarnation>, "
            f"the role in small letters, and -<crew> behind it where there are several of it."
        )
    return match["role"], int(match["rank"]), int(match["incarnation"])


def segment_name(producer: str, seq: int) -> str:
    return f"p/{producer}/d/{seq // BLOCK:06d}/{seq:012d}.parquet"


def meta_name(producer: str) -> str:
    return f"p/{producer}/META.json"


def quarantine_name(producer: str, seq: int) -> str:
    return f"quarantine/{producer}.{seq:012d}.parquet"


def list_producers(store: Store) -> list[str]:
    return [name for name in store.children("p") if PRODUCER.fullmatch(name)]


def read_meta(topic: Topic, producer: str) -> dict[str, Any]:
    """META.json of a producer of this topic; NameAbsent while it is still being born, ExchangeError where it is another's."""
    meta = parse_json(topic.store, meta_name(producer))
    require_own(topic, meta, producer)
    return meta


def parse_json(store: Store, name: str) -> dict[str, Any]:
    """A small file of the queue; {} for one that exists by name alone."""
    return parse_text(store.get(name), store.where(name))


def parse_text(text: bytes, place: str) -> dict[str, Any]:
    """What such a file says. Apart from reading it: a read may fail today and succeed tomorrow, bad text stays bad."""
    try:
        return read_sealed(text or b"{}")
    except ValueError as error:
        raise ExchangeError(
            f"{place} is not JSON of one object ({error}); delete it if you know why."
        ) from error


def _is_there(store: Store) -> bool:
    try:
        store.get(QUEUE, 0, 1)
    except NameAbsent:
        return False
    return True


def _create(store: Store, data: bytes) -> bool:
    try:
        store.put_new(QUEUE, data)
    except NameTaken:
        return False
    try:
        store.put_new(QUEUE, data)
    except NameTaken:
        return True
    raise ExchangeError(
        f"{store.where()} let the same name be created twice, so it cannot keep two processes apart. "
        f"Use a store with conditional puts (If-None-Match) or a POSIX filesystem."
    )


def _read_queue_file(store: Store) -> dict[str, Any]:
    try:
        text = parse_json(store, QUEUE)
    except NameAbsent:
        raise ConfigError(f"{store.where()} holds no queue: {QUEUE} is missing. Check the path.") from None
    if text.get("protocol") != PROTOCOL:
        raise ExchangeError(
            f"{store.where(QUEUE)} speaks protocol {text.get('protocol')!r}, this version speaks {PROTOCOL}. "
            f"Use the version of tsal_dist that made it."
        )
    lacking = [name for name in ("uuid", "run_id", "schema") if name not in text]
    if lacking:
        raise ExchangeError(
            f"{store.where(QUEUE)} lacks {lacking[0]!r}: it was edited. Restore it, or start a new run."
        )
    return text
