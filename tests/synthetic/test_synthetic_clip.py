"""One clip: the picture shows what its points say, and moves as film does."""

from dataclasses import replace

import cv2
import numpy as np
import pytest

from tsal_dist.canvas import curve
from tsal_dist.synthetic.camera import Lamp, Pose, rotation
from tsal_dist.synthetic.clip import ClipSpec, render_clip
from tsal_dist.synthetic.head import Head
from tsal_dist.synthetic.look import draw_look
from tsal_dist.synthetic.motion import MAX_PITCH_DEG, MAX_ROLL_DEG, MAX_YAW_DEG, draw_motion
from tsal_dist.synthetic.shape import EYES, INNER_LIPS, JAW, OUTER_LIPS, Expression


@pytest.fixture(scope="module")
def clips():
    """Some people, each for a moment."""
    return [render_clip(ClipSpec(seed=5, clip=clip, frames=16, size_px=96)) for clip in range(10)]


def polygon_mask(points, size_px):
    mask = np.zeros((size_px, size_px), np.uint8)
    cv2.fillPoly(mask, [np.round(curve(points.astype(float), closed=True)).astype(np.int32)], (1,))
    return mask.astype(bool)


def test_shapes_and_kinds(clips):
    clip = clips[0]
    assert clip.frames.shape == (16, 96, 96, 3)
    assert clip.frames.dtype == np.uint8
    assert clip.points.shape == (16, 68, 2)
    assert clip.points.dtype == np.float32
    assert clip.visible.shape == (16, 68)


def test_a_clip_is_a_function_of_its_spec():
    spec = ClipSpec(seed=9, clip=2, frames=3, size_px=96)
    one, two = render_clip(spec), render_clip(spec)
    np.testing.assert_array_equal(one.frames, two.frames)
    np.testing.assert_array_equal(one.points, two.points)


@pytest.mark.parametrize("other", [ClipSpec(9, 3, 3, 96), ClipSpec(10, 2, 3, 96)])
def test_another_seed_or_clip_is_another_person(other):
    assert (render_clip(ClipSpec(9, 2, 3, 96)).frames != render_clip(other).frames).mean() > 0.5


def test_the_caller_keeps_their_threads():
    before = cv2.getNumThreads()
    cv2.setNumThreads(2)
    try:
        render_clip(ClipSpec(0, 0, 1, 64))
        assert cv2.getNumThreads() == 2
    finally:
        cv2.setNumThreads(before)


def test_points_are_in_the_frame(clips):
    points = np.concatenate([clip.points for clip in clips])
    inside = ((points >= 0) & (points <= 95)).all(-1)
    assert inside.mean() > 0.97
    assert inside.all(1).mean() > 0.8


def test_points_move_as_film_does(clips):
    """No jump between frames, and no change of mind: acceleration stays small against the face."""
    for clip in clips:
        face_px = np.sqrt(np.prod(np.ptp(clip.points, axis=1), axis=1)).mean()
        speed = np.linalg.norm(np.diff(clip.points, axis=0), axis=-1) / face_px
        assert speed.max() < 0.2
        # the jaw may slide from one spoke's place to the next: only what is fixed to the skin is held to it
        shake = np.linalg.norm(np.diff(clip.points[:, 17:], n=2, axis=0), axis=-1) / face_px
        assert shake.max() < 0.15
        assert speed.mean() > 0.002  # it does move


def test_most_points_are_seen_and_some_are_not(clips):
    visible = np.concatenate([clip.visible for clip in clips])
    assert 0.6 < visible.mean() < 0.99


def test_parts_are_where_faces_have_them():
    """In the order of 300W, in a face that looks nearly straight at us."""
    seen = 0
    for number in range(30):
        clip = render_clip(ClipSpec(seed=3, clip=number, frames=6, size_px=64))
        for p, (yaw, _, roll) in zip(clip.points, clip.pose_deg, strict=True):
            if abs(yaw) > 12 or abs(roll) > 8:
                continue
            seen += 1
            assert p[0, 0] < p[36, 0] < p[39, 0] < p[27, 0] < p[42, 0] < p[45, 0] < p[16, 0]
            assert p[19, 1] < p[37, 1] < p[41, 1] + 1e-3 < p[30, 1] < p[51, 1] < p[62, 1] < p[57, 1] < p[8, 1]
            assert p[62, 1] <= p[66, 1] + 0.5
            assert p[48, 0] < p[60, 0] + 0.5 < p[64, 0] + 0.5 <= p[54, 0] + 1
            assert p[31, 0] < p[33, 0] < p[35, 0]
            assert np.argmax(p[JAW, 1]) in (7, 8, 9)
    assert seen >= 20


