import os

import pytest
from footage import make_300vw, make_image, make_video
from packing import plan_of

from tsal_dist.errors import ConfigError
from tsal_dist.pack.face import Entry, Face
from tsal_dist.pack.gather import gather_inputs
from tsal_dist.pack.inputs import inputs_from_entries


def test_entries_are_grouped_by_file():
    entries = [Entry("/v.avi", 3, Face()), Entry("/a.jpg", None, Face()), Entry("/v.avi", 1, Face())]
    entries += [Entry("/a.jpg", None, Face())]
    video, still = inputs_from_entries(entries)
    assert (video.kind, sorted(video.labels)) == ("video", [1, 3])
    assert (still.kind, sorted(still.labels)) == ("still", [0, 1])


def test_numbered_images_become_a_sequence_when_asked():
    entries = [Entry(f"/v/f_{n:04d}.png", None, Face()) for n in (7, 5)]
    (sequence,) = inputs_from_entries(entries, sequences=True)
    assert (sequence.kind, sorted(sequence.labels)) == ("sequence", [5, 7])
    assert sequence.labels[5].file == "/v/f_0005.png"
    assert len(inputs_from_entries(entries)) == 2


def test_a_video_holds_one_face_per_frame():
    with pytest.raises(ConfigError, match=r"Frame 4 of /v\.avi"):
        inputs_from_entries([Entry("/v.avi", 3, Face()), Entry("/v.avi", 3, Face(box=(0, 0, 1, 1)))])


def test_names_start_at_the_folder_that_was_given(tmp_path):
    make_300vw(tmp_path, "001", frames=2)
    make_video(tmp_path / "loose.mp4", frames=2)
    names = [one.name for one in gather_inputs(videos=[tmp_path])]
    assert names == ["001/vid.avi", "loose.mp4"]
    assert [one.name for one in gather_inputs(videos=[tmp_path / "001"])] == ["vid.avi"]
    assert gather_inputs(videos=[tmp_path / "001"], root=tmp_path)[0].name == "001/vid.avi"


def test_a_root_that_is_not_above_is_refused(tmp_path):
    make_video(tmp_path / "a/v.mp4", frames=2)
    with pytest.raises(ConfigError, match="not below the root"):
        gather_inputs(videos=[tmp_path], root=tmp_path / "b")


def test_annot_is_only_taken_for_a_lone_video(tmp_path):
    make_300vw(tmp_path, "001", frames=2)
    assert gather_inputs(videos=[tmp_path])[0].annotations == 2
    make_video(tmp_path / "001" / "other.mp4", frames=2)
    assert [one.annotations for one in gather_inputs(videos=[tmp_path])] == [0, 0]


def test_annotations_elsewhere(tmp_path):
    make_300vw(tmp_path / "data", "001", frames=3)
    (tmp_path / "data/001/annot").rename(tmp_path / "notes")
    (tmp_path / "labels/001").mkdir(parents=True)
    (tmp_path / "notes").rename(tmp_path / "labels/001/vid")
    (one,) = gather_inputs(videos=[tmp_path / "data"], annotations=tmp_path / "labels")
    assert one.annotations == 3


def test_annotations_with_a_gap_condemn_their_video(tmp_path):
    make_300vw(tmp_path, "001", frames=3)
    (tmp_path / "001/annot/000002.pts").unlink()
    (one,) = gather_inputs(videos=[tmp_path])
    assert one.problem[0] == "annotation_mismatch"


def test_boxes_of_a_csv_win_and_a_row_without_frame_is_for_all(tmp_path):
    make_300vw(tmp_path, "001", frames=3)
    (tmp_path / "b.csv").write_text("path,frame,x1,y1,x2,y2\n001/vid.avi,,1,1,9,9\n001/vid.avi,2,2,2,8,8\n")
    (one,) = gather_inputs(videos=[tmp_path], boxes=tmp_path / "b.csv")
    assert one.box == (1, 1, 9, 9)
    assert [label.face.box for _, label in sorted(one.labels.items())] == [
        (1, 1, 9, 9),
        (2, 2, 8, 8),
        (1, 1, 9, 9),
    ]


def test_boxes_for_a_stranger_are_refused(tmp_path):
    make_image(tmp_path / "a.jpg")
    (tmp_path / "l.txt").write_text("a.jpg None 1 1 9 9\n")
    (tmp_path / "b.csv").write_text("path,x1,y1,x2,y2\nA.jpg,1,1,9,9\n")
    with pytest.raises(ConfigError, match="no input"):
        gather_inputs(lists=[tmp_path / "l.txt"], boxes=tmp_path / "b.csv")


@pytest.mark.parametrize("arguments", [{}, {"videos": ["empty"]}, {"videos": ["nothing"]}])
def test_nothing_to_pack_is_refused(tmp_path, arguments):
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigError):
        gather_inputs(**{key: [tmp_path / name for name in names] for key, names in arguments.items()})


def test_a_file_given_twice_in_different_ways_is_refused(tmp_path):
    video = make_video(tmp_path / "v.mp4", frames=2)
    (tmp_path / "l.txt").write_text("v.mp4#000001 None 1 1 9 9\n")
    with pytest.raises(ConfigError, match="twice"):
        gather_inputs([tmp_path / "l.txt"], [video])


def test_boxes_of_frames_that_a_stride_leaves_out_are_left_out_with_them(tmp_path):
    """A tracker's table has a box for every frame."""
    video = make_video(tmp_path / "v.mp4", frames=4)
    rows = "".join(f"v.mp4,{number},1,1,{number + 20},20\n" for number in range(1, 5))
    (tmp_path / "b.csv").write_text("path,frame,x1,y1,x2,y2\n" + rows)
    plan = plan_of([video], gather={"boxes": tmp_path / "b.csv"}, stride=2)
    boxes = {k: label.face.box for k, label in plan.shards[0].pieces[0].source.labels.items()}
    assert boxes == {0: (1, 1, 21, 20), 2: (1, 1, 23, 20)}


def test_a_name_that_is_no_text_is_refused_before_opencv_dies_of_it(tmp_path):
    make_video(tmp_path / "v.mp4", frames=2).rename(tmp_path / os.fsdecode(b"caf\xe9.mp4"))
    with pytest.raises(ConfigError, match=r"the name /.*/caf\\xe9\.mp4 is not UTF-8"):
        gather_inputs(videos=[tmp_path])


def test_pictures_that_are_numbered_by_the_clock_are_no_sequence():
    """The frame table would not hold their numbers."""
    with pytest.raises(ConfigError, match="Number the pictures in their order"):
        inputs_from_entries([Entry("/v/1622547800123.png", None, Face())], sequences=True)
