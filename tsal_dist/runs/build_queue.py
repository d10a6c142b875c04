"""From a config to a topic of the run's own queue, and to a rank that writes there."""

from tsal_dist.config import RunConfig
from tsal_dist.data.shard_set import ShardSet
from tsal_dist.exchange.posix import PosixStore
from tsal_dist.exchange.room import when_there_is_room
from tsal_dist.pseudo.credits import Credits
from tsal_dist.pseudo.producer import Producer
from tsal_dist.pseudo.schema import Schema
from tsal_dist.pseudo.topic import Topic, open_topic, producer_name
from tsal_dist.run import Run


def open_own_topic(config: RunConfig, run: Run, name: str, schema: Schema, clips: ShardSet) -> Topic:
    """Both roles open it: whoever comes first makes it."""
    store = PosixStore(run.dir.queue(name), create=True)
    return when_there_is_room(
        lambda: open_topic(store, schema, run.id, clips=clips.fingerprint), config.runtime.deadlines
    )


def build_producer(
    config: RunConfig,
    topic: Topic,
    role: str,
    rank: int,
    incarnation: int,
    reader: str | None,
) -> Producer:
    """`reader` is the group that it does not run ahead of; without one it writes as fast as it is asked to."""
    queue, limits = config.runtime.queue, config.runtime.deadlines
    credits = None
    if reader:
        name = producer_name(role, rank, incarnation)
        credits = Credits(
            topic.store, name, [reader], queue.high_water_rows, queue.low_water_rows, limits.silent_s
        )
    return when_there_is_room(
        lambda: Producer(
            topic,
            role,
            rank,
            incarnation,
            max_rows=queue.segment_rows,
            max_age_s=queue.segment_age_s,
            credits=credits,
        ),
        limits,
    )
