"""From a config to the parts of one rank: the only place that knows which settings each part takes."""

from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import nn

from tsal_dist.config import RunConfig
from tsal_dist.config.method import ALONE, MethodConfig
from tsal_dist.config.model import ModelConfig
from tsal_dist.data.crop import ViewSettings
from tsal_dist.data.shard_set import ShardSet, refuse_other_names
from tsal_dist.data.stream import ClipStream
from tsal_dist.engine.api import Engine
from tsal_dist.engine.choose import build_engine
from tsal_dist.errors import ConfigError
from tsal_dist.exchange.tenure import Tenure
from tsal_dist.inference.trained import load_trained, load_weights
from tsal_dist.metrics.gate import ReadinessGate
from tsal_dist.metrics.gauge import CollapseGauge
from tsal_dist.models.companions import Fitting
from tsal_dist.models.detectors import find_stride
from tsal_dist.observe.profiler import StepProfiler
from tsal_dist.pseudo.consumer import Consumer
from tsal_dist.pseudo.plan_source import PlanSource
from tsal_dist.pseudo.planner import Planner
from tsal_dist.pseudo.schema import Schema, SourceColumns, labels_schema
from tsal_dist.pseudo.staleness import Staleness
from tsal_dist.pseudo.step_plan import PlanLog
from tsal_dist.pseudo.topic import Topic
from tsal_dist.recipes.api import Choose, Recipe, Source, Task
from tsal_dist.recipes.averaging import StepAverage
from tsal_dist.recipes.find import find_method
from tsal_dist.roles.feedback import Notes, WishedClips
from tsal_dist.roles.flow_training import FlowTrainer
from tsal_dist.roles.label_feed import LabelFeed
from tsal_dist.roles.label_usage import LabelUsage
from tsal_dist.roles.replay import Replay
from tsal_dist.roles.score_meter import ScoreMeter
from tsal_dist.roles.student import Student
from tsal_dist.roles.teacher import Teacher
from tsal_dist.run import Run
from tsal_dist.run_dir import role_in_files
from tsal_dist.runs.build_feedback import build_wished_clips
from tsal_dist.runs.build_nets import build_member, build_student_net
from tsal_dist.runs.build_queue import build_producer, open_own_topic
from tsal_dist.runs.build_staleness import build_staleness, require_young_labels
from tsal_dist.runs.build_streams import (
    STUDENT_LABELS,
    TEACHER_CLIPS,
    TEACHER_LABELS,
    TEACHER_STUDY,
    RoleRank,
    clip_readers,
    clip_stream,
    labelled_stream,
    mirror,
    training_view,
)
from tsal_dist.runs.first_weights import first_weights
from tsal_dist.runs.labelled_points import learn_fitting, read_labelled_points
from tsal_dist.runs.open_data import Shards
from tsal_dist.runs.other_runs import open_offline, open_replay
from tsal_dist.trackers.choose import build_tracker

GROUP = "student"


def settle_method(config: RunConfig) -> RunConfig:
    """The same run with every setting of its method written out: what run.json keeps does not change with a default."""
    settings = find_method(config.method.name).read(config.method.settings)
    written = {"name": config.method.name} | settings.model_dump(mode="json")
    return config.model_copy(update={"method": MethodConfig.model_validate(written)})


def build_recipe(config: RunConfig, task: Task) -> Recipe:
    """The method's parts, made anew: what they remember is one role's.

    Without a use for clips they are those of labels alone: neither a twin nor what happens around a step may be left over.
    """
    method = config.method if config.uses_clips else MethodConfig(name=ALONE)
    return find_method(method.name).build(method.settings, task)


def build_task(config: RunConfig, labelled: ShardSet | None = None) -> Task:
    """`labelled` tells what labels show; without it nothing is known of that."""
    model = config.model
    placed_MK = read_labelled_points(config, labelled)[1] if labelled else ()
    return Task(
        points=model.num_points,
        crop_px=model.crop_px,
        stride=find_stride(model.detector, model.num_points),
        radius=model.decode_radius,
        sigma_px=config.train.loss.sigma_px,
        clip_frames=config.data.clip_frames,
        load_net=partial(_load_net, model),
        max_fb_error_px=model.tracker.max_fb_error_px,
        average=config.train.average,
        teaches_absent=config.train.loss.absent,
        absent=tuple((1 - np.mean(placed_MK, 0)).tolist()) if len(placed_MK) else (),
        mirror_K=mirror(config),
    )


def _load_net(model: ModelConfig, place: str) -> nn.Module:
    """A trained detector that is brought along. ConfigError where it sees other landmarks than this run's `model`."""
    trained = load_trained(place, "student") if Path(place).is_dir() else load_weights(place)
    theirs = trained.config.model
    if theirs.num_points != model.num_points:
        raise ConfigError(
            f"The detector of {place} sees {theirs.num_points} landmarks and model.num_points is {model.num_points}: it cannot "
            f"teach these. Name one of the same landmarks (method.teacher), or data with {theirs.num_points}."
        )
    refuse_other_names(
        "model.layout.names", model.layout.names, f"the detector of {place}", theirs.layout.names
    )
    return trained.model


