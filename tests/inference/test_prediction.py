"""Landmarks on footage: the box follows the face, tables and overlays hold every frame."""

import csv

import cv2
import numpy as np
import pyarrow.parquet
import pytest

from tests.inference.squares import SQUARE_PX, SquareDetector, draw_square, finder_of, write_film
from tsal_dist.data.crop import ViewSettings
from tsal_dist.data.once import read_all
from tsal_dist.data.shard_set import open_shards
from tsal_dist.errors import ConfigError, DataError
from tsal_dist.geometry import affine
from tsal_dist.inference.looking import spread_boxes
from tsal_dist.inference.overlay import draw, open_overlay, plan_overlays
from tsal_dist.inference.pictures import (
    FrameRange,
    Picture,
    Source,
    count_pictures,
    find_sources,
    read_pictures,
)
from tsal_dist.inference.prediction import Found, follow
from tsal_dist.inference.table import build_table, write_table
from tsal_dist.records import UNNAMED, Layout


@pytest.fixture
def finder():
    return finder_of(SquareDetector())


def film(middles, path="film"):
    return [
        Picture(path, number, 40.0 * number, draw_square(middle)) for number, middle in enumerate(middles)
    ]


def walk(frames=12, start=(50, 60), step=(2, 1)):
    return [(start[0] + step[0] * t, start[1] + step[1] * t) for t in range(frames)]


def middle_of(points_K2):
    return (points_K2.min(0) + points_K2.max(0)) / 2


def test_the_box_follows_what_moves(finder):
    middles = walk()
    found = [one for _, one in follow(finder, iter(film(middles)))]
    for middle, one in zip(middles, found, strict=True):
        np.testing.assert_allclose(middle_of(one.points_K2), np.array(middle) - 0.5, atol=1.5)
        box_middle = (one.box_4[:2] + one.box_4[2:]) / 2
        assert np.abs(box_middle - middle).max() < 12, "the box is where the face was a frame ago"
        assert SQUARE_PX * 0.7 < one.box_4[2] - one.box_4[0] < SQUARE_PX * 1.6


def test_the_box_is_where_a_fast_one_will_be(finder):
    """A third of its side per frame: a box of where it was is over half of its side behind, and shows the rest."""
    middles = walk(14, (24, 40), (8, 4))
    found = [one for _, one in follow(finder, iter(film(middles)))]
    for middle, one in list(zip(middles, found, strict=True))[6:]:
        box_middle = (one.box_4[:2] + one.box_4[2:]) / 2
        assert np.abs(box_middle - middle).max() < SQUARE_PX / 8


def test_the_first_box_is_taken_as_given(finder):
    box_4 = np.array([20.0, 30.0, 80.0, 90.0])
    found = [one for _, one in follow(finder, iter(film(walk(2))), first_box=box_4)]
    assert np.array_equal(found[0].box_4, box_4)
    assert not np.array_equal(found[1].box_4, box_4)


def test_a_frames_own_box_wins(finder):
    own = np.array([30.0, 30.0, 90.0, 90.0])
    found = [one for _, one in follow(finder, iter(film(walk(4))), boxes={("film", 2): own})]
    assert np.array_equal(found[2].box_4, own)


def test_who_outruns_its_box_is_looked_for_in_the_same_frame(finder):
    """Where looking costs little; the detector's own search waits for the next frame."""
    middles = [(30, 30), (130, 30), (30, 90), (130, 90)]
    now, asked = [], []

    def coming():
        for picture in film(middles):
            now.append(picture.frame)
            yield picture

    def see(image_HWC):
        asked.append(now[-1])
        x, y = middles[now[-1]]
        return np.array([x - 24.0, y - 24, x + 24, y + 24])

    for picture, one in follow(finder, coming(), find=see):
        np.testing.assert_allclose(middle_of(one.points_K2), np.array(middles[picture.frame]) - 0.5, atol=1.5)
        assert one.found
    assert asked == [0, 1, 2, 3]
    alone = [one.found for _, one in follow(finder, iter(film(middles)))]
    assert alone == [True, False, True, False]


