"""What labels say of whole frames."""

import cv2
import numpy as np
import pytest

from tests.pack.footage import make_image, make_video
from tsal_dist.boxes.labelled import KEPT_PX, MOST_KEPT, box_of, fingerprint, list_frames, read_frames
from tsal_dist.boxes.making import choose_side, split_frames
from tsal_dist.errors import ConfigError
from tsal_dist.pack.face import FLAT, Face, build_face
from tsal_dist.pack.gather import gather_inputs
from tsal_dist.pack.hold_out import hold_out
from tsal_dist.pack.inputs import Input, Label
from tsal_dist.pack.sources import SOURCES, encode_sources, first_rows
from tsal_dist.pack.video_facts import probe

HEAD = "path,frame,nose_x,nose_y,tail_x,tail_y\n"


def unwatched(done, of):
    """Nobody watches."""


def gather(folder, text):
    (folder / "labels.csv").write_text(HEAD + text)
    return gather_inputs((), [folder], labels=[folder / "labels.csv"], track=list)


def read(folder, text):
    return read_frames(list_frames(gather(folder, text)), 0, unwatched)


def test_two_subjects_of_a_frame_and_a_frame_without_any(tmp_path):
    make_video(tmp_path / "a.avi")
    shown = read(tmp_path, "a.avi,2,10,10,20,30\na.avi,2,40,20,50,24\na.avi,5,,,,\n")
    assert [(one.name, one.frame) for one in shown] == [("a.avi", 1), ("a.avi", 4)]
    assert sorted(shown[0].boxes_B4.tolist()) == [[10, 10, 20, 30], [40, 20, 50, 24]]
    assert shown[1].boxes_B4.shape == (0, 4)


def test_it_is_the_frame_that_was_labelled(tmp_path):
    make_video(tmp_path / "a.avi")
    shown = read(tmp_path, "a.avi,3,10,10,20,30\na.avi,9,10,10,20,30\n")
    video = cv2.VideoCapture(str(tmp_path / "a.avi"))
    frames = [video.read()[1] for _ in range(9)]
    for one, labelled in zip(shown, (2, 8), strict=True):
        unlike = [np.abs(one.image_HWC.astype(int) - frame_HWC).mean() for frame_HWC in frames]
        assert int(np.argmin(unlike)) == labelled


def test_large_pictures_are_kept_smaller_and_their_boxes_with_them(tmp_path):
    make_video(tmp_path / "a.avi", size=(2 * KEPT_PX, 400))
    (one,) = read(tmp_path, "a.avi,1,99.5,39.5,199.5,139.5\n")
    assert one.image_HWC.shape == (200, KEPT_PX, 3)
    assert one.longer_px == KEPT_PX
    np.testing.assert_allclose(one.boxes_B4, [[49.5, 19.5, 99.5, 69.5]])


def test_labels_that_are_mistakes_teach_nothing(tmp_path):
    """Neither that there is a subject nor that there is none."""
    make_video(tmp_path / "a.avi")
    shown = read(tmp_path, "a.avi,1,10,10,20,30\na.avi,2,10,10,2000,30\na.avi,3,10,10,10,10\n")
    assert [one.frame for one in shown] == [0]


def test_a_frame_of_which_one_label_is_broken_teaches_nothing(tmp_path):
    """Its other subject would be taught to be nobody."""
    whole, broken = Label(Face(box=(1, 2, 30, 40))), Label(Face(), "a landmark is not a finite number")
    one = Input("a.avi", "video", "a.avi@1", labels={0: whole, 1: whole}, subject="1")
    other = Input("a.avi", "video", "a.avi@2", labels={1: broken}, subject="2")
    assert [(asked.name, asked.frame) for asked in list_frames([one, other])] == [("a.avi", 0)]


