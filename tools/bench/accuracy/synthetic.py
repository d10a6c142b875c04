"""Rendered faces: people held out, labels on a share of the others' videos."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from tools.bench.accuracy.data_set import DataSet, Fold
from tsal_dist.errors import ConfigError

NAME = "synthetic faces"


@dataclass(frozen=True)
class Size:
    """How much is rendered, and how long is trained."""

    videos: int = 96
    frames: int = 16
    size_px: int = 160
    steps: int = 500
    repeats: int = 3


def make_synthetic(folder: Path, shares: Sequence[float], size: Size, settings: Sequence[str]) -> DataSet:
    """Render and pack; all shares are of the same videos, and only how many of them keep their labels differs."""
    from tools.bench.accuracy.packing import pack_entries
    from tsal_dist.pack.lists import read_list
    from tsal_dist.pack.packing_plan import PackOptions

    raw = folder / "raw"
    _render(raw, size)
    train, held_out = (read_list(raw / name) for name in ("train.lst", "test.lst"))
    test = pack_entries(held_out, folder / "held-out", PackOptions("val"), raw)
    labelled = {}
    for share in sorted(shares):
        options = PackOptions("train", labelled=share, labelled_by="video")
        place = folder / f"share-{share:g}"
        labelled[f"{100 * share:g} %"] = pack_entries(train, place, options, raw, apart_from=[test])
    most = labelled[f"{100 * max(shares):g} %"]  # annotations in unlabelled shards are never read
    return DataSet(
        NAME,
        tuple(labelled),
        (Fold(labelled, most, test),),
        steps=size.steps,
        repeats=size.repeats,
        settings=tuple(settings),
        about="people held out; errors in % of the inter-ocular distance",
    )


def _render(raw: Path, size: Size) -> None:
    from tsal_dist.synthetic.dataset import DatasetSpec, write_dataset

    spec = DatasetSpec(size.videos, size.frames, size.size_px, seed=1, labelled=1.0)
    made = raw / "synthetic.json"
    if not made.exists():
        write_dataset(raw, spec, clean=True)
    asked = asdict(spec)
    found = {name: value for name, value in json.loads(made.read_text()).items() if name in asked}
    if found != asked:
        raise ConfigError(f"{raw} holds other videos ({found}). Ask for the same, or give another --cells.")
