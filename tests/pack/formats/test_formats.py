"""Files of other tools, written by hand from their documentation, and what goes out and comes back."""

import json
from dataclasses import replace

import cv2
import numpy as np
import pytest

from tsal_dist.errors import ConfigError
from tsal_dist.pack.face import Entry, Face, build_face
from tsal_dist.pack.formats.deeplabcut import frame_of
from tsal_dist.pack.formats.formats import FORMATS, write_labels
from tsal_dist.pack.lists import read_list
from tsal_dist.records import Layout

LAYOUT = Layout(("nose", "left ear", "tail"))
JOINED = Layout(LAYOUT.names, ((0, 1), (0, 2)))


def entry(path, frame, points, visible, box=None, layout=LAYOUT):
    return Entry(str(path), frame, build_face(np.array(points, float), np.array(visible), box), layout=layout)


def spell(entries, root):
    """Entries as plain values; places to a thousandth of a pixel."""
    return [
        (
            one.path.removeprefix(f"{root}/"),
            one.frame,
            None if one.face.points_K2 is None else np.round(one.face.points_K2.astype(float), 3).tolist(),
            None if one.face.visible_K is None else one.face.visible_K.tolist(),
            None if one.face.box is None else tuple(np.round(one.face.box, 3).tolist()),
        )
        for one in entries
    ]


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_a_table_with_names(tmp_path):
    text = "path,frame,nose_x,nose_y,nose_v,left ear_x,left ear_y,tail_x,tail_y\nv.mp4,3,1.5,2,2,,,5,6\nv.mp4,4,,,,,,,\n"
    first, bare = read_list(write(tmp_path / "l.csv", text))
    assert first.layout == LAYOUT
    assert spell([first], tmp_path) == [("v.mp4", 2, [[1.5, 2], [0, 0], [5, 6]], [2, 0, 1], None)]
    assert bare.face.points_K2 is None


def test_a_table_with_semicolons(tmp_path):
    (one,) = read_list(write(tmp_path / "l.csv", "path;nose_x;nose_y\na.jpg;1.5;2\n"))
    assert one.face.points_K2.tolist() == [[1.5, 2]]


DLC = """scorer,me,me,me,me,me,me
bodyparts,nose,nose,left ear,left ear,tail,tail
coords,x,y,x,y,x,y
labeled-data/trial 1/img0007.png,1.5,2.25,,,5,6
labeled-data/trial 1/img0012.png,,,,,,
"""


def test_deeplabcuts_three_header_rows(tmp_path):
    labelled, bare = read_list(write(tmp_path / "CollectedData_me.csv", DLC))
    assert labelled.layout == LAYOUT
    assert spell([labelled], tmp_path) == [
        ("labeled-data/trial 1/img0007.png", None, [[1.5, 2.25], [0, 0], [5, 6]], [1, 0, 1], None)
    ]
    assert bare.face.points_K2 is None
    assert frame_of(labelled.path) == ("trial 1", 7)


def test_deeplabcuts_table_in_its_own_place_and_with_three_columns_of_path(tmp_path):
    picture = tmp_path / "labeled-data/trial/img1.png"
    text = "scorer,,,me,me\nbodyparts,,,nose,nose\ncoords,,,x,y\nlabeled-data,trial,img1.png,1,2\n"
    table = write(tmp_path / "labeled-data/trial/CollectedData_me.csv", text)
    picture.write_bytes(b"")
    (one,) = read_list(table)
    assert one.path == str(picture)


def test_lightning_poses_likelihood_is_no_landmark(tmp_path):
    text = "scorer,p,p,p\nbodyparts,nose,nose,nose\ncoords,x,y,likelihood\nlabeled-data/a/img3.png,1,2,0.9\n"
    (one,) = read_list(write(tmp_path / "p.csv", text))
    assert one.face.points_K2.tolist() == [[1, 2]]


