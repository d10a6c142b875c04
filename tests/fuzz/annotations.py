"""Targets: what people and data sets bring, as text. A wrong digit cannot be noticed there; a wrong structure must be."""

import json
import math
from pathlib import Path

import numpy as np

from tests.fuzz.target import Target
from tsal_dist.pack.lists import read_list
from tsal_dist.pack.points import load_pts

NAMES = ("pts", "aflw pts", "list", "wflw list", "csv", "boxes", "coco")
PTS = b"version: 1\nn_points:  3\n{\n10.5 20.25\n30 40\n50.125 60\n}\n"
ROWS = b"1 10.5 20.25 True\n3 50.125 60 True\n"
LIST = b"img/a.jpg None 1 2 30 40\nv.avi#000003 a.pts 1 2 30 40.5 33\n\nimg/b.jpg none 5 6 7 8 9.5\n"
WFLW = b" ".join(b"%d" % n for n in range(196)) + b" 1 2 300 400 1 0 0 0 1 0 37--Soccer/a.jpg\n"
CSV = (
    b"path,frame,x1,y1,x2,y2,face_px,p0x,p0y,p0v,p1x,p1y,p1v\n"
    b"a.avi,1,1,2,30,40,25,10.5,20.25,1,30,40,2\n"
    b'"b,c.avi",2,1,2,30,40,,0,0,0,30,40,1\n'
    b"d.avi,3,1,2,30,40,,,,,,,\n"
)
BOXES = b"path,frame,x,y,w,h\na.avi,,1,2,29,38\nb.avi,7,1.5,2,10,10\n"
COCO = json.dumps(
    {
        "images": [{"id": 7, "file_name": "a.jpg"}, {"id": 8, "file_name": "b.jpg"}],
        "annotations": [
            {"image_id": 7, "bbox": [1, 2, 29, 38], "keypoints": [10.5, 20.25, 2, 30, 40, 1, 0, 0, 0]},
            {"image_id": 8, "bbox": [1, 2, 29, 38], "keypoints": [0, 0, 0, 0, 0, 0, 0, 0, 0]},
            {"image_id": 8, "iscrowd": 1},
        ],
    }
).encode()


def targets(folder: Path) -> list[Target]:
    (folder / "a.pts").write_bytes(PTS)
    box = (1.0, 2.0, 30.0, 40.0)
    points = [[9.5, 19.25], [29.0, 39.0], [49.125, 59.0]]  # these files count pixels from 1
    face = (points, [1, 1, 1], None, None, ())
    listed = [
        ("img/a.jpg", None, (None, None, box, None, ()), ""),
        ("v.avi", 2, (points, [1, 1, 1], (1.0, 2.0, 30.0, 40.5), 33.0, ()), ""),
        ("img/b.jpg", None, (None, None, (5.0, 6.0, 7.0, 8.0), 9.5, ()), ""),
    ]
    wflw = ([[2.0 * n, 2.0 * n + 1] for n in range(98)], [1] * 98, (1.0, 2.0, 300.0, 400.0), None)
    table = [
        ("a.avi", 0, ([[10.5, 20.25], [30.0, 40.0]], [1, 2], box, 25.0, ()), ""),
        ("b,c.avi", 1, ([[0.0, 0.0], [30.0, 40.0]], [0, 1], box, None, ()), ""),
        ("d.avi", 2, (None, None, box, None, ()), ""),
    ]
    boxes = [
        ("a.avi", None, (None, None, box, None, ()), ""),
        ("b.avi", 6, (None, None, (1.5, 2.0, 11.5, 12.0), None, ()), ""),
    ]
    coco = [
        ("a.jpg", None, ([[10.5, 20.25], [30.0, 40.0], [0.0, 0.0]], [1, 2, 0], box, None, ()), ""),
        ("b.jpg", None, (None, None, box, None, ()), ""),
    ]
    sparse = ([[10.5, 20.25], [0.0, 0.0], [50.125, 60.0]], [1, 0, 1], None, None, ())
    return [
        Target("pts", PTS, face, _pts(folder / "one.pts"), "one.pts", check=_check_face),
        Target("aflw pts", ROWS, sparse, _pts(folder / "rows.pts", 3), "rows.pts", check=_check_face),
        Target("list", LIST, listed, _list(folder / "faces.lst"), "faces.lst", check=_check_entries),
        Target(
            "wflw list",
            WFLW,
            [("37--Soccer/a.jpg", None, (*wflw, ("pose", "occlusion")), "")],
            _list(folder / "wflw.txt"),
            "wflw.txt",
            check=_check_entries,
        ),
        Target("csv", CSV, table, _list(folder / "faces.csv"), "faces.csv", check=_check_entries),
        Target("boxes", BOXES, boxes, _list(folder / "boxes.csv"), "boxes.csv", check=_check_entries),
        Target("coco", COCO, coco, _list(folder / "coco.json"), "coco.json", check=_check_entries),
    ]


def _pts(path, points=19):
    def parse(data):
        path.write_bytes(data)
        return _plain(load_pts(path, points))

    return parse


def _list(path):
    def parse(data):
        path.write_bytes(data)
        return [
            (one.path.removeprefix(f"{path.parent}/"), one.frame, _plain(one.face), one.problem)
            for one in read_list(path, points=3)
        ]

    return parse


def _plain(face):
    points = None if face.points_K2 is None else face.points_K2.tolist()
    visible = None if face.visible_K is None else face.visible_K.tolist()
    return points, visible, face.box, face.face_px, face.attributes


def _check_face(face):
    points, visible, box, face_px, _ = face
    assert (points is None) == (visible is None)
    if points is not None:
        assert np.isfinite(points).all()
        assert np.shape(points) == (len(visible), 2)
        assert set(visible) <= {0, 1, 2}
        assert all(point == [0, 0] for point, seen in zip(points, visible, strict=True) if not seen)
    if box is not None:
        assert all(math.isfinite(side) for side in box)
        assert box[0] < box[2]
        assert box[1] < box[3]
    assert face_px is None or 0 < face_px < math.inf, face_px


def _check_entries(entries):
    assert entries, "a list that names nothing is refused"
    for path, frame, face, _ in entries:
        assert path
        assert "\0" not in path, "no file has such a name"
        assert frame is None or 0 <= frame < 2**31, "the frame table holds 32 bits"
        _check_face(face)
