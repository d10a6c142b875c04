"""Whether a label's frame is the frame whose pixels were read: asked of every clip that is delivered."""

from tsal_dist.errors import DataError
from tsal_dist.pseudo.schema import LabelBatch
from tsal_dist.records import Clip, frame_name


def require_same_frames(rows: LabelBatch, start: int, clip: Clip) -> None:
    """Raise DataError unless the rows from `start` on are about the frames of `clip`.

    Rows name a place in the shards and, beside it, the video and the frame that lay there when they were labelled.
    Where the two differ, the shards are not those that the teacher saw: no label can be trusted then.
    """
    stop = start + len(clip.frames_T)
    videos = set(rows.video[slice(start, stop)].tolist())
    frames = rows.frame_N[start:stop].tolist()
    if videos == {clip.video} and frames == clip.frames_T.tolist():
        return
    raise DataError(
        f"A label is about {frame_name(min(videos), frames[0])}, and at its place in the shards (shard "
        f"{rows.shard_N[start]}, position {rows.index_N[start]}) lies {frame_name(clip.video, int(clip.frames_T[0]))}. The "
        f"shards of data.unlabelled differ between roles, or have changed: give all processes the same ones."
    )
