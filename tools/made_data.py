"""Data that a check makes for itself, and a short run on it: where it is needed nothing is at hand."""

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tsal_dist.config.data import AugmentConfig
    from tsal_dist.data.shard_set import ShardSet
    from tsal_dist.data.stream import ClipStream


@contextmanager
def made_shards(frames: int, width: int, height: int) -> "Iterator[ShardSet]":
    """Shards of textured frames, for as long as the block lasts."""
    from tools.bench.loader import make_shards
    from tsal_dist.data.shard_set import open_shards

    with tempfile.TemporaryDirectory(prefix="gpu-check-") as folder:
        make_shards(Path(folder) / "shards", frames, width, height)
        yield open_shards([f"{folder}/shards"])


def open_stream(
    crop_px: int, shards: "ShardSet", augment: "AugmentConfig", workers: int, raw: bool
) -> "ClipStream":
    from tsal_dist.data.crop import ViewSettings
    from tsal_dist.data.request import ReadAhead
    from tsal_dist.data.stream import ClipStream
    from tsal_dist.geometry.flip import flip_order

    return ClipStream(
        shards,
        ViewSettings(crop_px, augment=augment, raw=raw, mirror=flip_order(68)),
        select="all",
        batch=16,
        rank=0,
        world=1,
        seed=0,
        read_ahead=ReadAhead(workers),
    )


def run_training(device: str, small: bool, folder: Path, processes: int, *words: str) -> tuple[int, str]:
    """A short whole run on synthetic faces in a folder; its exit code and its last words."""
    from launch.process_plan import ALONE
    from tsal_dist.dist.environment import child_environment
    from tsal_dist.pack.execute import pack
    from tsal_dist.pack.gather import gather_inputs
    from tsal_dist.pack.packing_plan import PackOptions, build_plan
    from tsal_dist.pack.video_facts import probe
    from tsal_dist.synthetic.dataset import DatasetSpec, write_dataset

    write_dataset(folder / "raw", DatasetSpec(8, 8, 96, seed=1, labelled=0.25, test_share=0.25))
    for part in ("train", "test"):
        inputs = gather_inputs([folder / "raw" / f"{part}.lst"])
        plan = build_plan(inputs, [probe(one) for one in inputs], PackOptions(part))
        pack(plan, str(folder / part))
    low = ["runtime.student.precision=bfloat16", "runtime.teacher.precision=bfloat16"]
    command = [
        sys.executable, *(("-m", ALONE, f"--nproc-per-node={processes}") if processes > 1 else ()),
        "-m", "tsal_dist.train", f"run.dir={folder / 'run'}", f"data.labelled={folder / 'train'}",
        f"data.unlabelled={folder / 'train'}", f"data.validation={folder / 'test'}", "data.workers=1",
        "data.view=device", "model.detector=lite", "model.crop_px=64", "model.num_points=68",
        f"train.steps={12 if small else 60}", "train.burn_in_steps=4", "train.labelled_batch=4",
        "train.unlabelled_batch=8", "train.optim.warmup_steps=2", "runtime.queue.segment_rows=32",
        "runtime.weights.publish_every=4", "runtime.log.every=4", *(low if device != "cpu" else ()), *words,
    ]  # fmt: skip
    hidden = {"CUDA_VISIBLE_DEVICES": ""} if device == "cpu" else {}
    environment = child_environment({"OMP_NUM_THREADS": "1", **hidden})
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=150, check=False)
    said = (done.stdout + done.stderr).strip().splitlines()
    errors = [line for line in said if "error: " in line]
    return done.returncode, (errors or said or ["not a word"])[-1][:200]