@pytest.mark.parametrize("yaw", [-40.0, -20.0, 0.0, 20.0, 40.0])
@pytest.mark.parametrize(
    "expression",
    [
        Expression(),
        Expression(open=1.0),
        Expression(smile=1.0, brows=1.0, blink=(0.3, 0.0)),
        Expression(pucker=1.0, brows=-0.8, blink=(0.0, 0.6)),
    ],
)
def test_lips_and_irises_are_drawn_within_their_points(yaw, expression):
    """Paint a head red, its lips blue and its irises green, in flat light: each colour keeps to its points."""
    rng = np.random.default_rng(abs(int(yaw)))
    plain = {"beard": 0.0, "moustache": 0.0, "makeup": 0.0, "glasses": "none", "hair_style": "bald"}
    colors = {"skin": (0, 0, 200), "hair": (0, 0, 90), "lips": (190, 0, 0), "iris": (0, 220, 0)}
    look = replace(draw_look(rng), **plain, **{name: np.array(c, float) for name, c in colors.items()})
    head = Head(rng, look, 90.0)
    flat = Lamp(np.array([0.0, 0.0, 1.0]), key=np.zeros(3), fill=np.ones(3), gloss=0.0)
    placed = head.place(Pose(rotation(yaw, 8.0, -10.0), np.array([160.0, 130.0]), 90.0), expression)
    picture = np.zeros((640, 640, 3), np.uint8)
    head.paint(picture, placed, expression, np.array([0.4, 0.0]), flat)
    blue, green, red = (
        c.astype(int) for c in cv2.split(cv2.resize(picture, (320, 320), interpolation=cv2.INTER_AREA))
    )
    points = placed.points[:, :2]
    near = np.ones((5, 5), np.uint8)

    lips = (blue > 90) & (blue > 2 * green) & (blue > 2 * red)
    mouth = polygon_mask(points[OUTER_LIPS], 320)
    assert lips.sum() > 100
    # at the far edge of a turned head the lips bend out of sight with their points
    outside = lips & ~cv2.dilate(mouth.astype(np.uint8), near).astype(bool)
    assert outside.sum() < 0.02 * lips.sum()
    flesh = mouth & ~cv2.dilate(polygon_mask(points[INNER_LIPS], 320).astype(np.uint8), near).astype(bool)
    flesh = cv2.erode(flesh.astype(np.uint8), near).astype(bool)
    assert (lips & flesh).sum() > 0.9 * flesh.sum()

    irises = (green > 60) & (green > 2 * blue) & (green > 2 * red)
    eyes = polygon_mask(points[EYES[0]], 320) | polygon_mask(points[EYES[1]], 320)
    assert irises.sum() > 20
    assert not (irises & ~cv2.dilate(eyes.astype(np.uint8), near).astype(bool)).any()


def test_jaw_points_lie_on_an_edge_of_the_head():
    """On the far side of a turned face the jaw's points touch the ground: just outside them is no skin."""
    for seed in range(8):
        rng = np.random.default_rng(seed)
        head = Head(rng, draw_look(rng), 60.0)
        yaw = 40.0 if seed % 2 else -40.0
        placed = head.place(Pose(rotation(yaw, 0.0, 0.0), np.array([128.0, 110.0]), 60.0), Expression())
        picture = np.zeros((512, 512, 3), np.uint8)
        hits = head.paint(picture, placed, Expression(), np.zeros(2), Lamp.draw(rng))
        covered = np.zeros((256, 256), np.uint8)
        covered.ravel()[hits.pixels] = 1
        far = placed.points[12:16] if yaw > 0 else placed.points[1:5]
        for x, y, _ in far:
            row = np.flatnonzero(covered[round(y)])
            edge = row[-1] if yaw > 0 else row[0]
            assert abs(edge - x) < 5, (seed, x, edge)


def test_poses_cover_their_range_and_keep_to_it():
    motions = [draw_motion(np.random.default_rng(seed), 40) for seed in range(200)]
    # people nod and tilt less than they look around: the outer sixths hold at least this share
    for name, limit, share in (
        ("yaw", MAX_YAW_DEG, 0.04),
        ("pitch", MAX_PITCH_DEG, 0.02),
        ("roll", MAX_ROLL_DEG, 0.02),
    ):
        angles = np.concatenate([getattr(motion, name) for motion in motions])
        assert np.abs(angles).max() <= limit
        counts, _ = np.histogram(angles, bins=6, range=(-limit, limit))
        assert counts.min() > share * counts.sum(), name
    blinks = np.concatenate([motion.blink for motion in motions])
    assert 0.02 < (blinks > 0.8).mean() < 0.4


def test_smooth_paths_do_not_depend_on_the_clip_being_longer():
    """A second of a long clip moves like a second of a short one: the same speeds."""
    fast = [
        np.abs(np.diff(draw_motion(np.random.default_rng(s), n).yaw)).mean()
        for n in (24, 240)
        for s in range(80)
    ]
    short, long = np.mean(fast[:80]), np.mean(fast[80:])
    assert 0.7 < short / long < 1.4


def test_nobody_is_there_while_the_person_is_away():
    """The place is the same, and so is every other frame to the bit."""
    there = render_clip(ClipSpec(9, 2, 6, 64))
    left = render_clip(ClipSpec(9, 2, 6, 64, away=(2, 4)))
    away = np.isin(np.arange(6), (2, 3))
    assert np.array_equal(left.frames[~away], there.frames[~away])
    assert np.array_equal(left.visible[~away], there.visible[~away])
    assert not left.visible[away].any()
    for frame in (2, 3):
        x, y = np.clip(there.points[frame, 30].round().astype(int), 0, 63)
        changed_HW = (left.frames[frame] != there.frames[frame]).any(-1)
        assert changed_HW[y, x], "the nose is gone"
        assert changed_HW.mean() < 0.9, "the wall stays"