def build_fitting(config: RunConfig, recipe: Recipe, labelled: ShardSet) -> Fitting | None:
    """What the labels say of points beside each other, if a source asks for it."""
    if not any(source.reading == "companions" for source in recipe.sources):
        return None
    return learn_fitting(config, labelled)


def _first_weights(config: RunConfig, run: Run, role: str) -> str:
    return first_weights(config.model, run.dir.checkpoints(role), forked=run.origin is not None)


def build_student(
    config: RunConfig, run: Run, shards: Shards, role_rank: RoleRank, notes: Notes | None, incarnation: int
) -> Student:
    """One student rank; `incarnation` goes into the plan log."""
    task = build_task(config, shards.labelled)
    recipe = build_recipe(config, task)
    feed, planner, usage = None, None, None
    if config.uses_clips and shards.unlabelled:
        staleness = build_staleness(config, recipe)
        if not run.resumed:
            require_young_labels(config, staleness)
        topic = _topic_to_read(config, run, recipe, shards.unlabelled)
        planner = _planner(config, run, topic, staleness, incarnation) if role_rank.rank == 0 else None
        # What the planner has read and verified in this process is not read again.
        read = planner.take_verified if planner else None
        consumer = Consumer(topic, role_rank.rank, staleness, verified=read)
        feed = _feed(config, consumer, recipe, shards, role_rank)
        usage = LabelUsage(staleness) if planner else None
    net = build_student_net(config, recipe, _first_weights(config, run, "student"))
    engine = build_engine(
        net, config.runtime.student, config.train.optim, config.train.steps, role_rank.device
    )
    watched = config.runtime.log.profile if role_rank.rank == 0 else 0
    return Student(
        config=config,
        profiler=StepProfiler(run.dir.profile, "student-0", watched),
        recipe=recipe,
        rank=role_rank.rank,
        world=role_rank.world,
        engine=engine,
        task=task,
        stream=labelled_stream(config, shards.labelled, role_rank, STUDENT_LABELS),
        average=_average(config, recipe, engine),
        gauge=CollapseGauge(),
        feed=feed,
        planner=planner,
        usage=usage,
        notes=notes,
        ahead=1 if config.data.workers and not config.takes_turns else 0,
    )


def keeps_average(config: RunConfig) -> bool:
    """Whether there is an average beside the student; in ZeRO stage 3, which keeps weights in pieces, there can be none."""
    student = config.runtime.student
    return config.train.average > 0 and not (student.kind == "deepspeed" and student.zero_stage == 3)


def _average(config: RunConfig, recipe: Recipe, engine: Engine) -> StepAverage | None:
    if keeps_average(config):
        return StepAverage(engine.model, config.train.average)
    if recipe.publishes == "average" and config.uses_clips:
        raise ConfigError(
            f"The method {config.method.name!r} publishes the student's average, and none is kept: train.average is "
            f"{config.train.average:g}, runtime.student.zero_stage {config.runtime.student.zero_stage}. Set an average "
            f"such as 0.99, and a stage of 0, 1 or 2."
        )
    return None


