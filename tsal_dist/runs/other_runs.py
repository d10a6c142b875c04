"""Labels at second hand: a student that learns what the teacher of another run has said, and has none of its own.

replay    by the other run's own plans, row for row: the same weights come out, to the bit on a CPU
offline   from its label log, or from those of several runs, as from a data set: in an order of one's own, and however
          old the labels are

The other run is only read. Its labels name frames by their place in the shards, so the shards must be the same.
"""

from pathlib import Path

from tsal_dist.config import RunConfig
from tsal_dist.data.shard_set import ShardSet
from tsal_dist.errors import ConfigError
from tsal_dist.exchange.posix import PosixStore
from tsal_dist.exchange.store import Store
from tsal_dist.pseudo.borrowed import BorrowedStore
from tsal_dist.pseudo.schema import Schema
from tsal_dist.pseudo.step_plan import load_plans
from tsal_dist.pseudo.topic import Topic, inspect_topic, open_topic
from tsal_dist.run import Run, differences, load_run, run_folder


def check_sources(config: RunConfig, students: int) -> None:
    """Raise where another run cannot be learnt from as asked; before anything of this one is opened or deleted."""
    mine = run_folder(config).resolve()
    for source in _sources(config):
        if mine == source.resolve():
            raise ConfigError(
                f"{source} is the run to learn from and cannot be trained over. Choose another place (run.dir=...)."
            )
        if not load_run(source).config.uses_clips:
            raise ConfigError(f"{source} was trained without a teacher, so it holds no labels.")
    if config.runtime.replay:
        _check_replay(config, load_run(config.runtime.replay), students)


def planned_by(config: RunConfig) -> RunConfig:
    """The config of the run that drew up the plans: this one, unless it is a replay."""
    return planned_by(load_run(config.runtime.replay).config) if config.runtime.replay else config


def open_replay(config: RunConfig, schema: Schema, clips: ShardSet) -> Topic:
    """The topic that the replayed run was trained from."""
    other = load_run(config.runtime.replay)
    _check_labels(other, schema, clips)
    return _topic_of(other)


def open_offline(config: RunConfig, run: Run, schema: Schema, clips: ShardSet) -> Topic:
    """The logs of the other runs as a topic of this one."""
    lent: list[Store] = []
    for source in _sources(config):
        other = load_run(source)
        _check_labels(other, schema, clips)
        lent += _stores_of(other)
    own = PosixStore(run.dir.queue("labels"), create=True)
    return open_topic(BorrowedStore(own, lent), schema, run.id, clips=clips.fingerprint)


def _sources(config: RunConfig) -> list[Path]:
    replay = (config.runtime.replay,) if config.runtime.replay else ()
    return [Path(source) for source in (*replay, *config.runtime.offline)]


def _check_replay(config: RunConfig, other: Run, students: int) -> None:
    """Raise where the weights could not come out the same."""
    mine = config.model_dump(mode="json")
    mine["runtime"] |= {"replay": other.config.runtime.replay, "offline": list(other.config.runtime.offline)}
    for key, theirs, ours in differences(other.config.model_dump(mode="json"), mine):
        raise ConfigError(
            f"{other.dir.root} was trained with {key} = {theirs!r}, and the replay has {ours!r}. Leave --config and "
            f"this setting away: a replay takes them from the run."
        )
    path = other.dir.metrics("plan")
    if not path.is_file():
        raise ConfigError(
            f"{path} is missing, so the run cannot be replayed: it says what each step was trained on."
        )
    plans = load_plans(path)
    last = plans[-1].step if plans else -1
    if last < config.train.steps - 1:
        raise ConfigError(
            f"The plan log of {other.dir.root} ends at step {last}, and training has {config.train.steps} steps. Let "
            f"that run end first (--resume)."
        )
    ranks = len(plans[-1].ranks)
    if ranks != students:
        raise ConfigError(
            f"{other.dir.root} was trained by {ranks} student processes and is replayed by {students}. Start {ranks}: "
            f"the order of sums is part of the weights."
        )


def _topic_of(run: Run) -> Topic:
    """Where a run's labels lie: with its teacher, or with the run whose labels it was given."""
    if run.config.runtime.replay:
        return _topic_of(load_run(run.config.runtime.replay))
    own = PosixStore(run.dir.queue("labels"))
    return inspect_topic(BorrowedStore(own, _stores_of(run)) if run.config.runtime.offline else own)


def _stores_of(run: Run) -> list[Store]:
    """Where the labels that a run was given were written, by whatever way they came to it. One by one: a store of stores
    has numbered its producers already, and numbered once more those of two runs would have one name."""
    if run.config.runtime.replay:
        return _stores_of(load_run(run.config.runtime.replay))
    lent = [store for source in run.config.runtime.offline for store in _stores_of(load_run(source))]
    return lent or [PosixStore(run.dir.queue("labels"))]


def _check_labels(other: Run, schema: Schema, clips: ShardSet) -> None:
    """Raise where the labels of `other` are not about these clips, or not what this recipe reads."""
    topic = _topic_of(other)
    schema.check_readable(topic.schema, topic.store.where())
    missing = sorted(set(schema.sources) - set(topic.schema.sources))
    if missing:
        raise ConfigError(
            f"The labels of {other.dir.root} have the sources {list(topic.schema.sources)}, and this recipe also reads "
            f"{missing}. Choose a method that reads what is there (method.name=..., method.use=...)."
        )
    there = {field.name for field in topic.schema.fields}
    lacking = [field.name for field in schema.fields if field.name not in there]
    if lacking:
        raise ConfigError(
            f"The labels of {other.dir.root} lack the columns {lacking}, which this method reads. Choose the method they "
            f"were made for ({other.config.method.name}), or make new ones."
        )
    if topic.clips != clips.fingerprint:
        raise ConfigError(
            f"The labels of {other.dir.root} are about the clips of {list(other.config.data.unlabelled)} as they were "
            f"then, which are not those of data.unlabelled. Name the same shards in the same order."
        )
