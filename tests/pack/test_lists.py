import json

import numpy as np
import pytest
from footage import POINTS_K2, pts_text

from tsal_dist.errors import ConfigError
from tsal_dist.pack.lists import read_list


def write(path, text):
    path.write_text(text)
    return path


def test_a_tsal_list(tmp_path):
    (tmp_path / "a.pts").write_text(pts_text())
    lines = "img/a.jpg a.pts 1 2 30 40\nimg/a.jpg a.pts 1 2 30 40\nb.jpg none 5 6 7 8 9.5\nv.avi#000003 None 1 2 3 4\n"
    first, still, frame = read_list(write(tmp_path / "list.txt", lines))
    assert first.path == str(tmp_path / "img/a.jpg")
    assert np.array_equal(first.face.points_K2, POINTS_K2)
    assert first.face.box == (1, 2, 30, 40)
    assert still.face.points_K2 is None
    assert still.face.face_px == 9.5
    assert (frame.path, frame.frame) == (str(tmp_path / "v.avi"), 2)
    assert first.frame is None


def test_an_annotation_written_on_windows_is_found_as_its_picture_is(tmp_path):
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes/a.pts").write_text(pts_text())
    (entry,) = read_list(write(tmp_path / "list.txt", "img\\a.jpg notes\\a.pts 1 2 30 40\n"))
    assert entry.path == str(tmp_path / "img/a.jpg")
    assert np.array_equal(entry.face.points_K2, POINTS_K2)


def test_a_broken_annotation_is_the_problem_of_its_line(tmp_path):
    (entry,) = read_list(write(tmp_path / "list.txt", "a.jpg a.pts 1 2 30 40\n"))
    assert "a.pts" in entry.problem
    assert entry.face.box == (1, 2, 30, 40)


def test_the_root_replaces_the_folder_of_the_list(tmp_path):
    (entry,) = read_list(write(tmp_path / "list.txt", "a.jpg None 1 2 30 40"), root=tmp_path / "data")
    assert entry.path == str(tmp_path / "data/a.jpg")


def test_a_wflw_row_keeps_its_attributes(tmp_path):
    numbers = " ".join(str(n) for n in range(196))
    (entry,) = read_list(write(tmp_path / "l.txt", f"{numbers} 1 2 300 400 1 0 0 0 1 0 37--Soccer/a.jpg\n"))
    assert entry.face.points_K2[97].tolist() == [194, 195]
    assert entry.face.box == (1, 2, 300, 400)
    assert entry.face.attributes == ("pose", "occlusion")
    assert entry.path.endswith("37--Soccer/a.jpg")


@pytest.mark.parametrize(
    ("line", "rule"),
    [
        ("a.jpg None 1 2 30", "5 fields"),
        ("a b.jpg None 1 2 30 40 5", "8 fields"),
        ("a.jpg None 10 20 5 5", "not x y width height"),
        ("a.jpg None 1 2 nan 5", "not x y width height"),
        ("a.jpg None 1 2 x 5", "'x' is not a number such as"),
        ("v.avi#000000 None 1 2 3 4", "counted from 1"),
        ("v.avi#9999999999 None 1 2 3 4", "counted from 1"),
        ("v.avi#\u00b2 None 1 2 3 4", "counted from 1"),
        ("a.jpg None 1_0 2 30 40", "'1_0' is not a number"),
        ("a.jpg None \u0663 2 30 40", "is not a number"),
        ("a.jpg None 1 2 30 40 nan", "face size nan"),
        ("a.jpg None 1 2 30 40 -5", "face size -5"),
        ("a\0.jpg None 1 2 30 40", "no path of a file"),
    ],
)
def test_a_wrong_line_is_refused_with_its_number(tmp_path, line, rule):
    with pytest.raises(ConfigError, match=rf"line 2: .*{rule}"):
        read_list(write(tmp_path / "list.txt", f"ok.jpg None 1 2 3 4\n{line}\n"))


def test_an_empty_or_missing_list_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="names no frame"):
        read_list(write(tmp_path / "list.txt", "\n"))
    with pytest.raises(ConfigError, match="does not exist"):
        read_list(tmp_path / "nothing.txt")


def test_coco_boxes_are_converted_and_hidden_points_are_kept(tmp_path):
    page = {
        "images": [{"id": 7, "file_name": "a.jpg"}],
        "annotations": [
            {"image_id": 7, "bbox": [10, 20, 5, 6], "keypoints": [1, 2, 2, 3, 4, 1, 0, 0, 0]},
            {"image_id": 7, "bbox": [1, 1, 2, 2], "keypoints": [0, 0, 0] * 3},
            {"image_id": 7, "bbox": [1, 1, 2, 2], "iscrowd": 1},
            {"image_id": 7, "bbox": [1, 1, 0, 2]},
        ],
    }
    labelled, bare, broken = read_list(write(tmp_path / "l.json", json.dumps(page)))
    assert labelled.face.box == (10, 20, 15, 26)
    assert labelled.face.visible_K.tolist() == [1, 2, 0]
    assert labelled.face.points_K2.tolist() == [[1, 2], [3, 4], [0, 0]]
    assert bare.face.points_K2 is None
    assert "no area" in broken.problem


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"images": [], "annotations": [{"image_id": 1}]}'])
def test_what_is_no_coco_file_is_refused(tmp_path, text):
    with pytest.raises(ConfigError, match="not a COCO"):
        read_list(write(tmp_path / "l.json", text))


