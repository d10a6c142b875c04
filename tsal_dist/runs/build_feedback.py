"""From a config to the two ends of the feedback topic. Without a share of labels to steer there is none."""

from tsal_dist.config import RunConfig
from tsal_dist.data.crop import ViewSettings
from tsal_dist.data.reader import build_reader_pool
from tsal_dist.data.request import ReadAhead
from tsal_dist.data.shard_set import ShardSet
from tsal_dist.data.stream import ClipStream
from tsal_dist.exchange.posix import PosixStore
from tsal_dist.exchange.room import when_there_is_room
from tsal_dist.pseudo.consumer import Consumer
from tsal_dist.pseudo.credits import Credits
from tsal_dist.pseudo.planner import Planner
from tsal_dist.pseudo.producer import Producer
from tsal_dist.pseudo.schema import feedback_schema
from tsal_dist.pseudo.staleness import Staleness
from tsal_dist.pseudo.topic import Topic, open_topic, producer_name
from tsal_dist.recipes.api import Choose
from tsal_dist.roles.feedback import GROUP, Notes, WishedClips, Wishes
from tsal_dist.run import Run


def build_notes(
    config: RunConfig, run: Run, clips: ShardSet | None, role: str, rank: int, incarnation: int
) -> Notes | None:
    """A student rank's end; `role` is what its incarnation was claimed for."""
    if clips is None or not config.has_teacher or not config.train.priority:
        return None
    topic, queue, limits = _topic(config, run, clips), config.runtime.queue, config.runtime.deadlines
    name = producer_name(role, rank, incarnation)
    credits = Credits(
        topic.store, name, [GROUP], queue.high_water_rows, queue.low_water_rows, limits.silent_s
    )
    producer = when_there_is_room(
        lambda: Producer(topic, role, rank, incarnation, max_rows=queue.segment_rows, credits=credits), limits
    )
    return Notes(producer, config.data.clip_frames)


def build_wished_clips(
    config: RunConfig,
    run: Run,
    clips: ShardSet,
    view: ViewSettings,
    usual: ClipStream,
    batch: int,
    rank: int,
    world: int,
    choose: Choose,
) -> WishedClips:
    """A teacher rank's end, around the stream of the usual order, which gives one clip at a time."""
    data, topic = config.data, _topic(config, run, clips)
    reader, consumer = None, None
    if rank == 0:
        # In turns nothing may depend on a clock; else a listing now and then is enough.
        pause_s = 0.0 if config.takes_turns else config.runtime.deadlines.poll_s
        no_bound = Staleness(alpha=1.0)
        reader = Planner(topic, GROUP, no_bound, discover_s=pause_s, cursor_s=pause_s)
        consumer = Consumer(topic, 0, no_bound)
    most = round(config.train.priority * batch)
    pool = build_reader_pool(
        clips,
        view,
        ReadAhead(data.workers, deadline_s=config.runtime.deadlines.silent_s),
        max(1, most),
        data.clip_frames,
    )
    return WishedClips(usual, pool, Wishes(reader, consumer, rank, world, choose), batch=batch, most=most)


def _topic(config: RunConfig, run: Run, clips: ShardSet) -> Topic:
    store = PosixStore(run.dir.queue("feedback"), create=True)
    return when_there_is_room(
        lambda: open_topic(store, feedback_schema(), run.id, clips=clips.fingerprint, create=True),
        config.runtime.deadlines,
    )
