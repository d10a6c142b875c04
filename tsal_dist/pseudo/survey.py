"""A topic looked at from outside, while a run goes on or long after: what is in it, and whether it is whole."""

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tsal_dist.errors import ExchangeError
from tsal_dist.exchange.store import NameAbsent
from tsal_dist.pseudo.admission import inspect_segment
from tsal_dist.pseudo.collect import list_segments, load_watermark
from tsal_dist.pseudo.cursor import load_cursors
from tsal_dist.pseudo.log import Hole, Kind, Record, read_log
from tsal_dist.pseudo.topic import Topic, list_producers, read_meta

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ProducerSurvey:
    """One producer's log, summed up."""

    name: str
    host: str = ""
    pid: int = 0
    segments: int = 0
    rows: int = 0
    bytes: int = 0
    first_step: int = 0
    last_step: int = 0
    last_t_ns: int = 0
    sealed: bool = False
    holes: int = 0
    collected: int = 0
    fault: str = ""
    """Why it cannot be read; the numbers are zeros then."""


@dataclass(frozen=True)
class Finding:
    """Something that is not as it should be. `harm` says whether rows are lost by it."""

    place: str
    what: str
    harm: bool


def survey_producers(topic: Topic) -> list[ProducerSurvey]:
    watermark = load_watermark(topic.store)
    found = []
    for name in list_producers(topic.store):
        try:
            meta, records = read_meta(topic, name), list(read_log(topic.store, name))
        except ExchangeError as error:
            found.append(ProducerSurvey(name, collected=watermark.get(name, 0), fault=str(error)))
            continue
        data = [record for record in records if isinstance(record, Record) and record.kind is Kind.DATA]
        found.append(
            ProducerSurvey(
                name,
                str(meta.get("host", "")),
                int(meta.get("pid", 0)),
                len(data),
                sum(record.rows for record in data),
                sum(record.size for record in data),
                min((record.step for record in data), default=0),
                max((record.step for record in data), default=0),
                max((record.t_ns for record in data), default=0),
                any(isinstance(record, Record) and record.kind is Kind.SEAL for record in records),
                sum(isinstance(record, Hole) for record in records),
                watermark.get(name, 0),
            )
        )
    return found


def survey_groups(topic: Topic) -> dict[str, dict[str, Any]]:
    """Per consumer group its step, its backlog in rows and the segments it holds back from collection."""
    rows = {each.name: each for each in survey_producers(topic)}
    return {
        group: {
            "step": cursor.step,
            "backlog_rows": {
                name: rows[name].rows - trained for name, trained in cursor.trained.items() if name in rows
            },
            "floor": dict(cursor.floor),
        }
        for group, cursor in load_cursors(topic.store).items()
    }


def lint_topic(topic: Topic) -> Iterator[Finding]:
    """Read everything and check it: schemas, logs, segments, orphans. Slow by design."""
    watermark = load_watermark(topic.store)
    for name in list_producers(topic.store):
        try:
            read_meta(topic, name)  # a stranger is refused
        except NameAbsent:
            yield Finding(name, "META.json is missing: the producer died while it was born", False)
            continue
        except ExchangeError as error:
            yield Finding(name, f"it is not read: {error}", True)
            continue
        try:
            yield from _lint_producer(topic, name, watermark.get(name, 0))
        except ExchangeError as error:
            yield Finding(name, f"it cannot be read: {error}", True)
    for reason in topic.store.children("quarantine"):
        if reason.endswith(".json"):
            yield Finding(reason.removesuffix(".json"), "in quarantine", True)


def _lint_producer(topic: Topic, name: str, first_live: int) -> Iterator[Finding]:
    committed = set()
    rows = 0
    for record in read_log(topic.store, name):
        if isinstance(record, Hole):
            yield Finding(f"{name} record {record.seq}", "the log record is damaged", True)
            continue
        if record.first_row != rows:
            yield Finding(f"{name} record {record.seq}", f"rows {rows} to {record.first_row} are lost", True)
        rows = record.first_row + record.rows
        if record.kind is Kind.SEAL:
            continue
        committed.add(record.seq)
        if record.seq >= first_live and (fault := inspect_segment(topic, name, record).fault):
            yield Finding(f"{name} segment {record.seq}", fault, True)
    for seq in list_segments(topic.store, name):
        if seq not in committed:
            yield Finding(f"{name} segment {seq}", "an orphan: written, never committed", False)
        elif seq < first_live:
            yield Finding(f"{name} segment {seq}", "collected by record, still on disk", False)


def living_segments(topic: Topic) -> Iterator[tuple[str, Record]]:
    """Every committed segment that was not collected, in order per producer."""
    watermark = load_watermark(topic.store)
    for name in list_producers(topic.store):
        try:
            read_meta(topic, name)  # a stranger is refused
            records = list(read_log(topic.store, name))
        except ExchangeError as error:
            log.warning("%s is left out, it is not read: %s", name, error)
            continue
        for record in records:
            if (
                isinstance(record, Record)
                and record.kind is Kind.DATA
                and record.seq >= watermark.get(name, 0)
            ):
                yield name, record
