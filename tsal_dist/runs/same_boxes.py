"""Whether the sets of a run say alike where the subject is: in a whole picture it is smaller than a net that learnt it in its
box has ever seen it."""

import logging

from tsal_dist.data.shard_set import ShardSet
from tsal_dist.shards.frames import fill_pictures, read_frames

log = logging.getLogger(__name__)

WHOLE, AROUND = "whole pictures", "around the subject"


def tell_other_boxes(labelled: ShardSet, other: ShardSet, key: str) -> None:
    """A warning where boxes of one of the two are whole pictures, and of the other they are not."""
    ours, theirs = _kinds(labelled), _kinds(other)
    if ours and theirs and not ours & theirs:
        log.warning(
            "Boxes of data.labelled are %s, those of %s %s: a subject has another size in the crops of the two. Pack both alike, "
            "with `--box full`, or with the same of --boxes, --face-model and --box-model.",
            *(ours.pop(), key, theirs.pop()),
        )


def _kinds(shards: ShardSet) -> set[str]:
    """What boxes are, by the first shard of each folder."""
    tables = [read_frames(manifest.parquet_url(0)) for manifest in shards.manifests if manifest.shards]
    return {WHOLE if fill_pictures(table.box_N4, table.size_N2) else AROUND for table in tables if len(table)}
