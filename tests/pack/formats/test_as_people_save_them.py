"""Tables as spreadsheets, other machines and tired people leave them: read as they are meant, or refused with what to mend."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest

from tsal_dist.errors import ConfigError
from tsal_dist.pack.flags import build_parser
from tsal_dist.pack.lists import read_list

DLC = "scorer,me,me,me,me\nbodyparts,nose,nose,tail,tail\ncoords,x,y,x,y\n"


def read(folder, text, name="l.csv"):
    (folder / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_list(folder / name)


def places(entry):
    return entry.face.points_K2.tolist()


def test_spaces_around_a_columns_name_cost_no_landmark(tmp_path):
    (one,) = read(tmp_path, "path, nose_x ,nose_y ,tail_x,tail_y \na.png,1,2,3,4\n")
    assert one.layout.names == ("nose", "tail")
    assert places(one) == [[1, 2], [3, 4]]


@pytest.mark.parametrize(("wrong", "missing"), [("nose_Y", "nose_y"), ("nse_y", "nose_y")])
def test_half_a_landmark_is_refused_and_not_left_out(tmp_path, wrong, missing):
    with pytest.raises(ConfigError, match=rf"column 'nose_x' and no '{missing}'"):
        read(tmp_path, f"path,nose_x,{wrong},tail_x,tail_y\na.png,1,2,3,4\n")


def test_lines_of_empty_cells_name_nothing(tmp_path):
    assert len(read(tmp_path, "path,nose_x,nose_y\n,,\na.png,1,2\n,,\n")) == 1


def test_what_pandas_calls_empty_has_no_place(tmp_path):
    (one,) = read(tmp_path, "path,nose_x,nose_y,tail_x,tail_y\na.png,nan,NaN,3,4\n")
    assert one.face.visible_K.tolist() == [0, 1]
    columns = {"path": ["a.png"], "nose_x": [np.nan], "nose_y": [np.nan], "tail_x": [3.0], "tail_y": [4.0]}
    pyarrow.parquet.write_table(pa.table(columns), tmp_path / "l.parquet")
    (one,) = read_list(tmp_path / "l.parquet")
    assert one.face.visible_K.tolist() == [0, 1]


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("path;nose_x;nose_y\na.png;1,5;2\n", "line 2: '1,5' is not a number such as 10.5"),
        ("path,nose_x,nose_y\na.png,NA,NA\n", "line 2: 'NA' is not a number such as 10.5"),
        ("path,nose_x,nose_y\na.png,1,\n", "line 2: nose_x is '1' and nose_y is '': give both"),
        (
            b"path,nose_x,nose_y\n\xfcbung.png,1,2\n",
            "byte 20 is not UTF-8. Save it as CSV in UTF-8",
        ),
    ],
)
def test_a_cell_that_is_no_place_is_told_with_the_remedy(tmp_path, text, rule):
    with pytest.raises(ConfigError, match=rule):
        read(tmp_path, text)


def test_deeplabcut_with_semicolons(tmp_path):
    (one,) = read(tmp_path, "\ufeff" + DLC.replace(",", ";").replace("\n", "\r\n") + "a.png;1;2;3;4\r\n")
    assert one.layout.names == ("nose", "tail")
    assert places(one) == [[1, 2], [3, 4]]


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        (DLC.replace("tail", "nose") + "a.png,1,2,3,4\n", "body part 'nose' has two columns x"),
        (DLC + "a.png,1,2\n", "line 4: it has 3 cells, and the header 5"),
        (DLC.replace("tail,tail", "tail") + "a.png,1,2,3,4\n", "not the same number of columns"),
    ],
)
def test_a_table_of_deeplabcut_that_was_edited_is_refused(tmp_path, text, rule):
    with pytest.raises(ConfigError, match=rule):
        read(tmp_path, text)


@pytest.mark.parametrize("head", ["path,nose_x,nose_y,tail_x,tail_y\n", DLC])
def test_a_path_written_on_windows_leads_to_its_picture(tmp_path, head):
    (one,) = read(tmp_path, head + "labeled-data\\clip\\img1.png,1,2,3,4\n")
    assert one.path == str(tmp_path / "labeled-data/clip/img1.png")


def test_a_file_whose_name_has_a_backslash_is_itself(tmp_path):
    (tmp_path / "a\\b.png").touch()
    (one,) = read(tmp_path, "path,nose_x,nose_y\na\\b.png,1,2\n")
    assert one.path == str(tmp_path / "a\\b.png")


def coco(keypoints, names=("nose", "tail"), images=((1, "a.png"),), image=1):
    return json.dumps(
        {
            "images": [{"id": number, "file_name": name} for number, name in images],
            "annotations": [{"id": 1, "image_id": image, "category_id": 1, "keypoints": keypoints}],
            "categories": [{"id": 1, "keypoints": list(names)}],
        }
    )


PLACED = [1, 2, 2, 3, 4, 2]


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        (coco(PLACED, names=("nose", "nose")), "two keypoints are called 'nose'"),
        (coco(PLACED[:3]), "annotation of a.png has 1 keypoints, and its category 2"),
        (coco(PLACED, images=((1, "a.png"), (1, "b.png"))), "two images have the id 1"),
        (coco(PLACED, image=7), "of image 7, which is not among the images"),
    ],
)
def test_coco_files_that_were_put_together_by_hand_are_refused(tmp_path, text, rule):
    assert len(read(tmp_path, coco(PLACED), "l.json")) == 1
    with pytest.raises(ConfigError, match=rule):
        read(tmp_path, text, "l.json")


def test_label_studios_short_export_is_told_from_coco(tmp_path):
    with pytest.raises(ConfigError, match="Export `JSON`, not `JSON-MIN`"):
        read(tmp_path, '[{"img": "a.png", "kp": [{"x": 1, "y": 2}]}]', "l.json")


def test_a_folder_or_a_video_is_no_list(tmp_path):
    with pytest.raises(ConfigError, match="is a folder. Name the file of labels"):
        read_list(tmp_path)
    with pytest.raises(ConfigError, match="if it is a video, name it with --videos"):
        read(tmp_path, b"\0\0\0\x18ftyp\xff\xfe", "clip.mp4")


def test_a_flag_that_is_given_twice_counts_twice():
    args = build_parser("").parse_args("--videos a b --videos c --labels l --labels m --out o".split())
    assert [path.name for path in args.videos] == ["a", "b", "c"]
    assert [path.name for path in args.labels] == ["l", "m"]


def test_a_task_of_label_studio_whose_picture_has_a_name_of_its_own_is_refused(tmp_path):
    task = {"data": {"photo": "a.png"}, "annotations": [{"result": []}]}
    with pytest.raises(ConfigError, match="a task has photo, and no picture as image, img or picture"):
        read(tmp_path, json.dumps([task]), "l.json")


def test_whole_numbers_that_pandas_has_made_fractions_are_whole(tmp_path):
    """As it writes predictions again: where some frames have no subject, numbers and marks of the others become so."""
    text = "path,frame,subject,nose_x,nose_y,nose_v,tail_x,tail_y,tail_v\na.mp4,12.0,2.0,1.0,2.0,1.0,3.0,4.0,2.0\n"
    (one,) = read(tmp_path, text)
    assert (one.frame, one.subject, one.face.visible_K.tolist()) == (11, "2", [1, 2])
    with pytest.raises(ConfigError, match=r"frame '1\.5' is no whole number"):
        read(tmp_path, text.replace("12.0", "1.5"))