def test_csv_boxes_are_what_their_names_say(tmp_path):
    (corners,) = read_list(write(tmp_path / "a.csv", "path,x1,y1,x2,y2\na.jpg,1,2,30,40\n"))
    (sides,) = read_list(write(tmp_path / "b.csv", "path,frame,x,y,w,h\nv.mp4,5,1,2,30,40\n"))
    assert corners.face.box == (1, 2, 30, 40)
    assert sides.face.box == (1, 2, 31, 42)
    assert sides.frame == 4


def test_csv_landmarks(tmp_path):
    text = "path,face_px,p0x,p0y,p0v,p1x,p1y,p1v\na.jpg,12,1,2,1,3,4,0\nb.jpg,,,,,,,\n"
    labelled, bare = read_list(write(tmp_path / "a.csv", text))
    assert labelled.face.points_K2.tolist() == [[1, 2], [0, 0]]
    assert labelled.face.visible_K.tolist() == [1, 0]
    assert labelled.face.face_px == 12
    assert bare.face.points_K2 is None


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("a.jpg,1,2,30,40\n", "never guessed"),
        ("path,a,b,c,d\na.jpg,1,2,3,4\n", "never guessed"),
        ("path,x1,y1,x2,y2\na.jpg,10,10,5,5\n", "line 2"),
        ("path,x1,y1,x2,y2\na.jpg,10,10,5\n", "line 2"),
        ("path,frame,x1,y1,x2,y2\na.avi,0,1,1,5,5\n", "counted from 1"),
        ("", "never guessed"),
    ],
)
def test_a_csv_that_leaves_room_for_a_guess_is_refused(tmp_path, text, rule):
    with pytest.raises(ConfigError, match=rule):
        read_list(write(tmp_path / "a.csv", text))


def test_a_list_in_another_encoding_is_refused(tmp_path):
    (tmp_path / "list.txt").write_bytes(b"\xff\xfe None 1 2 30 40")
    with pytest.raises(ConfigError, match=r"list\.txt cannot be read as text"):
        read_list(tmp_path / "list.txt")


def test_a_table_that_excel_has_saved_is_read(tmp_path):
    (entry,) = read_list(write(tmp_path / "l.csv", "\ufeffpath,x1,y1,x2,y2\na.jpg,1,2,30,40\n"))
    assert entry.face.box == (1, 2, 30, 40)


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("path,x1,y1,x2,y2\na.jpg,1,2,30\n", "line 2: it has not as many fields"),
        ("path,x1,y1,x2,y2\na.jpg,1,2,30,40,50\n", "line 2: it has not as many fields"),
        ("path,x1,y1,x2,y2\n", "names no frame"),
        ("path,x1,y1,x2,y2,x1\na.jpg,1,2,30,40,5\n", "names a column twice"),
        ("path,p0x,p0y,p0v\na.jpg,1,2,3\n", "none of 0"),
        ("path,p0x,p0y,p0v\na.jpg,1,2,300\n", "none of 0"),
        ("path,p0x,p0y\na.jpg,1e300,2\n", "not a finite number"),
        ("path,p0x,p0y,p2x,p2y\na.jpg,1,2,3,4\n", "no column 'p1x'"),
        ("path,x1,y1,x2,y2\n,1,2,30,40\n", "no path of a file"),
    ],
)
def test_a_wrong_table_is_refused_with_its_line(tmp_path, text, rule):
    with pytest.raises(ConfigError, match=rule):
        read_list(write(tmp_path / "l.csv", text))


@pytest.mark.parametrize(
    "keypoints", [[1, 2, -1], [1, 2, 3], [1, 2, "x"], [1, 2], [[1]], {"a": 1}, [10**400, 2, 2]]
)
def test_wrong_keypoints_are_refused(tmp_path, keypoints):
    page = {
        "images": [{"id": 1, "file_name": "a.jpg"}],
        "annotations": [{"image_id": 1, "keypoints": keypoints}],
    }
    with pytest.raises(ConfigError, match="not a COCO keypoints file"):
        read_list(write(tmp_path / "l.json", json.dumps(page)))


@pytest.mark.parametrize(
    "text", ["[" * 100_000, '{"images": [], "annotations": [5]}', "[1]", '{"images": NaN}']
)
def test_json_that_is_no_coco_file_is_refused(tmp_path, text):
    with pytest.raises(ConfigError, match=r"l\.json is not a COCO keypoints file"):
        read_list(write(tmp_path / "l.json", text))
