"""Rendered faces, packed: data that a tool makes for itself, where nothing is at hand."""

from pathlib import Path

from tsal_dist.pack.execute import pack
from tsal_dist.pack.gather import gather_inputs
from tsal_dist.pack.packing_plan import PackOptions, build_plan
from tsal_dist.pack.video_facts import probe
from tsal_dist.synthetic.dataset import DatasetSpec, write_dataset

TRAIN = PackOptions("train")


def make_faces(folder: Path, spec: DatasetSpec, options: PackOptions = TRAIN, workers: int = 1) -> list[str]:
    """Render videos with so many `workers`, and pack those to train on as `options` say; the settings that name them."""
    write_dataset(folder / "raw", spec, workers)
    train = pack_list(folder / "raw" / "train.lst", folder / "shards", options)
    held_out = pack_list(folder / "raw" / "test.lst", folder / "shards", PackOptions("val"))
    return [f"data.labelled={train}", f"data.unlabelled={train}", f"data.validation={held_out}"]


def pack_list(path: Path, out: Path, options: PackOptions) -> Path:
    """What a list names, packed; the folder of its shards."""
    inputs = gather_inputs([path])
    folder = out / options.split
    pack(build_plan(inputs, [probe(one) for one in inputs], options), str(folder))
    return folder