def test_who_is_followed_is_not_looked_for(finder):
    asked = []
    middles = walk(6)
    x, y = middles[0]

    def see(image_HWC):
        asked.append(1)
        return np.array([x - 24.0, y - 24, x + 24, y + 24])

    assert all(one.found for _, one in follow(finder, iter(film(middles)), find=see))
    assert len(asked) == 1


def test_a_lost_face_is_searched_for_anew(finder):
    """It vanishes and comes back at the other end of the picture, far outside of the last box."""
    middles = [*walk(3), None, (130, 25), (131, 26)]
    found = [one for _, one in follow(finder, iter(film(middles)))]
    assert found[3].score_K.mean() < 0.1
    np.testing.assert_allclose(middle_of(found[4].points_K2), (129.5, 24.5), atol=1.5)
    np.testing.assert_allclose(middle_of(found[5].points_K2), (130.5, 25.5), atol=1.5)


def test_a_first_box_is_of_the_first_frame_only(finder):
    """A face that was lost is searched for, not looked for where it was in the beginning."""
    first = np.array([38.0, 48.0, 62.0, 72.0])
    found = [one for _, one in follow(finder, iter(film([(50, 60), None, (130, 25)])), first_box=first)]
    np.testing.assert_allclose(middle_of(found[2].points_K2), (129.5, 24.5), atol=1.5)


def test_another_video_is_another_face(finder):
    pictures = [*film([(40, 40)], "one"), *film([(120, 120)], "two")]
    found = [one for _, one in follow(finder, iter(pictures))]
    np.testing.assert_allclose(middle_of(found[1].points_K2), (119.5, 119.5), atol=1.5)


def video(path):
    return Source("video", str(path))


@pytest.mark.parametrize("suffix", [".mp4", ".avi"])
def test_an_overlay_has_every_frame_with_its_points(finder, tmp_path, suffix):
    path = write_film(tmp_path / "in.avi", walk(7))
    (out,) = plan_overlays(str(tmp_path / "new" / f"out{suffix}"), [video(path)])
    assert count_pictures(video(path)) == 7
    with open_overlay(out, video(path)) as overlay:
        for picture, one in follow(finder, read_pictures(video(path))):
            overlay.add(picture, [one])
        assert not out.exists(), "it takes its place when it is whole"
    drawn = [picture.image_HWC for picture in read_pictures(video(out))]
    assert len(drawn) == 7
    x, y = np.array(walk(7)[3]) - SQUARE_PX // 2
    spot = drawn[3][y - 1 : y + 2, x - 1 : x + 2].reshape(-1, 3).astype(int)
    assert (spot[:, 1] - spot[:, 2] > 40).any(), "a sure point is green"


def build_found(found=True, expected=(1.0, 1.0, 1.0, 1.0), path="film", frame=0, layout=UNNAMED):
    points_K2 = np.array([[10.0, 10], [50, 10], [50, 50], [10, 50]])
    box_4 = np.array([8.0, 8, 52, 52])
    return Found(
        path, frame, 40.0 * frame, box_4, points_K2, np.full(4, 0.7), np.array(expected), 0.9, found, layout
    )


def test_nothing_is_drawn_where_there_is_no_subject():
    image_HWC = draw_square((30, 30))
    assert (draw(image_HWC, build_found(found=False)) == image_HWC).all()
    assert (draw(image_HWC, build_found()) != image_HWC).any()


def test_a_point_that_may_be_far_off_is_not_drawn():
    """Its expected error is a fifth of the subject's size, and the limit less."""
    blank_HWC = np.zeros((80, 80, 3), np.uint8)
    drawn = draw(blank_HWC, build_found(expected=(1.0, 8.0, 5.9, 1.0)), most_error=0.15)
    assert drawn[10, 10].any()
    assert not drawn[10, 50].any()
    assert drawn[50, 50, 2] > drawn[10, 10, 2], "one that just passes is redder"


