"""Small data and short runs: whole training in seconds, each in a process of its own."""

from dataclasses import dataclass
from pathlib import Path

from tests.ranks import run_ranks
from tsal_dist.recipes.conformance.sameness import metrics, saved

__all__ = ["metrics", "saved"]
CROP_PX, POINTS = 32, 68
OVERRIDES = (
    "model.detector=lite",
    f"model.crop_px={CROP_PX}",
    "data.workers=0",
    "train.steps=8",
    "train.burn_in_steps=2",
    "train.labelled_batch=4",
    "train.unlabelled_batch=8",
    "train.loss.sigma_px=3.0",
    "train.optim.warmup_steps=2",
    "train.gate.enabled=false",
    "train.loss.headroom=false",
    "runtime.topology=inline",
    "runtime.queue.segment_rows=8",
    "runtime.weights.publish_every=2",
    "runtime.checkpoint.every=4",
    "runtime.log.every=1",
    "runtime.log.evaluate_every=8",
)
"""A teacher that labels from step 2 on, and all of the upkeep at least once."""


WARMING_UP = ("tsal", "mean_teacher")
"""Methods that look at scores for a while before they weigh anything: for longer than a short run lasts."""


@dataclass(frozen=True)
class Faces:
    """Packed synthetic faces."""

    train: str
    held_out: str
    videos: Path
    """The rendered videos themselves, in the layout of 300VW."""


def pack_faces(folder: Path, videos: int = 6, frames: int = 8, size_px: int = 80) -> Faces:
    """A third of the videos held out; every fourth training frame labelled."""
    from tests.pack.packing import pack_all
    from tsal_dist.synthetic.dataset import DatasetSpec, write_dataset

    raw = folder / "raw"
    write_dataset(raw, DatasetSpec(videos, frames, size_px, seed=1, labelled=0.25, test_share=1 / 3))
    for split, name in (("train", "train"), ("test", "val")):
        pack_all(folder, lists=[raw / f"{split}.lst"], split=name, shard_frames=16)
    return Faces(str(folder / "train"), str(folder / "val"), raw / "videos")


def words(faces: Faces, folder: Path, *overrides: str) -> list[str]:
    """The settings of a short run, as a command line has them."""
    data = [f"data.labelled={faces.train}", f"data.unlabelled={faces.train}"]
    if not any(
        word.startswith("method.name=") and word.split("=")[1] not in WARMING_UP for word in overrides
    ):
        data.append("method.score_warmup=1")
    return [*OVERRIDES, *data, f"data.validation={faces.held_out}", f"run.dir={folder}", *overrides]


def short_config(faces: Faces, folder: Path, *overrides: str):
    from tsal_dist.config import load_config

    return load_config([], words(faces, folder, *overrides))


def train_rank(rank, world, argv):
    """One process of a run, as torchrun would start it."""
    from tsal_dist.train import main

    return int(main(argv))


def train(faces: Faces, folder: Path, *overrides: str, world: int = 1, flags=()) -> Path:
    """A whole run; its folder."""
    codes = run_ranks(train_rank, world, [*flags, *words(faces, folder, *overrides)], group=False)
    assert codes == [0] * world
    return folder


def student_of(folder: Path, step: int | None = None) -> dict:
    """The student's weights."""
    return saved(folder, "student", step)["engine"]["weights"]


def plans(folder: Path) -> list[list[list]]:
    """Per step and rank: producer, segment, first and last row, use, teacher's step. No bytes: they hold the time."""
    from tsal_dist.pseudo.step_plan import load_plans

    found = load_plans(folder / "metrics" / "plan.jsonl")
    return [[[part.to_list()[:6] for part in rank] for rank in plan.ranks] for plan in found]