def test_two_animals_of_deeplabcut_are_two_subjects(tmp_path):
    text = (
        "scorer,m,m,m,m\nindividuals,a,a,b,b\nbodyparts,nose,nose,nose,nose\ncoords,x,y,x,y\n"
        "labeled-data/v/img1.png,1,2,3,4\n"
    )
    found = read_list(write(tmp_path / "m.csv", text))
    assert [one.face.points_K2.tolist() for one in found] == [[[1, 2]], [[3, 4]]]
    assert [one.subject for one in found] == ["a", "b"]


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("scorer,me\nbodyparts,nose\n", "no `bodyparts` and `coords`"),
        ("scorer,me\nbodyparts,nose\ncoords,x\na.png,1\n", "an x and a y"),
        ("scorer,me,me\nbodyparts,nose,nose\ncoords,x,y\n", "names no picture"),
        ("scorer,me,me\nbodyparts,nose,nose\ncoords,x,y\na.png,one,2\n", "line 4"),
        ("scorer,me,me\nbodyparts,nose,nose\ncoords,x,y\na.png,1\n", "line 4"),
    ],
)
def test_a_broken_table_of_deeplabcut_is_refused(tmp_path, text, rule):
    with pytest.raises(ConfigError, match=rule):
        read_list(write(tmp_path / "d.csv", text))


def test_coco_names_its_keypoints_and_lines(tmp_path):
    page = {
        "images": [{"id": 3, "file_name": "a.jpg", "width": 64, "height": 48}],
        "annotations": [
            {
                "id": 1,
                "image_id": 3,
                "category_id": 9,
                "bbox": [1, 2, 30, 40],
                "keypoints": [1.5, 2, 2, 0, 0, 0, 5, 6, 1],
            }
        ],
        "categories": [
            {"id": 9, "name": "mouse", "keypoints": list(LAYOUT.names), "skeleton": [[1, 2], [1, 3]]}
        ],
    }
    (one,) = read_list(write(tmp_path / "c.json", json.dumps(page)))
    assert one.layout == JOINED
    assert spell([one], tmp_path) == [("a.jpg", None, [[1.5, 2], [0, 0], [5, 6]], [1, 0, 2], (1, 2, 31, 42))]


def test_a_skeleton_that_counts_from_0_is_found_out(tmp_path):
    page = {
        "images": [],
        "annotations": [],
        "categories": [{"id": 1, "keypoints": ["a", "b"], "skeleton": [[0, 1]]}],
    }
    with pytest.raises(ConfigError, match="counted from 1"):
        read_list(write(tmp_path / "c.json", json.dumps(page)))


LABEL_STUDIO = [
    {
        "id": 1,
        "data": {"img": "/data/local-files/?d=pictures/a.png"},
        "annotations": [
            {
                "result": [
                    {
                        "original_width": 64, "original_height": 48, "type": "keypointlabels",
                        "value": {"x": 25.0, "y": 50.0, "width": 0.4, "keypointlabels": ["nose"]},
                    },
                    {
                        "original_width": 64, "original_height": 48, "type": "rectanglelabels",
                        "value": {"x": 0, "y": 0, "width": 50, "height": 100, "rotation": 0, "rectanglelabels": ["m"]},
                    },
                ]
            }
        ],
    },
    {"id": 2, "data": {"img": "/data/upload/1/b.png"}, "annotations": []},
]  # fmt: skip


def test_label_studio_counts_in_percent_from_the_edge(tmp_path):
    (one,) = read_list(write(tmp_path / "ls.json", json.dumps(LABEL_STUDIO)))
    assert spell([one], tmp_path) == [("pictures/a.png", None, [[15.5, 23.5]], [1], (-0.5, -0.5, 31.5, 47.5))]


CVAT = """<?xml version="1.0" encoding="utf-8"?>
<annotations><version>1.1</version>
  <image id="0" name="a.png" width="64" height="48">
    <skeleton label="mouse" source="manual" z_order="0">
      <points label="nose" source="manual" outside="0" occluded="0" points="2.00,2.50"></points>
      <points label="left ear" source="manual" outside="1" occluded="0" points="0.00,0.00"></points>
      <points label="tail" source="manual" outside="0" occluded="1" points="5.50,6.50"></points>
    </skeleton>
  </image>
</annotations>
"""


def test_cvats_skeletons(tmp_path):
    (one,) = read_list(write(tmp_path / "c.xml", CVAT))
    assert one.layout == LAYOUT
    assert spell([one], tmp_path) == [("a.png", None, [[1.5, 2], [0, 0], [5, 6]], [1, 0, 2], None)]


