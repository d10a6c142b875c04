"""CVAT's XML, in its dialect "CVAT for images 1.1": skeletons of named points, and boxes, in pictures.

CVAT counts from the picture's edge and we from the first pixel's centre, half a pixel apart. `outside` is a point
without a place and `occluded` a hidden one.
"""

import xml.etree.ElementTree as ElementTree
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import numpy as np

from tsal_dist.errors import ConfigError, DataError
from tsal_dist.pack.face import (
    HIDDEN,
    Box,
    Entry,
    Face,
    build_face,
    check_box,
    parse_number,
    place_file,
    split_frame,
)
from tsal_dist.records import Layout

_BOX, _SKELETON = "box", "skeleton"


def read_cvat(path: Path, root: Path) -> list[Entry]:
    """One entry per skeleton, with a box where there are as many; a picture that has boxes alone gives one per box."""
    try:
        text = path.read_text(encoding="utf-8-sig")
        if "<!DOCTYPE" in text or "<!ENTITY" in text:
            raise DataError("it declares entities, which an export never does")
        page = ElementTree.fromstring(text)
        if page.tag != "annotations":
            raise DataError(f"its outermost element is <{page.tag}> and not <annotations>")
        if page.find("track") is not None:
            raise DataError("it holds tracks of a video: export it as `CVAT for images 1.1`")
        names = tuple(
            dict.fromkeys(str(point.get("label")) for point in page.iterfind(f"image/{_SKELETON}/points"))
        )
        entries = [
            entry for image in page.iterfind("image") for entry in _entries(image, root, Layout(names))
        ]
    except (OSError, ValueError, DataError, ElementTree.ParseError) as error:
        raise ConfigError(f"{path} is not an export of CVAT: {error}.") from error
    if not entries:
        raise ConfigError(f"{path} holds no skeleton and no box.")
    _refuse_twice(path, page)
    return entries


def _refuse_twice(path: Path, page: ElementTree.Element) -> None:
    for image in page.iterfind("image"):
        for skeleton in image.iterfind(_SKELETON):
            counts = Counter(str(point.get("label")) for point in skeleton.iterfind("points"))
            for label, count in counts.items():
                if count > 1:
                    raise ConfigError(
                        f"{path}: a skeleton in {image.get('name', '')!r} has {count} points {label!r}, and one landmark has "
                        f"one place. Give each point of the skeleton a label of its own."
                    )


def _entries(image: ElementTree.Element, root: Path, layout: Layout) -> list[Entry]:
    name, frame = split_frame(image.get("name", ""))
    file = place_file(root, name)
    boxes = [_box(one) for one in image.iterfind(_BOX)]
    skeletons = list(image.iterfind(_SKELETON))
    if not skeletons:
        return [Entry(file, frame, Face(box=box), layout=layout) for box in boxes]
    faces = [_face(one, layout) for one in skeletons]
    if len(boxes) == len(faces):
        own = _whose(boxes, faces)
        faces = [replace(face, box=box) for face, box in zip(faces, own, strict=True)]
    return [Entry(file, frame, face, layout=layout) for face in faces]


def _whose(boxes: Sequence[Box], faces: Sequence[Face]) -> list[Box]:
    """Each skeleton's box: two of them change places for as long as more points come to lie in their own box. Their order
    in the file says nothing: each kind of shape is in the order in which it was drawn."""
    own, again = list(boxes), True
    while again:
        again = False
        for one, other in combinations(range(len(faces)), 2):
            as_they_are = _held(faces[one], own[one]) + _held(faces[other], own[other])
            changed = _held(faces[one], own[other]) + _held(faces[other], own[one])
            if changed > as_they_are:
                own[one], own[other], again = own[other], own[one], True
    return own


def _held(face: Face, box: Box) -> int:
    """How many of the placed points lie in the box."""
    if face.points_K2 is None or face.visible_K is None:
        return 0
    placed_K2 = face.points_K2[face.visible_K > 0]
    return int(((placed_K2 >= box[:2]) & (placed_K2 <= box[2:])).all(1).sum())


def _box(element: ElementTree.Element) -> Box:
    x1, y1, x2, y2 = (parse_number(element.get(name, "")) - 0.5 for name in ("xtl", "ytl", "xbr", "ybr"))
    return check_box((x1, y1, x2, y2))


def _face(skeleton: ElementTree.Element, layout: Layout) -> Face:
    place = {name: k for k, name in enumerate(layout.names)}
    points_K2, visible_K = np.zeros((len(place), 2)), np.zeros(len(place), np.uint8)
    for point in skeleton.iterfind("points"):
        if point.get("outside") == "1":
            continue
        k = place[str(point.get("label"))]
        x, _, y = point.get("points", "").partition(",")
        points_K2[k] = parse_number(x) - 0.5, parse_number(y) - 0.5
        visible_K[k] = HIDDEN if point.get("occluded") == "1" else 1
    return build_face(points_K2, visible_K) if visible_K.any() else Face()


def write_cvat(path: Path, entries: Sequence[Entry], points: int, layout: Layout) -> None:
    """One image element per picture, or per frame, whose name is then `<video file>#<frame>`."""
    names = layout.names_of(points)
    page = ElementTree.Element("annotations")
    ElementTree.SubElement(page, "version").text = "1.1"
    images: dict[str, ElementTree.Element] = {}
    for entry in entries:
        name = entry.path if entry.frame is None else f"{entry.path}#{entry.frame + 1:06d}"
        if name not in images:
            images[name] = ElementTree.SubElement(page, "image", id=str(len(images)), name=name)
        if entry.face.box is not None:
            corners = zip(("xtl", "ytl", "xbr", "ybr"), entry.face.box, strict=True)
            spelt = {corner: f"{value + 0.5:.3f}" for corner, value in corners}
            ElementTree.SubElement(images[name], _BOX, {"label": "subject", "occluded": "0", **spelt})
        if entry.face.points_K2 is not None and entry.face.visible_K is not None:
            skeleton = ElementTree.SubElement(images[name], _SKELETON, label="subject")
            for k, ((x, y), seen) in enumerate(
                zip(entry.face.points_K2.tolist(), entry.face.visible_K.tolist(), strict=True)
            ):
                marks = {"outside": str(int(not seen)), "occluded": str(int(seen == HIDDEN))}
                spot = f"{x + 0.5:.3f},{y + 0.5:.3f}"
                ElementTree.SubElement(skeleton, "points", {"label": names[k], **marks, "points": spot})
    ElementTree.indent(page)
    ElementTree.ElementTree(page).write(path, encoding="utf-8", xml_declaration=True)
