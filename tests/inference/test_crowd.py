"""Several subjects of a video: flags whose places are known, of a detector that was measured."""

from dataclasses import replace

import cv2
import numpy as np
import pytest

from tests.inference.squares import (
    SIDE_PX,
    FlagDetector,
    SquareDetector,
    draw_flag,
    finder_of,
    pack_flags,
)
from tests.pack.packing import pack_all
from tsal_dist.data.crop import ViewSettings
from tsal_dist.data.once import read_all
from tsal_dist.data.shard_set import open_shards
from tsal_dist.errors import ConfigError
from tsal_dist.geometry import affine
from tsal_dist.inference import detector as detector_module
from tsal_dist.inference.crowd import UNSEEN, Seeker, follow_all
from tsal_dist.inference.detector import Detector, Options, Predictions, smooth_rows
from tsal_dist.inference.looking import search_all
from tsal_dist.inference.overlay import MOST_ERROR, draw_all, hue, shown_points
from tsal_dist.inference.pictures import Picture, Source, read_pictures
from tsal_dist.inference.table import write_table
from tsal_dist.inference.trust import measure_trust

SIDE = 48


@pytest.fixture(scope="module")
def finder():
    return finder_of(FlagDetector())


@pytest.fixture(scope="module")
def trust(finder, tmp_path_factory):
    return measure_trust(finder, pack_flags(tmp_path_factory.mktemp("flags"), SIDE, 1), 64)