def test_two_points_of_one_label_are_no_landmark(tmp_path):
    page = write(tmp_path / "c.xml", CVAT.replace("left ear", "nose"))
    with pytest.raises(ConfigError, match=r"c\.xml: a skeleton in 'a\.png' has 2 points 'nose'"):
        read_list(page)


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("<annotations><track id='0'/></annotations>", "CVAT for images"),
        ("<other/>", "outermost element"),
        ("<annotations>", "no element found"),
        ("<!DOCTYPE a [<!ENTITY b 'c'>]><annotations/>", "declares entities"),
        ("<annotations/>", "no skeleton and no box"),
    ],
)
def test_another_xml_is_refused(tmp_path, text, rule):
    with pytest.raises(ConfigError, match=rule):
        read_list(write(tmp_path / "c.xml", text))


def slp(path, format_id=1.2, kind=0, track=-1):
    """A labels file as SLEAP's documentation describes it: one frame of one video with one instance."""
    h5py = pytest.importorskip("h5py")
    edge = {"py/reduce": [{"py/type": "sleap.skeleton.EdgeType"}, {"py/tuple": [1]}]}
    symmetric = {"py/reduce": [{"py/type": "sleap.skeleton.EdgeType"}, {"py/tuple": [2]}]}
    about = {
        "version": "2.0.0",
        "nodes": [{"name": name, "weight": 1.0} for name in ("tail", "nose", "left ear")],
        "skeletons": [
            {
                "nodes": [{"id": 1}, {"id": 2}, {"id": 0}],
                "links": [
                    {"source": 1, "target": 2, "key": 0, "type": edge},
                    {"source": 1, "target": 0, "key": 0, "type": {"py/id": 1}},
                    {"source": 2, "target": 0, "key": 0, "type": symmetric},
                ],
            }
        ],
    }
    with h5py.File(path, "w") as file:
        group = file.create_group("metadata")
        group.attrs["format_id"] = format_id
        group.attrs["json"] = np.bytes_(json.dumps(about))
        file["videos_json"] = [np.bytes_(json.dumps({"backend": {"filename": "C:\\lab\\v.mp4"}}))]
        frames = [
            ("frame_id", "u8"),
            ("video", "u4"),
            ("frame_idx", "u8"),
            ("instance_id_start", "u8"),
            ("instance_id_end", "u8"),
        ]
        file["frames"] = np.array([(0, 0, 41, 0, 1)], frames)
        instances = [
            ("instance_id", "i8"), ("instance_type", "u1"), ("frame_id", "u8"), ("skeleton", "u4"), ("track", "i4"),
            ("from_predicted", "i8"), ("score", "f4"), ("point_id_start", "u8"), ("point_id_end", "u8"),
        ]  # fmt: skip
        file["instances"] = np.array([(0, kind, 0, 0, track, -1, 0, 0, 3)], instances)
        file["tracks_json"] = [np.bytes_(json.dumps([0, name])) for name in ("resident", "guest #2")]
        points = [("x", "f8"), ("y", "f8"), ("visible", "?"), ("complete", "?")]
        file["points"] = np.array(
            [(1.5, 2, True, True), (np.nan, np.nan, False, False), (5, 6, False, True)], points
        )
    return path


def test_sleaps_labels(tmp_path):
    (tmp_path / "v.mp4").write_bytes(b"")
    (one,) = read_list(slp(tmp_path / "l.slp"))
    assert one.layout == JOINED
    assert spell([one], tmp_path) == [("v.mp4", 41, [[1.5, 2], [0, 0], [5, 6]], [1, 0, 2], None)]


@pytest.mark.parametrize(("track", "subject"), [(-1, ""), (0, "resident"), (1, "guest _2")])
def test_a_track_of_sleap_is_a_subject(tmp_path, track, subject):
    (one,) = read_list(slp(tmp_path / "l.slp", track=track))
    assert one.subject == subject


def test_sleap_counted_from_the_edge_before_1_1(tmp_path):
    (one,) = read_list(slp(tmp_path / "l.slp", format_id=1.0))
    assert one.face.points_K2[0].tolist() == [1.0, 1.5]


