"""Settings that have another name now: an old file is refused with the new spelling, never read differently."""

from collections.abc import Mapping
from typing import Any

from tsal_dist.errors import ConfigError
from tsal_dist.json_object import flatten

MOVED = {
    "train.recipe": "method.name",
    "train.sources.use": "method.use",
    "train.sources.views": "method.views",
    "train.sources.track_share": "method.track_share",
    "train.sources.max_disagreement": "method.max_disagreement",
    "train.sources.score_warmup": "method.score_warmup",
    "train.teacher.absorb": "method.absorb",
    "train.teacher.keep": "method.keep",
    "train.teacher.queue": "method.queue",
    "train.teacher.buffers": "method.buffers",
    "train.teacher.own_steps": "method.own_steps",
    "train.teacher.own_lr_share": "method.own_lr_share",
    "train.teacher.average": "train.average",
    "train.teacher.priority": "train.priority",
    "train.loss.structure": "method.structure",
    "train.loss.tracking": "method.tracking",
    "train.loss.coordinate": "method.coordinate",
    "train.loss.heat": "method.heat",
}


def refuse_moved(tree: Mapping[str, Any], where: str = "") -> None:
    """Raise where `tree` holds a setting under its old name."""
    for key in flatten(tree):
        if key in MOVED:
            place = f"{where}: " if where else ""
            raise ConfigError(
                f"{place}the setting {key!r} is {MOVED[key]!r} now: what only one method has stands in [method], beside "
                f"its name. Write it there; `python -m tsal_dist.recipes` lists the settings of every method."
            )
