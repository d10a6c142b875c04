"""From a config to the two ends of the feedback topic. Without a share of labels to steer there is none."""

from tsal_dist.config import RunConfig
from tsal_dist.data.crop import ViewSettings
from tsal_dist.data.shard_set import ShardSet
from tsal_dist.data.stream import ClipStream
from tsal_dist.pseudo.consumer import Consumer
from tsal_dist.pseudo.planner import Planner
from tsal_dist.pseudo.schema import feedback_schema
from tsal_dist.pseudo.staleness import Staleness
from tsal_dist.recipes.api import Choose
from tsal_dist.roles.feedback import GROUP, Notes, WishedClips, Wishes
from tsal_dist.run import Run
from tsal_dist.runs.build_queue import build_producer, open_own_topic
from tsal_dist.runs.build_streams import clip_readers


def build_notes(
    config: RunConfig, run: Run, clips: ShardSet | None, role: str, rank: int, incarnation: int
) -> Notes | None:
    """A student rank's end; `role` is what its incarnation was claimed for."""
    if clips is None or not config.has_teacher or not config.train.priority:
        return None
    topic = open_own_topic(config, run, "feedback", feedback_schema(), clips)
    producer = build_producer(config, topic, role, rank, incarnation, GROUP)
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
    topic = open_own_topic(config, run, "feedback", feedback_schema(), clips)
    reader, consumer = None, None
    if rank == 0:
        # In turns nothing may depend on a clock; else a listing now and then is enough.
        pause_s = 0.0 if config.takes_turns else config.runtime.deadlines.poll_s
        no_bound = Staleness(alpha=1.0)
        reader = Planner(topic, GROUP, no_bound, discover_s=pause_s, cursor_s=pause_s)
        consumer = Consumer(topic, 0, no_bound)
    most = round(config.train.priority * batch)
    pool = clip_readers(config, clips, view, most)
    return WishedClips(usual, pool, Wishes(reader, consumer, rank, world, choose), batch=batch, most=most)
