"""COCO keypoints JSON. Its `bbox` is x y width height by its specification, its visibility 1 is hidden and 2 visible.

The category names the landmarks and, counted from 1, the lines between them. A frame of a video, which COCO does not
know, has the file name `<video file>#<frame>`, as in lists.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tsal_dist.errors import ConfigError, DataError
from tsal_dist.json_object import read_object
from tsal_dist.pack.face import HIDDEN, Entry, Face, build_face, place_file, split_frame
from tsal_dist.pack.formats.table import box_from_xywh
from tsal_dist.records import Layout

_TO_OURS = np.array([0, HIDDEN, 1], np.uint8)


def read_coco(path: Path, root: Path) -> list[Entry]:
    """Every annotation with placed keypoints or a box; crowds are left out, and, where some category has keypoints,
    those of the others: they are things beside the subjects."""
    try:
        page = read_object(path.read_bytes())
        files = _files(page["images"])
        layouts = {one["id"]: _layout(one) for one in page.get("categories", ()) if one.get("keypoints")}
        things = {one["id"] for one in page.get("categories", ())} - set(layouts) if layouts else set()
        used = [
            one
            for one in page["annotations"]
            if not one.get("iscrowd") and one.get("category_id") not in things
        ]
        entries = [
            _entry(one, root, _file_of(one, files), layouts.get(one.get("category_id"), Layout()))
            for one in used
        ]
    except (OSError, ValueError, OverflowError, LookupError, TypeError, AttributeError, DataError) as error:
        raise ConfigError(f"{path} is not a COCO keypoints file: {type(error).__name__}: {error}.") from error
    if not entries:
        raise ConfigError(
            f"{path} names no subject that could be used: it has no annotation but of crowds, or of categories without "
            "keypoints beside others that have some. Annotate a subject."
        )
    return entries


def _files(images: Sequence[Mapping[str, Any]]) -> dict[Any, str]:
    """The file of each id. Where two have one, as in files that were put together, nobody knows whose labels are whose."""
    files: dict[Any, str] = {}
    for image in images:
        if files.setdefault(image["id"], image["file_name"]) != image["file_name"]:
            raise DataError(f"two images have the id {image['id']}. Number them anew, and their annotations")
    return files


def _file_of(annotation: Mapping[str, Any], files: Mapping[Any, str]) -> str:
    if annotation["image_id"] not in files:
        raise DataError(f"an annotation is of image {annotation['image_id']}, which is not among the images")
    return files[annotation["image_id"]]


def _layout(category: Mapping[str, Any]) -> Layout:
    names = tuple(str(name) for name in category["keypoints"])
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise DataError(f"two keypoints are called {twice!r}. Give each a name of its own")
    pairs = tuple((int(a) - 1, int(b) - 1) for a, b in category.get("skeleton") or ())
    if any(not 0 <= end < len(names) for pair in pairs for end in pair):
        raise DataError(f"a line of the skeleton ends at none of the {len(names)} keypoints, counted from 1")
    return Layout(names, pairs)


def _entry(annotation: Mapping[str, Any], root: Path, file: str, layout: Layout) -> Entry:
    name, frame = split_frame(file)
    where = place_file(root, name)
    try:
        box = box_from_xywh(*annotation["bbox"]) if annotation.get("bbox") else None
    except DataError as error:
        return Entry(where, frame, Face(), str(error), layout)
    triples_K3 = np.array(annotation.get("keypoints", ()), np.float64).reshape(-1, 3)
    if not np.isin(triples_K3[:, 2], (0, 1, 2)).all():
        raise DataError("a visibility is none of 0 (not labelled), 1 (hidden) and 2 (visible)")
    if layout.names and len(triples_K3) not in (0, len(layout.names)):
        raise DataError(
            f"an annotation of {file} has {len(triples_K3)} keypoints, and its category {len(layout.names)}"
        )
    visible_K = _TO_OURS[triples_K3[:, 2].astype(int)]
    if not visible_K.any():
        return Entry(where, frame, Face(box=box), layout=layout)
    return Entry(where, frame, build_face(triples_K3[:, :2], visible_K, box), layout=layout)


def write_coco(path: Path, entries: Sequence[Entry], points: int, layout: Layout) -> None:
    """One image per file and frame, one annotation per entry."""
    keys = list(dict.fromkeys((entry.path, entry.frame) for entry in entries))
    number = {key: place for place, key in enumerate(keys, 1)}
    page = {
        "images": [
            {"id": number[key], "file_name": key[0] if key[1] is None else f"{key[0]}#{key[1] + 1:06d}"}
            for key in keys
        ],
        "annotations": [
            {
                "id": place,
                "image_id": number[entry.path, entry.frame],
                "category_id": 1,
                "iscrowd": 0,
                **_spell(entry),
            }
            for place, entry in enumerate(entries, 1)
        ],
        "categories": [
            {
                "id": 1,
                "name": "subject",
                "keypoints": list(layout.names_of(points)),
                "skeleton": [[a + 1, b + 1] for a, b in layout.skeleton],
            }
        ],
    }
    path.write_text(json.dumps(page))


def _spell(entry: Entry) -> dict[str, Any]:
    face = entry.face
    found: dict[str, Any] = {}
    if face.box is not None:
        x1, y1, x2, y2 = face.box
        found["bbox"] = [x1, y1, x2 - x1, y2 - y1]
    if face.points_K2 is not None and face.visible_K is not None:
        theirs = [(0, 2, 1)[seen] for seen in face.visible_K.tolist()]
        found["keypoints"] = [
            value for (x, y), v in zip(face.points_K2.tolist(), theirs, strict=True) for value in (x, y, v)
        ]
        found["num_keypoints"] = sum(v > 0 for v in theirs)
    return found
