"""Pack in one call, as the tool does."""

import cv2
import numpy as np

from tsal_dist.pack.execute import pack
from tsal_dist.pack.gather import gather_inputs
from tsal_dist.pack.packing_plan import PackOptions, build_plan
from tsal_dist.pack.video_facts import probe


def plan_of(videos=(), lists=(), gather=None, **options):
    inputs = gather_inputs(lists, videos, **(gather or {}))
    defaults = {"split": "train", "shard_frames": 10}
    return build_plan(inputs, [probe(one) for one in inputs], PackOptions(**(defaults | options)))


def pack_all(out, videos=(), lists=(), gather=None, workers=1, run=None, **options):
    plan = plan_of(videos, lists, gather, **options)
    return pack(plan, f"{out}/{plan.options.split}", workers=workers, **(run or {}))


SPOT = (220, 120)
"""Where the source has its only bright place, which is its first landmark; the second one is 12 px to the right."""


def pack_spot(folder, frames=4):
    """Shards of crops, of a video with a bright square; of its frames, all of which have a box, the first is labelled."""
    path, (x, y) = folder / "clip.avi", SPOT
    writer = cv2.VideoWriter(str(path), cv2.CAP_OPENCV_MJPEG, cv2.VideoWriter_fourcc(*"MJPG"), 25, (320, 240))
    image_HWC = np.zeros((240, 320, 3), np.uint8)
    image_HWC[y - 4 : y + 5, x - 4 : x + 5] = 255
    for _ in range(frames):
        writer.write(image_HWC)
    writer.release()
    rows = [
        "path,frame,x1,y1,x2,y2,nose_x,nose_y,tail_x,tail_y",
        f"clip.avi,1,200,100,240,140,{x},{y},{x + 12},{y}",
    ]
    rows += [f"clip.avi,{frame},200,100,240,140,,,," for frame in range(2, frames + 1)]
    (folder / "boxes.csv").write_text("\n".join(rows) + "\n")
    return pack_all(folder / "shards", lists=[folder / "boxes.csv"], crop_px=64, quality=98).manifest
