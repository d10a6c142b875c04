"""Pictures with several subjects, or with things beside them: nobody gets the points or the box of another."""

import json

import pytest

from tsal_dist.errors import ConfigError
from tsal_dist.pack.lists import read_list


def spot(name, x):
    value = {"x": x, "y": 50.0, "width": 0.4, "keypointlabels": [name]}
    return {"original_width": 100, "original_height": 100, "type": "keypointlabels", "value": value}


def rectangle(x):
    value = {"x": x, "y": 10.0, "width": 20, "height": 80, "rotation": 0, "rectanglelabels": ["m"]}
    return {"original_width": 100, "original_height": 100, "type": "rectanglelabels", "value": value}


def label_studio(folder, *annotations):
    (folder / "ls.json").write_text(
        json.dumps([{"data": {"img": "/data/local-files/?d=a.png"}, "annotations": list(annotations)}])
    )
    return folder / "ls.json"


@pytest.mark.parametrize(
    ("result", "what"),
    [
        ([spot("nose", 10), spot("tail", 20), spot("nose", 60)], "2 key points 'nose'"),
        ([spot("nose", 10), rectangle(5), rectangle(50)], "2 rectangles"),
    ],
)
def test_two_subjects_in_a_task_of_label_studio_are_refused(tmp_path, result, what):
    with pytest.raises(
        ConfigError, match=rf"ls\.json has {what} in the task of a\.png.*one subject.*Leave one"
    ):
        read_list(label_studio(tmp_path, {"result": result}))


def test_what_was_cancelled_in_label_studio_is_no_label(tmp_path):
    kept, cancelled = {"result": [spot("nose", 10)]}, {"result": [spot("nose", 90)], "was_cancelled": True}
    (one,) = read_list(label_studio(tmp_path, kept, cancelled))
    assert one.face.points_K2.tolist() == [[9.5, 49.5]]
    with pytest.raises(ConfigError, match="no annotated task"):
        read_list(label_studio(tmp_path, cancelled))


def cvat(folder, boxes, skeletons):
    shapes = [
        f'<box label="m" xtl="{x1}" ytl="{y1}" xbr="{x2}" ybr="{y2}"></box>' for x1, y1, x2, y2 in boxes
    ]
    for marks in skeletons:
        points = [
            f'<points label="{name}" outside="{int(mark is None)}" occluded="0" points="{mark or "0,0"}"></points>'
            for name, mark in zip(("nose", "tail"), marks, strict=True)
        ]
        shapes.append(f'<skeleton label="m">{"".join(points)}</skeleton>')
    (folder / "c.xml").write_text(
        f'<annotations><image id="0" name="a.png">{"".join(shapes)}</image></annotations>'
    )
    return folder / "c.xml"


LEFT, MIDDLE, RIGHT = (0.5, 0.5, 20.5, 20.5), (15.5, 0.5, 45.5, 20.5), (40.5, 0.5, 60.5, 20.5)


@pytest.mark.parametrize(
    ("boxes", "skeletons", "own"),
    [
        ([LEFT, RIGHT], [("50,5", "55,5"), ("5,5", "10,5")], [40, 0]),
        ([LEFT, RIGHT], [("5,5", "10,5"), ("50,5", "55,5")], [0, 40]),
        ([LEFT, MIDDLE, RIGHT], [("30,5", "18,5"), ("50,5", None), ("17,5", "5,5")], [15, 40, 0]),
        ([LEFT, MIDDLE], [("17,5", "18,5"), ("5,5", "17,5")], [15, 0]),
        ([LEFT, RIGHT], [(None, None), ("5,5", "10,5")], [40, 0]),
        ([LEFT], [("5,5", "10,5")], [0]),
        ([LEFT], [("5,5", "10,5"), ("50,5", "55,5")], [None, None]),
    ],
)
def test_a_skeleton_of_cvat_has_the_box_that_its_points_lie_in(tmp_path, boxes, skeletons, own):
    found = [one.face.box for one in read_list(cvat(tmp_path, boxes, skeletons))]
    assert [box and box[0] for box in found] == own


def coco(folder, categories, annotations):
    page = {
        "images": [{"id": 1, "file_name": "a.jpg"}],
        "categories": categories,
        "annotations": [{"image_id": 1, "bbox": [1, 2, 30, 40], **one} for one in annotations],
    }
    (folder / "c.json").write_text(json.dumps(page))
    return folder / "c.json"


MOUSE, CAGE = {"id": 1, "name": "mouse", "keypoints": ["nose"]}, {"id": 2, "name": "cage"}


def test_things_beside_the_subjects_of_coco_are_left_out(tmp_path):
    annotations = [{"category_id": 2}, {"category_id": 1, "keypoints": [5, 6, 2]}, {"category_id": 1}]
    found = read_list(coco(tmp_path, [MOUSE, CAGE], annotations))
    assert [one.face.points_K2 is not None for one in found] == [True, False], (
        "a subject without points is one"
    )
    with pytest.raises(ConfigError, match="categories without keypoints"):
        read_list(coco(tmp_path, [MOUSE, CAGE], [{"category_id": 2}]))


def test_where_no_category_of_coco_has_keypoints_all_are_subjects(tmp_path):
    assert len(read_list(coco(tmp_path, [CAGE], [{"category_id": 2}, {"category_id": 2}]))) == 2
