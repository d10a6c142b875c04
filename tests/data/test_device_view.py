"""Views taken on a device against those that a reader paints, the oracle; here on CPU tensors."""

from contextlib import contextmanager
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tsal_dist.config.data import AugmentConfig
from tsal_dist.data.augment import PLAIN, View, draw_view
from tsal_dist.data.clips import build_clips
from tsal_dist.data.copy_lane import CopyLane, HostLane
from tsal_dist.data.crop import ViewSettings
from tsal_dist.data.decode import decode_crop, decode_window
from tsal_dist.data.device_view import crop_side, render
from tsal_dist.data.raw_clip import MOST_GROWTH, RawClip, cut_windows
from tsal_dist.data.reader import FrameReader
from tsal_dist.data.request import ClipRequest, ReadAhead
from tsal_dist.data.seeded_rng import generator_for
from tsal_dist.data.shard_set import open_shards
from tsal_dist.data.stream import ClipStream
from tsal_dist.geometry.flip import flip_order

CPU = torch.device("cpu")
CROP_PX = 96
BOX = (60.0, 40.0, 170.0, 160.0)
# OpenCV's warp knows 32 places between two pixels: up to 1/64 px off, times the steepest slope of the picture.
MEAN_LEVELS, MOST_LEVELS = 0.5, 8
HARD = AugmentConfig(blur_prob=0.5, jpeg_prob=0.0, occlude_prob=0.5)


def encoded(seed=0, size=(240, 200), kind=".png"):
    coarse = np.random.default_rng(seed).integers(0, 255, (size[1] // 5, size[0] // 5, 3), np.uint8)
    picture = cv2.resize(coarse, size, interpolation=cv2.INTER_CUBIC)
    return cv2.imencode(kind, picture)[1].tobytes()


def both(view, data, box=BOX, crop_px=CROP_PX):
    to_crop_23 = view.to_crop(np.array(box), crop_px, 0.2)
    painted = view.paint(decode_crop(data, to_crop_23, crop_px))
    window, from_window_23 = decode_window(data, to_crop_23, crop_px)
    clip = RawClip(window[None], *(None,) * 12, from_image_23=from_window_23, view=view, crop_px=crop_px)
    return painted.astype(int), render([clip], CPU)[0, 0].numpy().astype(int)


def check(painted, rendered):
    off = np.abs(painted - rendered)
    assert off.mean() < MEAN_LEVELS
    assert np.quantile(off, 0.999) <= MOST_LEVELS


@pytest.mark.parametrize(
    "view",
    [
        PLAIN,
        View(zoom=1.1, degrees=18.0, shift=(0.05, -0.04), flip=True),
        View(saturation=0.7),
        View(brightness=0.2, contrast=0.8),
        View(brightness=-0.2, contrast=1.25),
        View(blur_px=2.4),
        View(blur_px=2.0, streak_degrees=35.0),
    ],
    ids=["plain", "geometry", "saturation", "light", "dark", "gaussian", "streak"],
)
def test_each_stage_is_that_of_the_reader(view):
    check(*both(view, encoded()))


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 10**6))
def test_drawn_views_are_those_of_the_reader(seed):
    check(*both(draw_view(HARD, generator_for(seed)), encoded(seed % 3)))


def test_an_occluder_lies_where_it_lay():
    view = next(
        drawn
        for seed in range(50)
        if (
            drawn := draw_view(AugmentConfig(occlude_prob=1.0, blur_prob=0, jpeg_prob=0), generator_for(seed))
        ).patch
        and drawn.patch.ellipse
    )
    check(*both(view, encoded()))


@pytest.mark.parametrize(
    "box", [(-40.0, -40.0, 60.0, 60.0), (200.0, 150.0, 330.0, 300.0), (900, 900, 960, 960)]
)
def test_beyond_the_picture_lies_the_fill_colour(box):
    painted, rendered = both(View(degrees=10.0), encoded(), box)
    check(painted, rendered)


def test_a_large_jpeg_is_decoded_small_in_both():
    data = encoded(size=(1280, 960), kind=".jpg")
    box = (300.0, 200.0, 900.0, 760.0)
    window, _ = decode_window(data, PLAIN.to_crop(np.array(box), CROP_PX, 0.2), CROP_PX)
    assert max(window.shape[:2]) <= MOST_GROWTH * CROP_PX
    check(*both(PLAIN, data, box))


