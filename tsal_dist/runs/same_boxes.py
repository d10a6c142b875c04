"""Whether the sets of a run say alike where the subject is: in a whole picture it is smaller than a net that learnt it in its
box has ever seen it."""

import logging
from collections.abc import Mapping

from tsal_dist.data.shard_set import ShardSet
from tsal_dist.shards.frames import fill_pictures, read_frames

log = logging.getLogger(__name__)

WHOLE, AROUND = "whole pictures", "around the subject"


def tell_other_boxes(labelled: ShardSet, others: Mapping[str, ShardSet]) -> None:
    """A warning for each of the others, by what the user calls it, whose boxes are whole pictures where those of `labelled` are
    not, or the other way round."""
    ours = _kinds(labelled)
    for key, other in others.items():
        theirs = _kinds(other)
        if ours and theirs and not ours & theirs:
            log.warning(
                "Boxes of data.labelled are %s, those of %s %s: a subject has another size in the crops of the two. Pack both alike, "
                "with `--box full`, or with the same of --boxes, --face-model and --box-model.",
                *(*ours, key, *theirs),
            )


def _kinds(shards: ShardSet) -> set[str]:
    """What boxes are, by the first shard of each folder."""
    tables = [read_frames(manifest.parquet_url(0)) for manifest in shards.manifests if manifest.shards]
    return {WHOLE if fill_pictures(table.box_N4, table.size_N2) else AROUND for table in tables if len(table)}
