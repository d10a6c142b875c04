"""What one frame costs here: read by a core, tracked by a core, learnt from and labelled by a device. Each is measured
alone, for a second or two: what is together in a run overlaps there, and the slowest of them sets the pace.
"""

import time
from collections.abc import Callable
from itertools import count

import numpy as np
import torch
from numpy.typing import NDArray

from tsal_dist.config import RunConfig
from tsal_dist.data.clips import build_clips
from tsal_dist.data.crop import ViewSettings
from tsal_dist.data.reader import FrameReader
from tsal_dist.data.request import ClipRequest
from tsal_dist.data.shard_set import ShardSet
from tsal_dist.engine.api import Engine
from tsal_dist.engine.choose import build_engine
from tsal_dist.geometry.flip import mirror_order
from tsal_dist.models.detectors import build_detector, stride_of
from tsal_dist.planning.supply import Rates
from tsal_dist.recipes.api import OneNet, Source, Task
from tsal_dist.recipes.frames import Frames
from tsal_dist.recipes.labelling import Limits, label
from tsal_dist.recipes.steps import student_terms, supervised_weights, total_loss
from tsal_dist.trackers.choose import build_tracker
from tsal_dist.trackers.gray import GrayFlow

MOST_FRAMES = 256
"""That are read and then lie in memory."""


def measure_rates(config: RunConfig, shards: ShardSet, device: torch.device, seconds: float = 2.0) -> Rates:
    """Rates of `config` with frames of `shards`, in this process and on its device."""
    layout, points = config.model.layout, config.model.num_points
    mirror = mirror_order(layout.flip, layout.names, points)
    view = ViewSettings(
        config.model.crop_px, config.data.box_expand, config.data.hard, labels=False, mirror=mirror
    )
    reader, clips = FrameReader(shards, view), build_clips(shards, "all")
    kept: list[NDArray[np.uint8]] = []
    samples = count()

    def read() -> int:
        sample = next(samples) % len(clips)
        clip = reader.read(ClipRequest(clips.ref(sample), 1, 1, rng_key=(0, 0, sample)))
        if len(kept) < MOST_FRAMES:
            kept.append(clip.image_THWC)
        return 1

    read_s = time_per_item(read, device, seconds)
    reader.close()
    size = config.train.labelled_batch + config.train.unlabelled_batch
    pool_NHWC = torch.from_numpy(np.concatenate([kept[n % len(kept)] for n in range(size)]))
    return Rates(
        read_s=read_s,
        flow_s=_flow(config, pool_NHWC, device, seconds),
        learn_s=_learning(config, pool_NHWC.to(device), device, seconds),
        label_s=_labelling(config, pool_NHWC.to(device), device, seconds),
        device=torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU",
    )


def time_per_item(act: Callable[[], int], device: torch.device, seconds: float) -> float:
    """Seconds per item of something that is done again and again; the first time, which prepares, does not count."""
    act()
    _finish(device)
    begun, items = time.perf_counter(), 0
    while time.perf_counter() - begun < seconds:
        items += act()
    _finish(device)
    return (time.perf_counter() - begun) / items


def _finish(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _flow(config: RunConfig, image_NHWC: torch.Tensor, device: torch.device, seconds: float) -> float:
    tracker = build_tracker(config.model.tracker.kind, threads=1)
    if not isinstance(tracker, GrayFlow):
        return 0.0
    pairs = min(8, len(image_NHWC) - 1)
    before, after = image_NHWC[:pairs], image_NHWC[1 : pairs + 1]

    def act() -> int:
        tracker(before, after)
        return pairs

    return time_per_item(act, device, seconds)


def _engine(config: RunConfig, device: torch.device) -> Engine:
    model = build_detector(config.model.detector, config.model.num_points)
    return build_engine(model, config.runtime.student, config.train.optim, config.train.steps, device)


def _task(config: RunConfig, engine: Engine) -> Task:
    model = config.model
    return Task(
        points=model.num_points,
        crop_px=model.crop_px,
        stride=stride_of(engine.model),
        radius=model.decode_radius,
        sigma_px=config.train.loss.sigma_px,
        clip_frames=config.data.clip_frames,
    )


def _learning(config: RunConfig, image_NHWC: torch.Tensor, device: torch.device, seconds: float) -> float:
    engine = _engine(config, device)
    task, weights = _task(config, engine), supervised_weights(config.train.loss)
    frames = _all_labelled(image_NHWC, config.model.num_points)

    def act() -> int:
        terms, _ = student_terms(engine.forward, OneNet(), frames, [], (), task)
        engine.step(total_loss(terms, {name: term.count for name, term in terms.items()}, weights, 1))
        return len(frames)

    return time_per_item(act, device, seconds)


def _labelling(config: RunConfig, image_NHWC: torch.Tensor, device: torch.device, seconds: float) -> float:
    """With flow only where a network finds it."""
    engine, tracker = _engine(config, device), build_tracker(config.model.tracker.kind)
    task, sources = _task(config, engine), [Source("heatmap"), Source("center", "center")]
    if isinstance(tracker, torch.nn.Module):
        tracker.to(device)
        sources.append(Source("track", "track"))
    whole = len(image_NHWC) - len(image_NHWC) % config.data.clip_frames
    frames = _all_labelled(image_NHWC[:whole], config.model.num_points, config.data.clip_frames)
    limits = Limits(
        config.model.tracker.max_fb_error_px, config.model.tracker.max_move * config.model.crop_px
    )

    def act() -> int:
        label(
            {"teacher": engine.infer}, tracker, frames, sources,
            stride=task.stride, radius=task.radius, limits=limits,
        )  # fmt: skip
        return len(frames)

    return time_per_item(act, device, seconds)


def _all_labelled(image_NHWC: torch.Tensor, points: int, clip_frames: int = 1) -> Frames:
    frames, size_px, device = len(image_NHWC), image_NHWC.shape[1], image_NHWC.device
    return Frames(
        image_NHWC=image_NHWC,
        points_NK2=size_px * torch.rand(frames, points, 2, device=device),
        visible_NK=torch.ones(frames, points, dtype=torch.bool, device=device),
        labelled_N=torch.ones(frames, dtype=torch.bool, device=device),
        face_px_B=torch.full((frames // clip_frames,), 0.8 * size_px, device=device),
        clip_frames=clip_frames,
    )