def test_a_window_holds_all_that_the_crop_is_made_of():
    """Whatever lies outside of it may be anything."""
    view = View(degrees=20.0, zoom=0.9)
    to_crop_23 = view.to_crop(np.array(BOX), CROP_PX, 0.2)
    window, _ = decode_window(encoded(), to_crop_23, CROP_PX)
    assert window.size < 240 * 200 * 3


def test_what_a_device_does_badly_stays_with_the_reader():
    to_crop_23 = PLAIN.to_crop(np.array(BOX), CROP_PX, 0.2)
    assert cut_windows([encoded()], View(jpeg_quality=20), to_crop_23, CROP_PX) is None
    assert (
        cut_windows([encoded(), encoded(size=(300, 200))], PLAIN, View().to_crop(BOX, 400, 2.0), 400) is None
    )
    assert cut_windows([encoded()], PLAIN, PLAIN.to_crop(np.array((0, 0, 200, 190)), 32, 0.2), 32) is None
    assert cut_windows([encoded()], PLAIN, to_crop_23, CROP_PX) is not None


@pytest.fixture(scope="module")
def shards(shards_url):
    return open_shards([shards_url])


@pytest.mark.parametrize("workers", [0, 1])
def test_a_stream_of_raw_clips_gives_what_a_stream_of_views_gives(shards, workers):
    def batch(raw):
        view = ViewSettings(64, augment=AugmentConfig(), raw=raw, mirror=flip_order(68))
        words = {"select": "all", "batch": 6, "rank": 0, "world": 1, "seed": 3, "clip_frames": 2}
        with ClipStream(shards, view, read_ahead=ReadAhead(workers), **words) as stream:
            return next(stream)

    painted, raw = batch(False), batch(True)
    assert any(isinstance(clip, RawClip) for clip in raw)
    assert {crop_side(clip) for clip in (*painted, *raw)} == {64}
    for one, other in zip(painted, raw, strict=True):
        assert one.sample_id == other.sample_id
        np.testing.assert_array_equal(one.points_TK2, other.points_TK2)
        np.testing.assert_array_equal(one.to_crop_23, other.to_crop_23)
    off = (render(painted, CPU).int() - render(raw, CPU).int()).abs().float()
    assert off.mean() < MEAN_LEVELS


def test_a_reader_leaves_pixels_as_they_were(shards):
    reader = FrameReader(shards, ViewSettings(64, raw=True))
    clip = reader.read(ClipRequest(build_clips(shards, "all").ref(0), 1, 1))
    assert isinstance(clip, RawClip)
    assert clip.view is PLAIN
    reader.close()


class FakeCuda:
    """Keeps a diary of what would be asked of streams; what it calls a device is the host."""

    def __init__(self, diary):
        self.diary, self.now = diary, "compute"

    def Stream(self, device):
        return "copy"

    def current_stream(self, device):
        return SimpleNamespace(wait_stream=lambda other: self.diary.append(f"{self.now} waits for {other}"))

    @contextmanager
    def stream(self, which):
        before, self.now = self.now, which
        yield
        self.now = before


def test_a_copy_goes_beside_what_is_computed(monkeypatch):
    diary = []
    cuda = FakeCuda(diary)
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda tensor: diary.append("pinned") or tensor)
    monkeypatch.setattr(
        torch.Tensor,
        "to",
        lambda tensor, *_, non_blocking=False: diary.append(f"{cuda.now} {non_blocking}") or tensor,
    )
    monkeypatch.setattr(
        torch.Tensor, "record_stream", lambda tensor, stream: diary.append("kept while in use")
    )
    sent = CopyLane(torch.device("cuda", 0), cuda).send(np.arange(6).reshape(2, 3)[:, ::2])
    assert sent.tolist() == [[0, 2], [3, 5]]
    assert diary == ["pinned", "copy True", "compute waits for copy", "kept while in use"]


def test_the_pixels_of_a_batch_are_one_copy(shards, monkeypatch):
    view = ViewSettings(
        64, augment=AugmentConfig(blur_prob=0, occlude_prob=0), raw=True, mirror=flip_order(68)
    )
    words = {"select": "all", "batch": 8, "rank": 0, "world": 1, "seed": 3}
    with ClipStream(shards, view, read_ahead=ReadAhead(0), **words) as stream:
        clips = next(stream)
    assert len({isinstance(clip, RawClip) for clip in clips}) == 2, "some with JPEG artefacts, some without"
    sent = []
    monkeypatch.setattr(
        HostLane, "send", lambda lane, array: sent.append(array.nbytes) or torch.from_numpy(array)
    )
    assert render(clips, CPU).shape == (8, 1, 64, 64, 3)
    assert sent == [sum(clip.image_THWC.nbytes for clip in clips)]