def test_pictures_with_several_subjects_are_read_once(tmp_path):
    make_image(tmp_path / "one.png")
    (tmp_path / "l.csv").write_text("path,x1,y1,x2,y2\none.png,5,5,40,40\none.png,42,10,60,30\n")
    (one,) = read_frames(list_frames(gather_inputs([tmp_path / "l.csv"])), 0, unwatched)
    assert one.boxes_B4.tolist() == [[5, 5, 40, 40], [42, 10, 60, 30]]


def test_points_in_a_row_have_a_box_too():
    seen_3 = np.ones(3, np.uint8)
    row = build_face(np.array([[10, 20], [30, 20], [50, 20]]), seen_3)
    assert box_of(row) == (10, 20 - 40 * FLAT / 2, 50, 20 + 40 * FLAT / 2)
    spot = build_face(np.full((3, 2), 7), seen_3)
    assert box_of(spot) is None
    assert box_of(build_face(np.full((3, 2), 7), seen_3, (1, 2, 9, 9))) == (1, 2, 9, 9)
    assert box_of(Face(box=(1, 2, 3, 4))) == (1, 2, 3, 4)


def test_the_fingerprint_is_of_the_labels(tmp_path):
    for name in ("a", "b"):
        make_video(tmp_path / f"{name}.avi")
    one = fingerprint(list_frames(gather(tmp_path, "a.avi,1,1,2,30,40\nb.avi,1,1,2,30,40\n")))
    assert one == fingerprint(list_frames(gather(tmp_path, "b.avi,1,1,2,30,40\na.avi,1,1,2,30,40\n")))
    assert one != fingerprint(list_frames(gather(tmp_path, "a.avi,1,1,2,30,40\nb.avi,1,1,2,30,41\n")))


def test_the_same_videos_are_held_out_as_by_pack_and_some_that_show_nobody(tmp_path):
    for number in range(9):
        make_video(tmp_path / f"{number}.avi", seed=number)
    rows = "".join(f"{number}.avi,2,10,10,20,30\n" for number in range(6))
    rows += "".join(f"{number}.avi,2,,,,\n" for number in range(6, 9))
    inputs = gather(tmp_path, rows)
    split = split_frames(inputs, 0.34, seed=3)
    _, by_pack = hold_out(inputs, 0.34, 3)
    held = {one.name for one in split.held if not one.empty}
    assert held == {one.name for one in by_pack}
    assert len(held) == 2
    assert len({one.name for one in split.held if one.empty}) == 1
    assert not {one.name for one in split.held} & {one.name for one in split.train}


def test_what_pack_held_out_before_is_held_out_again(tmp_path):
    for number in range(5):
        make_video(tmp_path / f"{number}.avi", seed=number)
    inputs = gather(tmp_path, "".join(f"{number}.avi,2,10,10,20,30\n" for number in range(5)))
    rows = first_rows([(inputs[3], probe(inputs[3]))])
    (tmp_path / SOURCES).write_bytes(encode_sources(rows))
    assert {one.name for one in split_frames(inputs, 0.2, 0, str(tmp_path)).held} == {inputs[3].name}


def test_labels_without_a_subject_are_refused(tmp_path):
    make_video(tmp_path / "a.avi")
    with pytest.raises(ConfigError, match=r"None of the 1 labelled frames .* holds a subject"):
        split_frames(gather(tmp_path, "a.avi,2,,,,\n"), 0.2, 0)


def test_of_very_many_frames_some_are_drawn(tmp_path, monkeypatch):
    assert MOST_KEPT >= 500
    monkeypatch.setattr("tsal_dist.boxes.labelled.MOST_KEPT", 4)
    make_video(tmp_path / "a.avi")
    shown = read(tmp_path, "".join(f"a.avi,{frame},10,10,20,30\n" for frame in range(1, 13)))
    assert len(shown) == 4


@pytest.mark.parametrize(("share", "side_px"), [(0.5, 128), (0.1, 160), (0.09, 192), (0.01, 320)])
def test_small_subjects_are_seen_in_a_larger_square(tmp_path, share, side_px):
    from tests.boxes.shown import WIDTH, shown

    assert choose_side([shown(0, [[10, 10, 10 + share * WIDTH, 12]])]) == side_px
