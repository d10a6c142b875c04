"""A view is drawn once per clip, and each setting does what it says and nothing else."""

import numpy as np
import pytest

from tsal_dist.config.data import AugmentConfig, DataConfig
from tsal_dist.data.augment import PLAIN, View, draw_view
from tsal_dist.data.seeded_rng import generator_for
from tsal_dist.geometry import affine

OFF = AugmentConfig(
    rotate_deg=0,
    scale=0,
    shift=0,
    flip_prob=0,
    brightness=0,
    contrast=0,
    saturation=0,
    blur_prob=0,
    jpeg_prob=0,
    occlude_prob=0,
)
ALL = OFF.model_copy(update={"blur_prob": 1.0, "jpeg_prob": 1.0, "occlude_prob": 1.0})


def picture(size_px=96):
    y, x = np.mgrid[:size_px, :size_px]
    return np.stack([x * 2, y * 2, 255 - x - y], axis=-1).astype(np.uint8)


def test_all_settings_at_zero_change_nothing():
    view = draw_view(OFF, generator_for(0))
    image = picture()
    assert (view.paint(image) == image).all()
    box = [10, 20, 50, 70]
    assert (view.to_crop(box, 96, 0.2) == PLAIN.to_crop(box, 96, 0.2)).all()


def test_equal_words_give_an_equal_view_and_others_do_not():
    config = DataConfig().hard
    assert draw_view(config, generator_for(1, 2, 3)).to_crop([0, 0, 9, 9], 64, 0).tolist() == (
        draw_view(config, generator_for(1, 2, 3)).to_crop([0, 0, 9, 9], 64, 0).tolist()
    )
    angles = {draw_view(config, generator_for(1, 2, sample)).degrees for sample in range(50)}
    assert len(angles) == 50


def test_a_setting_does_not_change_the_draws_of_the_others():
    some = draw_view(DataConfig().hard, generator_for(5))
    other = draw_view(
        DataConfig().hard.model_copy(update={"jpeg_prob": 0.0, "flip_prob": 1.0}), generator_for(5)
    )
    assert (some.degrees, some.zoom, some.shift, some.brightness) == (
        other.degrees,
        other.zoom,
        other.shift,
        other.brightness,
    )


def test_draws_stay_within_their_settings_and_reach_them():
    config = AugmentConfig(rotate_deg=20, scale=0.1, shift=0.05, flip_prob=0.5, occlude_prob=0.25)
    views = [draw_view(config, generator_for("bounds", number)) for number in range(1500)]
    assert 18 < max(abs(view.degrees) for view in views) <= 20
    assert 0.9 <= min(view.zoom for view in views) < 0.91
    assert 0.048 < max(abs(axis) for view in views for axis in view.shift) <= 0.05
    assert 0.45 < np.mean([view.flip for view in views]) < 0.55
    assert 0.2 < np.mean([view.patch is not None for view in views]) < 0.3


def test_all_frames_of_a_clip_get_the_same_paint():
    view = draw_view(ALL, generator_for(3))
    image = picture()
    assert (view.paint(image) == view.paint(image.copy())).all()


@pytest.mark.parametrize("name", ["blur_prob", "jpeg_prob", "occlude_prob"])
def test_each_look_changes_the_picture_and_spares_its_input(name):
    image = picture()
    before = image.copy()
    view = draw_view(OFF.model_copy(update={name: 1.0}), generator_for(11))
    assert (view.paint(image) != before).any()
    assert (image == before).all()


@pytest.mark.parametrize("degrees", [0.0, 45.0, 90.0, 200.0])
def test_motion_blur_keeps_the_light(degrees):
    image = np.full((64, 64, 3), 100, np.uint8)
    image[20:40, 20:40] = 200
    streaked = View(blur_px=12.0, streak_degrees=degrees).paint(image)
    assert abs(float(streaked.mean()) - float(image.mean())) < 1
    assert streaked.std() < image.std()


def test_brightness_contrast_and_saturation_mean_what_they_say():
    grey = np.full((8, 8, 3), 128, np.uint8)
    assert int(View(brightness=0.1).paint(grey)[0, 0, 0]) == 154
    assert (View(contrast=0.5).paint(grey) == grey).all()
    assert int(View(contrast=0.5).paint(np.full((8, 8, 3), 228, np.uint8))[0, 0, 0]) == 178
    colour = np.full((8, 8, 3), (200, 50, 50), np.uint8)
    assert np.ptp(View(saturation=0.0).paint(colour)) <= 1
    assert (View(saturation=0.0).paint(grey) == grey).all()


def test_shift_moves_by_a_share_of_the_crop():
    moved = View(shift=(0.25, 0.0)).to_crop([0, 0, 100, 100], 200, 0.0)
    still = PLAIN.to_crop([0, 0, 100, 100], 200, 0.0)
    assert np.allclose(affine.apply(moved, [50, 50]) - affine.apply(still, [50, 50]), [50, 0])
