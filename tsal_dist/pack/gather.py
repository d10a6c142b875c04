"""What a person names on a command line, as named inputs."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path

from tsal_dist.errors import ConfigError
from tsal_dist.pack.attach import attach_labels, join_landmarks
from tsal_dist.pack.formats.table import read_csv
from tsal_dist.pack.inputs import (
    Input,
    apply_boxes,
    inputs_from_entries,
    inputs_from_videos,
    name_inputs,
    refuse_no_text,
)
from tsal_dist.pack.layouts import read_layout
from tsal_dist.pack.lists import read_list
from tsal_dist.pack.points import AFLW_POINTS


def gather_inputs(
    lists: Sequence[Path] = (),
    videos: Sequence[Path] = (),
    *,
    labels: Sequence[Path] = (),
    skeleton: Sequence[str] = (),
    annotations: Path | None = None,
    boxes: Path | None = None,
    root: Path | None = None,
    public: tuple[Path, str] | None = None,
    any_count: bool = False,
    sequences: bool = False,
    points: int = AFLW_POINTS,
    track: Callable[[list[Input]], list[Input]] | None = None,
) -> list[Input]:
    """Read every list and folder. `labels` are of frames within `videos`; `points` is the K of `.pts` files that do not
    tell theirs; `track` takes whole videos apart into their subjects."""
    if labels and not videos:
        raise ConfigError(
            "--labels are labels of frames within --videos. Name these, or give --lists instead."
        )
    entries = [entry for path in lists for entry in read_list(path, root, points)]
    inputs = inputs_from_entries(entries, sequences)
    if videos:
        whole = inputs_from_videos(videos, annotations, points)
        spoken_of = [entry for path in labels for entry in read_list(path, root, points)]
        inputs += attach_labels(whole, spoken_of, several=track is not None) if labels else whole
    if public is not None:
        inputs += read_layout(*public, any_count=any_count)
    if not inputs:
        raise ConfigError("There is nothing to pack. Name --lists, --videos or --public.")
    for one in inputs:
        refuse_no_text("an input", one.path)
    if track is not None:
        inputs = track(inputs)
    if boxes is not None:
        inputs = apply_boxes(inputs, read_csv(boxes, root or boxes.parent))
    if skeleton:
        inputs = join_landmarks(inputs, skeleton)
    return name_inputs(
        inputs, root or _common_root(inputs, [*lists, *videos, *([public[0]] if public else [])])
    )


def _common_root(inputs: Sequence[Input], given: Sequence[Path]) -> Path:
    """The deepest folder that holds every folder given, every list or video given, and every input."""
    folders = [str((path if path.is_dir() else path.parent).absolute()) for path in given]
    return Path(os.path.commonpath([*folders, *(os.path.dirname(one.path) for one in inputs)]))