def build_teacher(
    config: RunConfig,
    run: Run,
    shards: Shards,
    role_rank: RoleRank,
    tenure: Tenure,
    clips_per_cycle: int,
    limited: bool,
) -> Teacher:
    """One teacher rank. Not `limited`, it labels as often as it is asked: inline asks for just enough."""
    task = build_task(config, shards.labelled)
    recipe = build_recipe(config, task)
    assert shards.unlabelled is not None, "a method with a teacher has clips to label"
    data = config.data
    topic = _labels_topic(config, run, recipe, shards.unlabelled)
    name, reader = role_in_files("teacher", role_rank.crew), GROUP if limited else None
    weights = _first_weights(config, run, name)
    panel = {key: build_member(config, member, weights) for key, member in recipe.panel.items()}
    engine = _teacher_engine(config, recipe, next(iter(panel.values())), role_rank.device)
    tracker = build_tracker(config.model.tracker.kind, config.model.tracker.threads)
    flow = None
    if isinstance(tracker, nn.Module):
        tracker.to(role_rank.device)
        flow = FlowTrainer(tracker, config.model.tracker.lr, task.stride, role_rank.world)
    fitting = build_fitting(config, recipe, shards.labelled)
    # How points lie to each other is known of plain crops: in a turned one the side view's paw is not above the other's.
    augment = None if fitting else data.easy
    easy = replace(training_view(config, augment), labels=False, points=config.model.num_points)
    return Teacher(
        config=config,
        recipe=recipe,
        rank=role_rank.rank,
        world=role_rank.world,
        engine=engine,
        task=task,
        tracker=tracker,
        flow=flow,
        fitting=fitting,
        scores=ScoreMeter(task) if any(source.states_error for source in recipe.sources) else None,
        panel={
            name: engine.model if place == 0 else net.to(role_rank.device)
            for place, (name, net) in enumerate(panel.items())
        },
        labelled=labelled_stream(config, shards.labelled, role_rank, TEACHER_LABELS),
        study=clip_stream(
            config,
            shards.unlabelled,
            easy,
            role_rank,
            TEACHER_STUDY,
            max(1, config.train.unlabelled_batch // data.clip_frames),
        ),
        clips=_clips_to_label(
            config, run, shards.unlabelled, easy, role_rank, clips_per_cycle, recipe.choose
        ),
        producer=build_producer(config, topic, name, role_rank.rank, tenure.incarnation, reader),
        gate=ReadinessGate(config.train.gate.slack),
    )


def _teacher_engine(config: RunConfig, recipe: Recipe, net: nn.Module, device: torch.device) -> Engine:
    """Its schedule is that of the steps it takes by itself, if it takes any: after each version from beyond burn-in."""
    optim, steps, lr_share = config.train.optim, 0, 1.0
    if recipe.learn:
        steps, lr_share = recipe.learn.steps, recipe.learn.lr_share
    own = optim.model_copy(update={"lr": optim.lr * lr_share, "warmup_steps": min(optim.warmup_steps, 10)})
    every, train = config.runtime.weights.publish_every, config.train
    versions = train.steps // every - train.burn_in_steps // every
    return build_engine(net, config.runtime.teacher, own, max(1, versions * steps), device)


def _planner(config: RunConfig, run: Run, topic: Topic, staleness: Staleness, incarnation: int) -> PlanSource:
    queue = config.runtime.queue
    keep_bytes = int(queue.keep_gb * 1e9) if queue.collect else None
    plan_log = PlanLog(run.dir.metrics("plan"), incarnation, keep_bytes)
    if config.runtime.replay:
        return Replay(topic, Path(config.runtime.replay), plan_log)
    return Planner(
        topic,
        GROUP,
        staleness,
        max_reuse=queue.max_reuse if queue.on_starvation == "reuse" else 1,
        pool_rows=queue.high_water_rows,
        seed=config.train.seed,
        plan_log=plan_log,
        # In turns, the labels of this step are already there: what is found must not depend on a clock.
        discover_s=0 if config.takes_turns else config.runtime.deadlines.poll_s,
        cursor_s=config.runtime.deadlines.poll_s,
    )


def _feed(
    config: RunConfig, consumer: Consumer, recipe: Recipe, shards: Shards, role_rank: RoleRank
) -> LabelFeed:
    data, model, clips = config.data, config.model, shards.unlabelled
    assert clips is not None, "a student that reads labels has clips"
    # Frames that are labelled in this very run are taught their truth; other annotations of these clips are no business
    # of a student that is to learn without them.
    known = clips.shared_with(shards.labelled)
    hard = training_view(config, data.hard)
    hard = replace(hard, labels=bool(known), labels_of=known, points=model.num_points)
    return LabelFeed(
        consumer,
        clip_readers(config, clips, hard, 2 * config.train.unlabelled_batch // data.clip_frames),
        [source.name for source in recipe.sources],
        clip_frames=data.clip_frames,
        clip_stride=data.clip_stride,
        crop_px=model.crop_px,
        seed=config.train.seed,
        mirrored_steps=config.train.mirrored_steps,
        device=role_rank.device,
    )


def _clips_to_label(
    config: RunConfig,
    run: Run,
    shards: ShardSet,
    view: ViewSettings,
    role_rank: RoleRank,
    batch: int,
    choose: Choose,
) -> ClipStream | WishedClips:
    """Every clip once per epoch over all ranks; or, of each batch, a share that the student asks for.

    What it asks for is the first crew's to label: it would come from each crew that answered, at the same version, and nobody
    knows how many crews there are to divide it among.
    """
    if not config.train.priority or role_rank.crew:
        return clip_stream(config, shards, view, role_rank, TEACHER_CLIPS, batch)
    usual = clip_stream(config, shards, view, role_rank, TEACHER_CLIPS, 1)
    return build_wished_clips(
        config, run, shards, view, usual, batch, role_rank.rank, role_rank.world, choose
    )


def _labels_schema(config: RunConfig, recipe: Recipe) -> Schema:
    columns = [source_columns(source) for source in recipe.sources]
    return labels_schema(config.model.num_points, columns, unit=config.data.clip_frames)


def source_columns(source: Source) -> SourceColumns:
    """What a source takes in a row."""
    shapes = {"candidates": (source.size, 2), "patch": (source.size, source.size), "feature": (source.size,)}
    kinds = {"candidates": "float32", "patch": "uint8", "feature": "float16"}
    adds = source.reading if source.reading in shapes else ""
    return SourceColumns(
        source.name, adds, kinds.get(adds, "uint8"), shapes.get(adds, ()), source.states_error
    )


def _labels_topic(config: RunConfig, run: Run, recipe: Recipe, clips: ShardSet) -> Topic:
    return open_own_topic(config, run, "labels", _labels_schema(config, recipe), clips)


def _topic_to_read(config: RunConfig, run: Run, recipe: Recipe, clips: ShardSet) -> Topic:
    """The labels that a student learns from: its own run's, or another's."""
    if config.runtime.replay:
        return open_replay(config, _labels_schema(config, recipe), clips)
    if config.runtime.offline:
        return open_offline(config, run, _labels_schema(config, recipe), clips)
    return _labels_topic(config, run, recipe, clips)