@pytest.mark.parametrize("suffix", [".parquet", ".csv"])
def test_a_table_reads_back(finder, tmp_path, suffix):
    found = [one for _, one in follow(finder, iter(film(walk(5))))]
    path = tmp_path / f"points{suffix}"
    write_table(path, found)
    if suffix == ".csv":
        with open(path, newline="") as file:
            rows = list(csv.DictReader(file))
    else:
        rows = pyarrow.parquet.read_table(path).to_pylist()
    assert [int(row["frame"]) for row in rows] == list(range(1, 6)), "people count from 1"
    assert [float(row["pts_ms"]) for row in rows] == [one.pts_ms for one in found]
    for row, one in zip(rows, found, strict=True):
        points_K2 = [[float(row[f"p{point}{axis}"]) for axis in "xy"] for point in range(4)]
        np.testing.assert_allclose(points_K2, one.points_K2, rtol=1e-6)
        np.testing.assert_allclose([float(row[side]) for side in ("x1", "y1", "x2", "y2")], one.box_4)


def test_joined_points_are_joined_where_both_are_shown():
    blank_HWC = np.zeros((80, 80, 3), np.uint8)
    layout = Layout(("a", "b", "c", "d"), ((0, 1), (1, 2), (2, 3)))
    drawn = draw(blank_HWC, build_found(layout=layout, expected=(1.0, 1.0, 1.0, 20.0)), most_error=0.15)
    assert drawn[10, 30].any()
    assert drawn[30, 50].any()
    assert not drawn[50, 30].any(), "the last point may be far off"
    assert (drawn[10, 30] != drawn[30, 50]).any(), "each line has its colour"


def test_named_points_have_columns_of_their_names_and_are_labels(tmp_path):
    from tsal_dist.pack.formats.table import read_csv

    layout = Layout(("left ear", "right ear", "nose", "tail"))
    write_table(tmp_path / "t.csv", [build_found(layout=layout, expected=(1.0, 1.0, 1.0, 20.0))])
    (entry,) = read_csv(tmp_path / "t.csv", tmp_path)
    assert entry.layout.names == layout.names
    assert entry.frame == 0
    assert entry.face.points_K2.tolist() == [[10, 10], [50, 10], [50, 50], [0, 0]]
    assert entry.face.visible_K.tolist() == [1, 1, 1, 0]


def test_a_frame_without_a_subject_has_no_numbers(tmp_path):
    table = build_table([build_found(), build_found(found=False, frame=1)], tmp_path).to_pylist()
    assert [row["found"] for row in table] == [1, 0]
    assert table[1]["p0x"] is table[1]["x1"] is table[1]["p3error"] is None
    assert table[0]["p0error"] == 1.0


@pytest.mark.parametrize("suffix", [".parquet", ".csv"])
def test_the_table_is_a_label_table(tmp_path, suffix):
    """The packer takes it as it is: the same frames, the same pixels; what is no find is no label."""
    from tests.pack.packing import pack_all

    path = write_film(tmp_path / "clips" / "in.avi", walk(6))
    rows = [
        build_found(path=str(path), frame=1),
        build_found(path=str(path), frame=2, found=False),
        build_found(path=str(path), frame=4, expected=(1.0, 30.0, 1.0, 1.0)),
    ]
    write_table(tmp_path / f"labels{suffix}", rows)
    pack_all(tmp_path, lists=[tmp_path / f"labels{suffix}"], split="mine")
    shards = open_shards([str(tmp_path / "mine")])
    assert {one.video for one in shards.segments(0)} == {"clips/in.avi"}, (
        "of one subject, as labels by hand are"
    )
    view = ViewSettings(160, 0.0)
    clips = [clip for batch in read_all(shards, view, "labelled", 1) for clip in batch]
    assert [clip.frames_T.tolist() for clip in clips] == [[1], [4]]
    assert [clip.visible_TK[0].tolist() for clip in clips] == [[True] * 4, [True, False, True, True]]
    home_K2 = affine.apply(affine.invert(clips[0].to_crop_23), clips[0].points_TK2[0])
    np.testing.assert_allclose(home_K2, rows[0].points_K2, atol=0.01)


