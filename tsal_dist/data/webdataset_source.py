"""Our stream as the first stage of a `wds.DataPipeline`, for training code that has one.

The way in is `pack.foreign`: WebDataset tars of others get an index, and are shards from then on.
"""

from collections.abc import Callable, Iterator
from typing import Any

from tsal_dist.data.stream import ClipStream
from tsal_dist.shards.names import frame_key


def as_webdataset(stream: ClipStream) -> Callable[[], Iterator[dict[str, Any]]]:
    """The first stage of a `wds.DataPipeline`: one decoded sample per clip, with the usual names.

    The stream already has rank, workers and position: add no `split_by_node`, and give a DataLoader around it
    num_workers=0. Pads are left out.
    """

    def samples() -> Iterator[dict[str, Any]]:
        for clips in stream:
            for clip in clips:
                if not clip.pad:
                    yield {
                        "__key__": frame_key(clip.video, int(clip.frames_T[0])),
                        "jpg": clip.image_THWC if len(clip.image_THWC) > 1 else clip.image_THWC[0],
                        "json": {
                            "points": clip.points_TK2,
                            "visible": clip.visible_TK,
                            "labelled": clip.labelled_T,
                            "box": clip.box_4,
                            "frames": clip.frames_T,
                        },
                    }

    return samples
