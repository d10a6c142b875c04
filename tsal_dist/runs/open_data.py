"""The data of a run, opened: what the method needs, and nothing that does not fit together."""

import logging
from dataclasses import dataclass

from tsal_dist.config import RunConfig
from tsal_dist.data.shard_set import ShardSet, refuse_other_names
from tsal_dist.errors import ConfigError, DataError
from tsal_dist.inference.held_out import Key, find_named
from tsal_dist.planning.memory import refuse_too_much
from tsal_dist.run import Origin, load_run
from tsal_dist.runs.named_shards import open_named
from tsal_dist.runs.overlap import refuse_overlap
from tsal_dist.runs.same_boxes import tell_other_boxes
from tsal_dist.runs.same_footage import refuse_same_footage

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Shards:
    """The data of a run, opened."""

    labelled: ShardSet
    unlabelled: ShardSet | None
    validation: ShardSet | None

    @property
    def opened(self) -> list[ShardSet]:
        """Those that the run has."""
        return [shards for shards in (self.labelled, self.unlabelled, self.validation) if shards]

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
            "data.labelled=shards/demo-train; `tsal pack` makes them."
        )
    needs_clips = config.uses_clips
    if needs_clips and not data.unlabelled:
        raise ConfigError(
            f"data.unlabelled is empty, and method.name={config.method.name} learns from unlabelled clips. Name "
            f"folders of shards, or set method.name=supervised."
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
                f"data.{name} has {found.points} landmarks and model.num_points is "
                f"{config.model.num_points}. Set model.num_points={found.points}, or name other shards."
            )
        if found:
            ours = config.model.layout.names
            refuse_other_names(f"data.{name}", found.layout.names, "model.layout.names", ours)
    labelled, validation = opened["labelled"], opened["validation"]
    assert labelled is not None, "checked above"
    if validation:
        for name in ("labelled", "unlabelled"):
            refuse_overlap(opened[name], validation, f"data.{name}")
    return Shards(labelled, opened["unlabelled"] if needs_clips else None, validation)


def open_checked(config: RunConfig, first: bool, origin: Origin | None = None) -> Shards:
    """As `open_data`; the `first` process of a new run also looks whether the batch fits the data and the machine,
    whether held-out footage is trained on, or was before in the run that it begins from, and whether boxes are alike."""
    shards = open_data(config)
    if first:
        refuse_too_much(config, sum(manifest.labelled for manifest in shards.labelled.manifests))
        refuse_leaks(shards)
        refuse_known_footage(shards, origin)
        others = {"data.unlabelled": shards.unlabelled, "data.validation": shards.validation}
        tell_other_boxes(shards.labelled, {key: other for key, other in others.items() if other})
    return shards


def refuse_known_footage(shards: Shards, origin: Origin | None) -> None:
    """ConfigError where held-out footage was trained on by a run that this one descends from."""
    looked_at = {shards.labelled.fingerprint, shards.unlabelled.fingerprint if shards.unlabelled else ""}
    while origin and shards.validation:
        source = load_run(origin.run)
        names: list[Key] = ["labelled", "unlabelled"] if source.config.uses_clips else ["labelled"]
        for name in names:
            key = f"data.{name}"
            try:
                known = open_named(key, find_named(source.dir.root, source.config, name), source.config)
            except (ConfigError, DataError) as error:
                log.warning(
                    "whether %s of %s holds footage of data.validation is not known: %s",
                    key,
                    origin.run,
                    error,
                )
                continue
            if known.fingerprint not in looked_at:
                refuse_overlap(known, shards.validation, f"{key} of {origin.run}")
                refuse_same_footage(known, shards.validation, f"{key} of {origin.run}")
                looked_at.add(known.fingerprint)
        origin = source.origin


def refuse_leaks(shards: Shards) -> None:
    """ConfigError where held-out footage is trained on under another name: pictures are compared, which takes seconds."""
    if shards.validation:
        refuse_same_footage(shards.labelled, shards.validation, "data.labelled")
        if shards.unlabelled and shards.unlabelled.fingerprint != shards.labelled.fingerprint:
            refuse_same_footage(shards.unlabelled, shards.validation, "data.unlabelled")
