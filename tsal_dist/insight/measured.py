"""The models of a run, measured on frames that are held out, unless others are named, and what they must be better than."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tsal_dist.checkpoint.store import Checkpoints
from tsal_dist.data.shard_set import ShardSet, fingerprint_of, open_cached, refuse_other_names
from tsal_dist.errors import ConfigError, DataError
from tsal_dist.geometry.flip import mirror_order
from tsal_dist.inference.evaluation import Evaluation, ScoredFrame, build_evaluator
from tsal_dist.inference.held_out import Key, find_named, open_if_there
from tsal_dist.inference.trained import OtherNet, Role, load_trained, pick_device
from tsal_dist.insight.contours import Lines, contours
from tsal_dist.insight.gallery import Judge, mean_shape
from tsal_dist.metrics.face_errors import FaceErrors
from tsal_dist.run import Run, pinned_shards
from tsal_dist.runs.labelled_points import read_rows
from tsal_dist.shards.files import is_local

KEPT = 8
PER_VIDEO = 24
"""Frames of one video that may stand before the next video's among the worst: neighbours look alike."""
SHAPES = 64


@dataclass(frozen=True)
class Model:
    """One role of one run, measured."""

    run: str
    role: str
    name: str
    step: int
    last_step: int
    found: Evaluation
    judge: Judge
    names: tuple[str, ...]
    """One per landmark."""
    lines: Lines
    mirror_K: tuple[int, ...]
    mirrored: bool
    """Whether it saw mirror images to the end."""
    trained_on: bool | None
    """Whether these frames are of shards that it was trained on: then they say nothing of others. None where nobody knows."""
    chosen_on: bool
    """Whether they are of the shards that it was validated on."""
    average_K2: NDArray[np.float64] | None
    """The average shape of the labels that it was trained on, as shares of their boxes; None where nobody knows it."""

    @cached_property
    def few(self) -> list[ScoredFrame]:
        """Some of the frames, evenly spread."""
        return some_frames(self, SHAPES)


def names_of(folders: Sequence[Path]) -> list[str]:
    """Folder names, with as much of what leads there as it takes to tell them apart."""
    paths = [folder.resolve() for folder in folders]
    names, length = [path.name for path in paths], 1
    while len(set(names)) < len(set(paths)):
        length += 1
        names = ["/".join(path.parts[-length:]) for path in paths]
    return names


def measure(name: str, run: Run, shards: ShardSet) -> list[Model]:
    """Every role of a run that has a checkpoint."""
    config = run.config
    if shards.points != config.model.num_points:
        raise ConfigError(
            f"The shards have {shards.points} landmarks and {name} was trained for "
            f"{config.model.num_points}. Name shards of the same layout with --shards."
        )
    layout = config.model.layout
    refuse_other_names(shards.manifests[0].url, shards.layout.names, name, layout.names)
    evaluator = build_evaluator(config, shards, pick_device())
    seen, judged = was_trained_on(run, shards), bool(_holds(run, shards, "validation"))
    labelled = open_if_there(run.dir.root, config, "labelled")
    average = average_shape(labelled) if labelled else None
    roles: list[Role] = ["student", "teacher"]
    models = []
    for role in roles:
        steps = Checkpoints.to_read(run.dir.checkpoints(role)).committed()
        if not steps:
            continue
        try:
            trained = load_trained(run.dir.root, role)
        except OtherNet:  # a teacher that was brought along is measured where it was trained
            continue
        trained.model.to(evaluator.device)
        models.append(
            Model(
                name,
                role,
                f"{name} {role}",
                trained.step,
                steps[-1],
                evaluator.run(trained.model, keep=KEPT * PER_VIDEO),
                Judge(trained.model, evaluator),
                layout.names or tuple(f"landmark {number}" for number in range(shards.points)),
                contours(config.model),
                mirror_order(layout.flip, layout.names, shards.points),
                config.mirrors_to_the_end,
                seen,
                judged,
                average,
            )
        )
    return models


