"""Shards for a bench, made once: a folder that is there already is kept if it is the same, and refused if not."""

from collections.abc import Sequence
from pathlib import Path

from tsal_dist.pack.execute import pack
from tsal_dist.pack.gather import gather_inputs
from tsal_dist.pack.packing_plan import PackOptions, build_plan
from tsal_dist.pack.video_facts import probe


def pack_list(
    source: Path, folder: Path, options: PackOptions, root: Path | None = None, apart_from: Sequence[str] = ()
) -> str:
    """Pack what a list names; the shards' folder.

    Side by side, folders with the same pictures would be refused as overlapping splits: each gets a parent of its own.
    """
    out = folder / options.split
    inputs = gather_inputs([source], root=root)
    plan = build_plan(inputs, [probe(one) for one in inputs], options)
    pack(plan, str(out), apart_from=apart_from)
    return str(out)