def test_a_folder_is_read_by_name_and_drawn_by_name(finder, tmp_path):
    folder = tmp_path / "mixed"
    folder.mkdir()
    for name, middle in (("b.png", (120, 120)), ("a.png", (40, 40))):
        cv2.imwrite(str(folder / name), draw_square(middle))
    write_film(folder / "c.avi", walk(3))
    (folder / "notes.txt").write_text("no image")
    sources = find_sources([str(folder)])
    assert [source.kind for source in sources] == ["image", "image", "video"]
    found = []
    for source, out in zip(sources, plan_overlays(str(tmp_path / "drawn"), sources), strict=True):
        with open_overlay(out, source) as overlay:
            for picture, one in follow(finder, read_pictures(source)):
                overlay.add(picture, [one])
                found.append(middle_of(one.points_K2))
    np.testing.assert_allclose(found[:2], [(39.5, 39.5), (119.5, 119.5)], atol=1.5)
    assert sorted(path.name for path in (tmp_path / "drawn").iterdir()) == ["a.png", "b.png", "c.mp4"]


def test_only_some_frames_are_read(tmp_path):
    source = video(write_film(tmp_path / "in.avi", walk(9)))
    some = FrameRange.parse("3:5")
    assert [picture.frame for picture in read_pictures(source, some)] == [2, 3, 4]
    assert count_pictures(source, some) == 3
    assert [picture.frame for picture in read_pictures(source, FrameRange.parse("8:"))] == [7, 8]
    with pytest.raises(ConfigError, match="has 9 frames and --frames begins at 20"):
        list(read_pictures(source, FrameRange.parse("20:")))


@pytest.mark.parametrize("words", ["5", "0:3", "7:2", "a:b", "-1:4", "1:2:3"])
def test_a_range_that_is_none_is_refused(words):
    with pytest.raises(ConfigError, match="--frames is"):
        FrameRange.parse(words)


def test_what_cannot_be_read_is_named(tmp_path):
    broken = tmp_path / "broken.avi"
    broken.write_bytes(b"no video at all")
    (tmp_path / "empty").mkdir()
    (tmp_path / "half.png").write_bytes(b"\x89PNG")
    for name, reason in (
        ("broken.avi", "no frame"),
        ("empty", "no images"),
        ("half.png", "cannot be decoded"),
    ):
        with pytest.raises(DataError, match=rf"{name}.*{reason}"):
            [list(read_pictures(source)) for source in find_sources([str(tmp_path / name)])]


def test_overlays_that_cannot_be_are_refused(tmp_path):
    film_path = write_film(tmp_path / "in.avi", walk(2))
    before = film_path.read_bytes()
    image = Source("image", str(tmp_path / "a.png"))
    for out, sources, reason in (
        ("out.mp4", [image], r"must end in \.png"),
        ("out.mp4", [image, video(film_path)], "one file for 2 inputs"),
        ("out.gif", [video(film_path)], r"must end in \.mp4 or \.avi"),
        (str(film_path), [video(film_path)], "read as well and would be overwritten"),
        (str(tmp_path), [video(film_path), image], "the folder that is read"),
    ):
        with pytest.raises(ConfigError, match=reason):
            plan_overlays(out, sources)
    assert film_path.read_bytes() == before


def test_a_search_begins_all_over_the_picture():
    boxes = np.stack(list(spread_boxes(np.zeros((100, 200, 3), np.uint8))))
    assert boxes.min() >= 0
    assert boxes[:, 2].max() <= 200
    assert boxes[:, 3].max() <= 100
    assert boxes[:, 0].min() < 10
    assert boxes[:, 2].max() > 190