def was_trained_on(run: Run, shards: ShardSet) -> bool | None:
    """Whether any of the shards is among those that the run learnt from; None where these cannot all be known."""
    if pinned_shards(run.dir).get("validation") == shards.fingerprint:
        return False  # or it would not have begun
    keys: list[Key] = ["labelled", "unlabelled"] if run.config.uses_clips else ["labelled"]
    return _any_of([_holds(run, shards, key) for key in keys])


def _holds(run: Run, shards: ShardSet, key: Key) -> bool | None:
    """Whether any of the shards is in the set that the run names under `key`. The run wrote down which set that was; of one
    of several folders that does not tell, and each is looked into."""
    found = find_named(run.dir.root, run.config, key)
    pinned = pinned_shards(run.dir).get(key)
    if pinned and (pinned == shards.fingerprint or len(found) == 1):
        return pinned in {shards.fingerprint, *(fingerprint_of([manifest]) for manifest in shards.manifests)}
    return _any_of([_shares(run, shards, url) for url in found])


def _shares(run: Run, shards: ShardSet, url: str) -> bool | None:
    """None where that folder is gone; a store is asked where `shards` come from one, as it may be out of reach else."""
    if not is_local(url) and not shards.remote:
        return None
    try:
        return bool(shards.shared_with(open_cached([url], run.config.data)))
    except DataError:
        return None


def _any_of(known: Sequence[bool | None]) -> bool | None:
    return True if True in known else None if None in known else False


def runs_that_trained(models: Sequence[Model], on_these: bool | None) -> list[str]:
    """The runs of which it is said so of these frames."""
    return list(dict.fromkeys(model.run for model in models if model.trained_on is on_these))


def some_frames(model: Model, count: int) -> list[ScoredFrame]:
    """Some of the frames, evenly spread."""
    return replace(model.judge.evaluator, most_frames=count).run(model.judge.forward, keep=count).best


def upright(model: Model) -> NDArray[np.float64] | None:
    """The mean true shape of some of the frames, as upright as the crops are."""
    few = model.few
    if not few:
        return None
    return mean_shape(
        np.stack([one.truth_K2 for one in few]), np.stack([one.visible_K for one in few]), model.mirror_K
    )


def average_shape(labelled: ShardSet) -> NDArray[np.float64] | None:
    """Where each landmark lies in its subject's box, on average, as a share of the box's sides. None where some landmark is
    never seen."""
    sum_K2, count_K1 = np.zeros((labelled.points, 2)), np.zeros((labelled.points, 1))
    for row in read_rows(labelled):
        corner_2, side_2 = row.box_4[:2], row.box_4[2:] - row.box_4[:2]
        sum_K2 += np.where(row.placed_K[:, None], (row.points_K2 - corner_2) / side_2, 0.0)
        count_K1 += row.placed_K[:, None]
    return sum_K2 / count_K1 if count_K1.all() else None


def blind_error(model: Model) -> float | None:
    """The error of whoever puts the average shape of the training labels into every box and never looks: what any model must
    beat. Not that of these frames themselves, which those of one video all resemble."""
    few = model.few
    if not few or model.average_K2 is None:
        return None
    truth_NK2 = np.stack([one.truth_K2 for one in few])
    visible_NK = np.stack([one.visible_K for one in few])
    box_N4 = np.stack([one.box_4 for one in few])
    guess_NK2 = model.average_K2 * (box_N4[:, None, 2:] - box_N4[:, None, :2]) + box_N4[:, None, :2]
    errors = FaceErrors(truth_NK2.shape[1], model.judge.evaluator.normalizer)
    errors.add(guess_NK2, truth_NK2, visible_NK, box_N4)
    return errors.nme if errors.faces else None


def spread(found: Evaluation) -> float:
    """Standard error of the mean over videos: frames of one video are no independent witnesses."""
    by_video = list(video_errors(found).values())
    if len(by_video) < 2:
        return float("nan")
    means = np.array([np.mean(errors) for errors in by_video])
    return float(means.std(ddof=1) / np.sqrt(len(means)))


def video_errors(found: Evaluation) -> dict[str, list[float]]:
    """Every video's frames, in order."""
    by_video: dict[str, list[float]] = {}
    for score in found.scores:
        by_video.setdefault(score.video, []).append(score.nme)
    return by_video
