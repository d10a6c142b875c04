"""Shards for a bench, made once: a folder that is there already is kept if it is the same, and refused if not."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from tsal_dist.pack.execute import pack
from tsal_dist.pack.face import Entry
from tsal_dist.pack.inputs import inputs_from_entries, name_inputs
from tsal_dist.pack.packing_plan import PackOptions, build_plan
from tsal_dist.pack.video_facts import probe


def pack_entries(
    entries: Iterable[Entry], folder: Path, options: PackOptions, root: Path, apart_from: Sequence[str] = ()
) -> str:
    """Pack what they name, files being called by their place below `root`; the shards' folder.

    Side by side, folders with the same pictures would be refused as overlapping splits: each gets a parent of its own.
    """
    out = folder / options.split
    inputs = name_inputs(inputs_from_entries(entries), root)
    plan = build_plan(inputs, [probe(one) for one in inputs], options)
    pack(plan, str(out), apart_from=apart_from)
    return str(out)