def draw_flags(middles, width=2 * SIDE_PX):
    """The later ones in front."""
    image_HWC = np.zeros((SIDE_PX, width, 3), np.uint8)
    for middle in middles:
        if middle is not None:
            x, y = middle
            half = SIDE // 2
            flag_HWC = draw_flag((SIDE_PX // 2, SIDE_PX // 2), SIDE)
            part = flag_HWC[
                SIDE_PX // 2 - half : SIDE_PX // 2 + half, SIDE_PX // 2 - half : SIDE_PX // 2 + half
            ]
            left, right = max(0, x - half), min(width, x + half)
            if right > left:
                image_HWC[y - half : y + half, left:right] = part[:, left - x + half : right - x + half]
    return image_HWC


def film(*paths):
    """Of each subject its middles, None where it is not there."""
    return [
        Picture("film", t, 40.0 * t, draw_flags(middles))
        for t, middles in enumerate(zip(*paths, strict=True))
    ]


def by_search(finder):
    return Seeker(lambda image: search_all(finder, image), 10, detects=False)


def by_detection(paths):
    """A perfect detector of subjects."""
    frames = iter(zip(*paths, strict=True))

    def find(image_HWC):
        return [
            np.array([x - SIDE / 2, y - SIDE / 2, x + SIDE / 2, y + SIDE / 2])
            for x, y in (middle for middle in next(frames) if middle is not None)
        ]

    return Seeker(find, 1, detects=True)


def told(finder, seeker, paths, trust=None):
    """For each frame, by its number, the middle of each subject that was found."""
    frames = []
    for _, rows in follow_all(finder, iter(film(*paths)), seeker, trust):
        assert rows
        frames.append({row.subject: row.points_K2.mean(0) for row in rows if row.found})
    return frames


def still(x, y, frames):
    return [(x, y)] * frames


def walk(start, step, frames):
    return [(start[0] + step[0] * t, start[1] + step[1] * t) for t in range(frames)]


@pytest.mark.parametrize("how", ["search", "detection"])
def test_two_that_move_are_followed_each_by_its_own_number(finder, trust, how):
    paths = [walk((40, 50), (2, 1), 24), walk((270, 110), (-2, -1), 24)]
    seeker = by_search(finder) if how == "search" else by_detection(paths)
    frames = told(finder, seeker, paths, trust)
    assert all(sorted(frame) == [1, 2] for frame in frames[2:])
    first = {1: 0, 2: 1} if frames[-1][1][0] < frames[-1][2][0] else {1: 1, 2: 0}
    for t, frame in enumerate(frames):
        for number, middle_2 in frame.items():
            np.testing.assert_allclose(middle_2, np.array(paths[first[number]][t]) - 0.5, atol=4)


@pytest.mark.parametrize("how", [pytest.param("search", marks=pytest.mark.slow), "detection"])
def test_one_leaves_and_another_enters(finder, trust, how):
    """On the other side and later: a third subject, and the one that stays is the same all the time."""
    frames = 44
    stays = still(160, 80, frames)
    leaves = [*walk((70, 80), (-8, 0), 12), *[None] * (frames - 12)]
    enters = [*[None] * 24, *walk((260, 60), (-1, 0), frames - 24)]
    paths = [stays, leaves, enters]
    seeker = by_search(finder) if how == "search" else by_detection(paths)
    found = told(finder, seeker, paths, trust)
    of = {number: middle_2 for frame in found for number, middle_2 in frame.items()}
    assert sorted(of) == [1, 2, 3]
    (stayer,) = [number for number, middle_2 in found[2].items() if abs(middle_2[0] - 160) < 4]
    assert all(stayer in frame for frame in found[2:]), "a newcomer may have to be looked at twice"
    assert all(list(frame) == [stayer] for frame in found[16:24]), "the one that left is not made up"
    assert all(sorted(frame) == sorted({stayer, 3}) for frame in found[36:])


@pytest.mark.parametrize("how", [pytest.param("search", marks=pytest.mark.slow), "detection"])
def test_one_that_is_hidden_for_a_while_keeps_its_number(finder, trust, how):
    frames = 40
    gone = [*still(80, 80, 15), *[None] * 8, *still(90, 84, frames - 23)]
    paths = [still(240, 80, frames), gone]
    seeker = by_search(finder) if how == "search" else by_detection(paths)
    found = told(finder, seeker, paths, trust)
    (number,) = [number for number, middle_2 in found[5].items() if middle_2[0] < 160]
    assert all(number not in frame for frame in found[18:23])
    assert all(sorted(frame) == [1, 2] for frame in found[34:])
    assert abs(found[-1][number][0] - 90) < 4


@pytest.mark.slow
def test_two_that_cross_keep_their_numbers(finder, trust):
    """One passes in front of the other, which is hidden meanwhile."""
    frames = 56
    paths = [walk((270, 78), (-4, 0), frames), walk((50, 82), (4, 0), frames)]
    found = told(finder, by_detection(paths), paths, trust)
    before = {number: middle_2[0] < 160 for number, middle_2 in found[10].items()}
    after = {number: middle_2[0] > 160 for number, middle_2 in found[-3].items()}
    assert sorted(before) == [1, 2]
    assert after == before


def test_nobody_is_made_up(finder, trust):
    """Frames without a subject have one row each, which says so."""
    random = np.random.default_rng(2)
    noise = [random.integers(0, 2, (SIDE_PX // 8, SIDE_PX // 4, 3)) * 255 for _ in range(12)]
    pictures = [
        Picture("noise", t, 40.0 * t, np.kron(each, np.ones((8, 8, 1))).astype(np.uint8))
        for t, each in enumerate(noise)
    ]
    rows = [rows for _, rows in follow_all(finder, iter(pictures), by_search(finder), trust)]
    assert [len(each) for each in rows] == [1] * 12
    assert sum(each[0].found for each in rows) <= 1


def test_another_video_has_subjects_of_its_own(finder, trust):
    pictures = [Picture(name, 0, 0.0, draw_flags([(60, 80), (240, 80)])) for name in ("a", "b")]
    rows = [rows for _, rows in follow_all(finder, iter(pictures), by_search(finder), trust)]
    assert [[row.subject for row in each] for each in rows] == [[1, 2], [1, 2]]


def test_where_nothing_was_measured_a_detector_of_subjects_decides():
    """The squares' detector finds something everywhere; only what is detected counts, and for a few frames after."""
    finder = finder_of(SquareDetector())
    frames = 20
    image_HWC = np.zeros((SIDE_PX, SIDE_PX, 3), np.uint8)
    image_HWC[60:90, 40:70] = 255
    image_HWC[60:90, 110:140] = 255
    boxes = iter([[np.array([40.0, 60, 70, 90])]] * 8 + [[]] * (frames - 8))
    seeker = Seeker(lambda image: next(boxes), 1, detects=True)
    pictures = [Picture("film", t, 40.0 * t, image_HWC) for t in range(frames)]
    rows = [rows for _, rows in follow_all(finder, iter(pictures), seeker)]
    found = [[row.subject for row in each if row.found] for each in rows]
    assert found == [[1]] * (8 + UNSEEN) + [[]] * (frames - 8 - UNSEEN)
    assert np.isnan(rows[0][0].presence)


def test_without_a_measure_and_without_a_detector_many_is_refused(finder, tmp_path):
    detector = Detector(finder, None, "flags")
    with pytest.raises(ConfigError, match=r"never measured on held-out frames.*--face-model"):
        detector.follow(Source("video", "any.mp4"), Options(subjects="many"))


@pytest.mark.parametrize(
    ("options", "rule"),
    [
        ({"subjects": "many", "first_box": np.arange(4.0)}, "--first-box is of one subject"),
        ({"subjects": "many", "boxes": {("a", 0): np.arange(4.0)}}, "--boxes is of one subject"),
        (
            {"first_box": np.arange(4.0), "subject_model": "blazeface"},
            "--first-box and --face-model or --box-model both say",
        ),
    ],
)
def test_options_that_contradict_each_other_are_refused(options, rule):
    with pytest.raises(ConfigError, match=rule):
        Options(**options)


def predictions(finder, trust, paths, path="film", **options):
    rows = [
        row for _, rows in follow_all(finder, iter(film(*paths)), by_detection(paths), trust) for row in rows
    ]
    return Predictions([Source("video", path)], rows, Options(subjects="many", **options))


def test_the_summary_counts_frames_and_subjects(finder, trust):
    frames = 20
    paths = [[*still(80, 80, 10), *[None] * 10], [*[None] * 4, *still(240, 80, 10), *[None] * 6]]
    text = predictions(finder, trust, paths).summary()
    found = [len(frame) for frame in told(finder, by_detection(paths), paths, trust)]
    assert text.startswith(
        f"2 subjects in {sum(map(bool, found))} of {frames} frames, at most 2 at a time; their"
    )
    assert 12 <= sum(map(bool, found)) <= 15
    nobody = predictions(finder, trust, [[None] * 3]).summary()
    assert nobody == (
        "0 subjects in 0 of 3 frames; if there is one after all, say where (--face-model, --box-model), or train on such frames"
    )


def test_each_is_smoothed_for_itself(finder, trust):
    """As if it were alone; over frames in which it was not seen nothing is smoothed."""
    random = np.random.default_rng(0)
    shaken = random.integers(-2, 3, (2, 30, 2))
    paths = [
        [(80 + x, 80 + y) for x, y in shaken[0].tolist()],
        [None if 14 <= t < 18 else (240 + x, 80 + y) for t, (x, y) in enumerate(shaken[1].tolist())],
    ]
    found = predictions(finder, trust, paths)
    smoothed = smooth_rows(found.rows, "offline")
    assert [(row.frame, row.subject) for row in smoothed] == [(row.frame, row.subject) for row in found.rows]
    for number in (1, 2):
        alone = [row for row in found.rows if row.subject == number and row.found]
        gap = next((k for k in range(1, len(alone)) if alone[k].frame > alone[k - 1].frame + 1), len(alone))
        parts = smooth_rows(alone[:gap], "offline") + smooth_rows(alone[gap:], "offline")
        both = [row for row in smoothed if row.subject == number and row.found]
        for one, other in zip(both, parts, strict=True):
            np.testing.assert_array_equal(one.points_K2, other.points_K2)
        assert any((one.points_K2 != raw.points_K2).any() for one, raw in zip(both, alone, strict=True))
        assert (gap < len(alone)) == (number == 2)


def test_an_overlay_shows_each_with_its_number(finder, trust):
    paths = [still(80, 80, 3), still(240, 80, 3)]
    *_, (picture, rows) = zip(
        film(*paths),
        [rows for _, rows in follow_all(finder, iter(film(*paths)), by_detection(paths), trust)],
        strict=True,
    )
    plain, numbered = (draw_all(picture.image_HWC, rows, 0.5, told) for told in (False, True))
    changed = (plain != picture.image_HWC).any(2)
    assert changed[:, :160].any()
    assert changed[:, 160:].any(), "points of both"
    more = (numbered != plain).any(2)
    for row in rows:
        color = np.array(hue(row.subject))
        x, y = np.rint(row.points_K2.min(0)).astype(int)
        edge_HW3 = numbered[y, x + 8 : x + 30]
        assert (edge_HW3 == color).all(1).any(), "its box in its colour"
        assert more[y - 14 : y - 2, x : x + 14].any(), "its number above it"
    assert hue(1) != hue(2)
    assert (draw_all(picture.image_HWC, [], 0.5, True) == picture.image_HWC).all()


@pytest.mark.parametrize("suffix", [".parquet", ".csv"])
def test_the_table_of_several_subjects_is_packed_as_several(finder, trust, tmp_path, suffix):
    """Two flags of a film, of which one leaves: each is a video of its own, with its own box and points."""
    frames = 12
    paths = [walk((60, 60), (2, 1), frames), [*walk((230, 90), (1, 0), 7), *[None] * (frames - 7)]]
    pictures = film(*paths)
    write_pictures(tmp_path / "film.avi", pictures)
    found = predictions(finder, trust, paths, str(tmp_path / "film.avi"))
    rows = [replace(row, path=str(tmp_path / "film.avi")) for row in found.rows]
    write_table(tmp_path / f"t{suffix}", rows)
    outcome = pack_all(tmp_path / "out", lists=[tmp_path / f"t{suffix}"])
    shards = open_shards([outcome.manifest.url])
    clips = [clip for batch in read_all(shards, ViewSettings(160, 0.0), "labelled", 1) for clip in batch]
    assert {clip.video for clip in clips} == {"film.avi@1", "film.avi@2"}
    labels = [row for row in rows if shown_points(row, MOST_ERROR).any()]
    assert len(clips) == len(labels) > frames
    of = {(row.subject, row.frame): row for row in rows if row.found}
    for clip in clips:
        row = of[int(clip.video[-1]), int(clip.frames_T[0])]
        home_K2 = affine.apply(affine.invert(clip.to_crop_23), clip.points_TK2[0])
        placed_K = clip.visible_TK[0].astype(bool)
        np.testing.assert_allclose(home_K2[placed_K], row.points_K2[placed_K], atol=0.01)


def write_pictures(path, pictures):
    height, width = pictures[0].image_HWC.shape[:2]
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 25, (width, height))
    for picture in pictures:
        writer.write(picture.image_HWC)
    writer.release()
    return path


def test_a_file_with_two_is_predicted_and_drawn(finder, trust, tmp_path):
    """From Python, by the detector's own search, with the video read twice."""
    paths = [walk((60, 60), (2, 1), 12), still(230, 90, 12)]
    path = write_pictures(tmp_path / "film.avi", film(*paths))
    found = Detector(finder, trust, "flags").predict(str(path), subjects="many", smooth="offline")
    assert found.table["subject"].to_pylist()[-2:] == [1, 2]
    found.draw(str(tmp_path / "overlay.mp4"))
    source = Source("video", str(tmp_path / "overlay.mp4"))
    drawn = [picture.image_HWC for picture in read_pictures(source)]
    assert len(drawn) == 12
    assert drawn[-1].shape == (SIDE_PX, 2 * SIDE_PX, 3)


def test_a_face_model_says_where_to_begin(finder, trust, monkeypatch):
    """Of one subject, too: the best of what it finds; and where it finds none, none is sought elsewhere."""
    boxes = iter([np.empty((0, 5)), [[206, 56, 254, 104, 0.7], [56, 56, 104, 104, 0.9]]])
    monkeypatch.setattr(
        detector_module, "load_detector", lambda name: lambda image_HWC: np.array(next(boxes), np.float32)
    )
    pictures = film(still(80, 80, 2), still(230, 80, 2))
    monkeypatch.setattr(detector_module, "read_pictures", lambda source, frames: iter(pictures))
    detector = Detector(finder, trust, "flags")
    looks = detector.follow(Source("video", "film"), Options(subject_model="any"))
    first, second = (rows for _, (rows,) in looks)
    assert not first.found
    assert second.found
    np.testing.assert_allclose(second.points_K2.mean(0), (79.5, 79.5), atol=2)
