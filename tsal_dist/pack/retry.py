"""Inputs that failed and were mended since: packed into further shards of a folder that is already closed."""

from collections.abc import Sequence
from dataclasses import dataclass

from tsal_dist.errors import ConfigError
from tsal_dist.pack.inputs import Input
from tsal_dist.pack.packing_plan import PackOptions, Plan, build_plan
from tsal_dist.pack.sources import SourceRow, read_sources
from tsal_dist.pack.video_facts import probe
from tsal_dist.pack.workplace import read_plan
from tsal_dist.shards.frames import OK
from tsal_dist.shards.manifest import Manifest, open_manifest


@dataclass(frozen=True)
class Closed:
    """A folder as an earlier run left it."""

    manifest: Manifest
    sources: tuple[SourceRow, ...]


def plan_retry(inputs: Sequence[Input], options: PackOptions, folder: str) -> tuple[Plan, Closed]:
    """A plan for those of `inputs` of which the folder stores nothing, numbered on from its last shard.

    An input that was packed in part is left alone: its frames are in a shard already.
    """
    closed = Closed(open_manifest(folder), tuple(read_sources(folder)))
    failed = {row.name for row in closed.sources if row.status != OK and not row.stored}
    chosen = [one for one in inputs if one.name in failed]
    if not chosen:
        partial = sum(row.status != OK for row in closed.sources)
        raise ConfigError(
            f"{folder} has no input to retry: none failed entirely ({partial} are stored in part and stay as they "
            "are). Pack a mended video into a folder of its own."
        )
    plan = build_plan(chosen, [probe(one) for one in chosen], options, len(closed.manifest.shards))
    _check_options(plan, folder)
    if plan.points not in (0, closed.manifest.points):
        raise ConfigError(
            f"The retried inputs have {plan.points} landmarks and those of {folder} have "
            f"{closed.manifest.points}; pack them into a folder of their own."
        )
    return plan, closed


def _check_options(plan: Plan, folder: str) -> None:
    """A retry must pack as the folder was packed."""
    begun_with = read_plan(folder) or {}
    for key, value in plan.summary.items():
        if key.startswith("option ") and begun_with.get(key) != value:
            raise ConfigError(
                f"{key.removeprefix('option ')} is {value!r} but {folder} was packed with "
                f"{begun_with.get(key)!r}; give a retry the options of the first run."
            )
