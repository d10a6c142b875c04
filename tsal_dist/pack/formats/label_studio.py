"""Label Studio's JSON export: tasks with key points and rectangles in percent of the picture.

Percent are counted from the picture's edge and our pixels from the first pixel's centre, half a pixel apart. Key points
carry no visibility: all are visible. Each key point's label is its name; the order is that of first appearance. Nothing
says which points and rectangles belong together, so that a task holds one subject or is refused.
"""

import json
import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote, unquote, urlsplit

import numpy as np

from tsal_dist.errors import ConfigError, DataError
from tsal_dist.pack.face import Entry, Face, build_face, check_box, place_file
from tsal_dist.pack.picture_file import load_image
from tsal_dist.records import Layout


def read_label_studio(path: Path, root: Path) -> list[Entry]:
    """One entry per annotated task; of several annotations of one task the last one counts that was not cancelled."""
    try:
        tasks = json.loads(path.read_bytes())
        done = [(task, kept[-1]["result"]) for task in tasks if (kept := _submitted(task))]
        names = tuple(
            dict.fromkeys(
                one["value"]["keypointlabels"][0] for _, result in done for one in _of(result, "keypoint")
            )
        )
        for task, result in done:
            _check_one_subject(path, task, result)
        entries = [_entry(task, result, root, Layout(names)) for task, result in done]
    except (OSError, ValueError, LookupError, TypeError, AttributeError, DataError, RecursionError) as error:
        raise ConfigError(
            f"{path} is not a JSON export of Label Studio: {type(error).__name__}: {error}."
        ) from error
    if not entries:
        raise ConfigError(
            f"{path} holds no annotated task. Export `JSON`, not `JSON-MIN`, with annotated tasks."
        )
    return entries


def _submitted(task: dict[str, Any]) -> list[dict[str, Any]]:
    """A skipped task keeps what was in it as a cancelled annotation, which nobody stands for."""
    return [one for one in task.get("annotations") or () if not one.get("was_cancelled")]


def _check_one_subject(path: Path, task: dict[str, Any], result: Sequence[dict[str, Any]]) -> None:
    """Points of two subjects would become one that is half of each."""
    names = Counter(one["value"]["keypointlabels"][0] for one in _of(result, "keypoint"))
    what = [f"{times} key points {name!r}" for name, times in names.items() if times > 1]
    boxes = len(_of(result, "rectangle"))
    if boxes > 1:
        what.append(f"{boxes} rectangles")
    if what:
        raise ConfigError(
            f"{path} has {what[0]} in the task of {_file_name(task['data'])}, and a task holds one subject, since nothing tells "
            "several apart. Leave one of them, or label several subjects in CVAT, SLEAP or DeepLabCut."
        )


def _of(result: Sequence[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    return [one for one in result if one.get("type") in (kind, f"{kind}labels")]


def _entry(task: dict[str, Any], result: Sequence[dict[str, Any]], root: Path, layout: Layout) -> Entry:
    file = place_file(root, _file_name(task["data"]))
    place = {name: k for k, name in enumerate(layout.names)}
    points_K2, visible_K = np.zeros((len(place), 2)), np.zeros(len(place), np.uint8)
    for one in _of(result, "keypoint"):
        k = place[one["value"]["keypointlabels"][0]]
        points_K2[k] = _pixels(one, one["value"]["x"], one["value"]["y"])
        visible_K[k] = 1
    box = None
    for one in _of(result, "rectangle"):
        value = one["value"]
        low = _pixels(one, value["x"], value["y"])
        high = _pixels(one, value["x"] + value["width"], value["y"] + value["height"])
        box = check_box((low[0], low[1], high[0], high[1]))
    if not visible_K.any():
        return Entry(file, None, Face(box=box), layout=layout)
    return Entry(file, None, build_face(points_K2, visible_K, box), layout=layout)


def _file_name(data: dict[str, Any]) -> str:
    """The picture of a task, without the prefixes that its server puts before it."""
    address = next((str(data[name]) for name in ("image", "img", "picture") if name in data), None)
    if address is None:
        raise DataError(f"a task has {', '.join(data)}, and no picture as image, img or picture")
    parts = urlsplit(address)
    local = parse_qs(parts.query).get("d")
    if local:
        return local[0]
    name = unquote(parts.path).lstrip("/")
    return name.removeprefix("data/upload/") if parts.path.startswith("/data/upload/") else name


def _pixels(one: dict[str, Any], x: float, y: float) -> tuple[float, float]:
    return x / 100 * one["original_width"] - 0.5, y / 100 * one["original_height"] - 0.5


def write_label_studio(path: Path, entries: Sequence[Entry], points: int, layout: Layout) -> None:
    """Tasks with pre-annotations that its import takes. Pictures are opened for their size, from the file's folder."""
    names = layout.names_of(points)
    tasks = []
    for entry in entries:
        if entry.frame is not None:
            raise ConfigError(
                f"{entry.path} is a video, and Label Studio's key points lie on pictures. Extract its frames first."
            )
        picture = load_image(os.path.abspath(path.parent / entry.path))
        if picture is None:
            raise ConfigError(f"{entry.path} cannot be opened, and its size is needed to count in percent.")
        height, width = picture.shape[:2]
        size = {"original_width": width, "original_height": height, "from_name": "points", "to_name": "image"}
        result = []
        for k, seen in enumerate([] if entry.face.visible_K is None else entry.face.visible_K.tolist()):
            if seen and entry.face.points_K2 is not None:
                x, y = entry.face.points_K2[k].tolist()
                spot = {"x": 100 * (x + 0.5) / width, "y": 100 * (y + 0.5) / height, "width": 0.5}
                result.append(
                    {**size, "type": "keypointlabels", "value": {**spot, "keypointlabels": [names[k]]}}
                )
        if entry.face.box is not None:
            x1, y1, x2, y2 = entry.face.box
            area = {"x": 100 * (x1 + 0.5) / width, "y": 100 * (y1 + 0.5) / height, "rotation": 0}
            area |= {"width": 100 * (x2 - x1) / width, "height": 100 * (y2 - y1) / height}
            label = {**size, "from_name": "boxes", "type": "rectanglelabels"}
            result.append({**label, "value": {**area, "rectanglelabels": ["subject"]}})
        tasks.append(
            {
                "data": {"image": f"/data/local-files/?d={quote(entry.path)}"},
                "annotations": [{"result": result}],
            }
        )
    path.write_text(json.dumps(tasks))
