"""Overlay videos: H.264 that browsers play, every frame at its time, with the source's sound."""

import sys
from fractions import Fraction

import numpy as np
import pytest

from tsal_dist.inference.video_file import SOUND_PER_S, open_video_file

av = pytest.importorskip("av")

TIMES_MS = (0.0, 40.0, 80.0, 200.0, 240.0)
"""A frame is missing in the middle."""


def images(height=48, width=64):
    for number in range(len(TIMES_MS)):
        yield np.full((height, width, 3), 50 * number, np.uint8)


def write(path, voice=None, **size):
    with open_video_file(path, 25.0, voice) as file:
        for image, pts_ms in zip(images(**size), TIMES_MS, strict=True):
            file.add(image, pts_ms)
    return path


def write_voice(path, seconds=1.0, rate=16_000):
    """A tone in an .mkv, as raw samples."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=rate)
        stream.codec_context.layout = "mono"
        wave = np.sin(np.arange(int(seconds * rate)) * 2 * np.pi * 440 / rate) * 9000
        frame = av.AudioFrame.from_ndarray(wave.astype(np.int16)[None], format="s16", layout="mono")
        frame.sample_rate = rate
        frame.pts = 0
        frame.time_base = Fraction(1, rate)
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def test_it_is_h264_with_every_frame_at_its_time(tmp_path):
    with av.open(str(write(tmp_path / "o.mp4"))) as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.codec_context.pix_fmt) == ("h264", "yuv420p")
        frames = list(container.decode(stream))
    assert [round(1000 * float(frame.pts * frame.time_base)) for frame in frames] == list(TIMES_MS)
    assert [round(frame.to_ndarray(format="bgr24").mean(), -1) for frame in frames] == [0, 50, 100, 150, 200]


def test_odd_sides_are_made_even(tmp_path):
    with av.open(str(write(tmp_path / "o.mp4", height=47, width=63))) as container:
        frame = next(container.decode(video=0))
    assert (frame.height, frame.width) == (48, 64)


def test_the_sound_comes_along(tmp_path):
    voice = write_voice(tmp_path / "in.mkv")
    with av.open(str(write(tmp_path / "o.mp4", voice))) as container:
        assert container.streams.audio[0].codec_context.name == "aac"
        heard = [frame.to_ndarray() for frame in container.decode(audio=0)]
    samples = np.concatenate(heard, axis=1)[0]
    assert len(samples) / SOUND_PER_S == pytest.approx(1.0, abs=0.2)
    loudest = np.argmax(np.abs(np.fft.rfft(samples[6000:30_000])))
    assert loudest * SOUND_PER_S / 24_000 == pytest.approx(440, abs=5)


def test_sound_that_breaks_off_is_kept_until_there(tmp_path):
    """Cut within a packet, which no decoder takes."""
    voice = tmp_path / "voice.avi"
    with av.open(str(voice), "w") as container:
        stream = container.add_stream("aac", rate=48_000)
        stream.codec_context.layout = "mono"
        for number in range(25):
            sound_1N = np.random.default_rng(number).normal(0, 0.1, (1, 1920)).astype(np.float32)
            frame = av.AudioFrame.from_ndarray(sound_1N, format="fltp", layout="mono")
            frame.sample_rate, frame.pts = 48_000, 1920 * number
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    whole, refused = voice.read_bytes(), 0
    for share in (0.5, 0.6, 0.7, 0.8, 0.9):
        voice.write_bytes(whole[: int(share * len(whole))])
        refused += not _decodes(voice)
        with av.open(str(write(tmp_path / "out.mp4", voice=voice))) as container:
            heard = sum(frame.samples for frame in container.decode(audio=0))
        assert 0.3 * share < heard / 48_000 < 1
    assert refused, "none of these was cut within a packet, so nothing was tested"


def _decodes(path):
    try:
        with av.open(str(path)) as container:
            return bool(list(container.decode(audio=0)))
    except av.error.FFmpegError:
        return False


def test_a_source_without_sound_is_no_trouble(tmp_path):
    silent = write(tmp_path / "silent.mp4")
    with av.open(str(write(tmp_path / "o.mp4", silent))) as container:
        assert not container.streams.audio


def test_times_that_stand_still_are_spread(tmp_path):
    with open_video_file(tmp_path / "o.mp4", 25.0) as file:
        for image in images():
            file.add(image, 0.0)
    with av.open(str(tmp_path / "o.mp4")) as container:
        times = [float(frame.pts * frame.time_base) for frame in container.decode(video=0)]
    np.testing.assert_allclose(times, np.arange(5) / 25, atol=1e-3)


@pytest.mark.parametrize("suffix", [".mp4", ".avi"])
def test_without_pyav_there_is_still_a_video(tmp_path, monkeypatch, caplog, suffix):
    monkeypatch.setitem(sys.modules, "av", None)
    path = write(tmp_path / f"o{suffix}")
    assert ("pip install 'tsal_dist[video]'" in caplog.text) == (suffix == ".mp4")
    with av.open(str(path)) as container:
        assert len(list(container.decode(video=0))) == len(TIMES_MS)
