"""The data of a run, opened: what the method needs, and nothing that does not fit together."""

from collections.abc import Sequence
from dataclasses import dataclass

from tsal_dist.config import RunConfig
from tsal_dist.data.shard_set import ShardSet, open_shards
from tsal_dist.errors import ConfigError
from tsal_dist.runs.overlap import refuse_overlap
from tsal_dist.shards.files import is_local, local_path


@dataclass(frozen=True)
class Shards:
    """The data of a run, opened."""

    labelled: ShardSet
    unlabelled: ShardSet | None
    validation: ShardSet | None

    @property
    def fingerprints(self) -> dict[str, str]:
        """By the names of the section `data`; "" for a set that the run has not."""
        sets = {"labelled": self.labelled, "unlabelled": self.unlabelled, "validation": self.validation}
        return {name: shards.fingerprint if shards else "" for name, shards in sets.items()}


def open_data(config: RunConfig) -> Shards:
    """Open every set that the recipe needs, and refuse what does not fit together."""
    data = config.data
    if not data.labelled:
        raise ConfigError(
            "data.labelled is empty: there is nothing to learn from. Name folders of shards, such as "
            "data.labelled=shards/demo-train; tools/shard_videos.py makes them."
        )
    needs_clips = config.train.recipe != "supervised"
    if needs_clips and not data.unlabelled:
        raise ConfigError(
            f"data.unlabelled is empty, and train.recipe={config.train.recipe} learns from unlabelled clips. Name "
            f"folders of shards, or set train.recipe=supervised."
        )
    names = ("labelled", "unlabelled", "validation")
    opened = {
        name: open_named(f"data.{name}", getattr(data, name), config) if getattr(data, name) else None
        for name in names
    }
    for name in ("labelled", "validation"):
        found = opened[name]
        if found and found.points != config.model.num_points:
            raise ConfigError(
                f"data.{name} has {found.points} landmarks per face and model.num_points is "
                f"{config.model.num_points}. Set model.num_points={found.points}, or name other shards."
            )
    labelled, validation = opened["labelled"], opened["validation"]
    assert labelled is not None, "checked above"
    if validation:
        for name in ("labelled", "unlabelled"):
            refuse_overlap(opened[name], validation, f"data.{name}")
    return Shards(labelled, opened["unlabelled"] if needs_clips else None, validation)


def open_named(key: str, urls: Sequence[str], config: RunConfig) -> ShardSet:
    """Open shards that the user named under `key`: a folder that is not there is theirs to correct."""
    for url in urls:
        if is_local(url) and not local_path(url).is_dir():
            raise ConfigError(
                f"{key} names {url!r}, which is no folder. Pack shards there (tools/shard_videos.py), or name others."
            )
    return open_shards(urls, config.data.cache_dir, config.data.cache_gb)