def test_sleaps_predictions_are_no_labels(tmp_path):
    with pytest.raises(ConfigError, match="no instance that a person placed"):
        read_list(slp(tmp_path / "l.slp", kind=1))
    with pytest.raises(ConfigError, match="no labels file of SLEAP"):
        read_list(write(tmp_path / "text.slp", "nothing"))


# What each format can say: frames of videos, hidden points, boxes, a skeleton, who of several subjects it is.
CAN = {
    "csv": ("frames", "hidden", "box", "subjects"),
    "coco": ("frames", "hidden", "box", "skeleton"),
    "deeplabcut": ("subjects",),
    "label-studio": ("box",),
    "cvat": ("frames", "hidden", "box"),
    "sleap": ("frames", "hidden", "skeleton", "subjects"),
}
SUFFIX = {
    "csv": ".csv",
    "deeplabcut": ".csv",
    "coco": ".json",
    "label-studio": ".json",
    "cvat": ".xml",
    "sleap": ".slp",
}


@pytest.mark.parametrize("kind", sorted(FORMATS))
def test_what_goes_out_comes_back(tmp_path, kind):
    can = CAN[kind]
    if kind == "sleap":
        pytest.importorskip("h5py")
    cv2.imwrite(str(tmp_path / "a.png"), np.zeros((48, 64, 3), np.uint8))
    box = (1.0, 2.0, 31.5, 42.25) if "box" in can else None
    layout = JOINED if "skeleton" in can else LAYOUT
    hidden = 2 if "hidden" in can else 1
    entries = [entry(tmp_path / "a.png", None, [[1.5, 2.25], [9, 8], [5, 6]], [1, 1, hidden], box, layout)]
    if "frames" in can:
        entries.append(
            entry(tmp_path / "v.mp4", 11, [[1234.5, 2.25], [0, 0], [5, 6]], [1, 0, hidden], box, layout)
        )
    file = tmp_path / f"labels{SUFFIX[kind]}"
    write_labels(file, entries, kind)
    found = read_list(file)
    assert spell(found, tmp_path) == spell(entries, tmp_path)
    assert {one.layout for one in found} == {layout}


@pytest.mark.parametrize("kind", sorted(kind for kind in FORMATS if "subjects" in CAN[kind]))
def test_who_is_who_goes_out_and_comes_back(tmp_path, kind):
    """Of the second picture one subject is labelled, and of the third two that nothing tells apart."""
    if kind == "sleap":
        pytest.importorskip("h5py")
    entries = [
        replace(entry(tmp_path / f"{name}.png", None, [[x, 2], [9, 8], [5, 6]], [1, 1, 1]), subject=subject)
        for name, subject, x in (
            ("a", "one", 1),
            ("a", "", 2),
            ("b", "", 3),
            ("c", "one", 4),
            ("c", "one", 5),
        )
    ]
    file = tmp_path / f"labels{SUFFIX[kind]}"
    write_labels(file, entries, kind)
    found = read_list(file)
    told = [(one.subject, one.path, one.face.points_K2.tolist()) for one in found]
    assert told == [(one.subject, one.path, one.face.points_K2.tolist()) for one in entries]


def test_two_layouts_are_not_written_into_one_file(tmp_path):
    other = entry("b.png", None, [[1, 2]], [1], layout=Layout(("eye",)))
    with pytest.raises(ConfigError, match="one layout"):
        write_labels(tmp_path / "l.csv", [entry("a.png", None, [[1, 2]] * 3, [1] * 3), other], "csv")
    with pytest.raises(ConfigError, match="no format 'xls'"):
        write_labels(tmp_path / "l.xls", [Entry("a.png", None, Face())], "xls")


def test_the_tool_converts_and_never_overwrites(tmp_path, capsys):
    from tools.convert_labels import main
    from tsal_dist.cli import run_entry

    write(tmp_path / "d.csv", DLC)
    words = [str(tmp_path / "d.csv"), str(tmp_path / "out" / "l.json"), "--to", "coco"]
    assert run_entry(main, words) == 0
    assert "2 frames, 1 labelled" in capsys.readouterr().out
    found = read_list(tmp_path / "out" / "l.json")
    assert found[0].layout == LAYOUT
    assert run_entry(main, words) == 2
    assert "is not overwritten" in capsys.readouterr().err
