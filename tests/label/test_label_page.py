"""The labelling page in a real browser: see, drag, hide, add, save; and the table that comes of it is packed."""

import threading
from contextlib import contextmanager

import numpy as np
import pytest

from tests.browser import CHROMIUM, open_tab
from tests.pack.footage import make_video
from tests.pack.packing import pack_all
from tsal_dist.data.shard_set import open_shards
from tsal_dist.errors import DataError
from tsal_dist.label.book import open_book
from tsal_dist.label.server import Desk, DeskServer
from tsal_dist.label.tasks import FrameToLabel, Pictures, spread_tasks
from tsal_dist.pack.formats.table import read_csv
from tsal_dist.records import FrameRef, Layout
from tsal_dist.shards.frames import read_frames

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine")
LAYOUT = Layout(("nose", "left ear", "tail"), ((0, 1), (0, 2)))
GUESS = ((40.0, 30.0), (80.0, 30.0), (60.0, 70.0))


@contextmanager
def serving(desk):
    server = DeskServer(desk)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def footage(tmp_path):
    make_video(tmp_path / "videos" / "clip.avi", frames=6, size=(128, 96))
    made = pack_all(tmp_path / "shards", [tmp_path / "videos"], split="clips", box="full", size_px=64)
    return open_shards([made.manifest.url])


def tasks():
    guessed = [
        FrameToLabel(FrameRef(0, place), "clip.avi", place, f"reason {place}", GUESS) for place in (1, 3)
    ]
    return [*guessed, FrameToLabel(FrameRef(0, 5), "clip.avi", 5, "no guess", ())]


def on_screen(tab, x, y):
    """Where a place of the source is on the screen."""
    script = f"(() => {{ const m = document.getElementById('stage').getScreenCTM(); return [m.a * {x} + m.e, m.d * {y} + m.f]; }})()"
    return tab.run(script)


def test_drag_hide_add_save_and_pack(footage, tmp_path):
    table = tmp_path / "labels.csv"
    desk = Desk(tasks(), open_book(table, LAYOUT), Pictures(footage))
    with serving(desk) as server, open_tab(tmp_path / "profile") as tab:
        tab.open(server.url)
        tab.until("document.body.dataset.ready === 'yes'")
        assert tab.run("document.getElementById('title').textContent") == "clip.avi frame 2"
        assert tab.run("document.querySelectorAll('[data-point]').length") == 3, "the guess is already there"
        assert tab.run("document.querySelectorAll('.bone').length") == 2
        tab.drag(on_screen(tab, 40, 30), on_screen(tab, 50.5, 41.25))
        tab.key("Tab")
        tab.key("h")  # the ear cannot be seen
        tab.key("Tab")
        tab.key("ArrowRight", shift=True)
        tab.key("ArrowUp")
        tab.key("Enter")
        tab.until("document.getElementById('title').textContent === 'clip.avi frame 4'")
        (one,) = read_csv(table, tmp_path)
        assert one.frame == 1
        assert one.face.visible_K.tolist() == [1, 2, 1]
        np.testing.assert_allclose(one.face.points_K2, [[50.5, 41.25], [80, 30], [70, 69]], atol=0.2)
        tab.key("x")
        tab.key("u")  # taken back
        tab.key("Tab")
        tab.key("x")
        tab.key("Enter")
        tab.until("document.getElementById('title').textContent === 'clip.avi frame 6'")
        assert tab.run("document.querySelectorAll('[data-point]').length") == 0
        x, y = on_screen(tab, 20, 25)
        tab.drag((x, y), (x, y))  # a click puts the chosen point there
        tab.key("Enter")
        tab.until("document.getElementById('state').textContent.startsWith('all seen: 3')")
        assert tab.complaints() == []
        assert all(url.startswith((server.url, "data:")) for url in tab.asked()), (
            "it asks nothing of anybody else"
        )
    found = {entry.frame: entry.face for entry in read_csv(table, tmp_path)}
    assert found[3].visible_K.tolist() == [1, 0, 1]
    assert found[5].visible_K.tolist() == [1, 0, 0]
    np.testing.assert_allclose(found[5].points_K2[0], [20, 25], atol=0.2)

    packed = pack_all(
        tmp_path / "out", [tmp_path / "videos"], gather={"labels": [table]}, box="full", shard_frames=100
    ).manifest
    assert (packed.frames, packed.labelled, packed.names) == (6, 3, LAYOUT.names)
    stored = read_frames(packed.parquet_url(0))
    np.testing.assert_allclose(stored.points_NK2[1][1], [80, 30], atol=0.01)


def test_it_goes_on_where_it_was_left(footage, tmp_path):
    table = tmp_path / "labels.csv"
    open_book(table, LAYOUT).put("clip.avi", 1, [(1, 2, 1), (3, 4, 2), (0, 0, 0)])
    desk = Desk(tasks(), open_book(table, LAYOUT), Pictures(footage))
    with serving(desk) as server, open_tab(tmp_path / "profile") as tab:
        tab.open(server.url)
        tab.until("document.body.dataset.ready === 'yes'")
        assert tab.run("document.getElementById('title').textContent") == "clip.avi frame 4"
        tab.key("[")
        assert tab.run("document.querySelectorAll('[data-point]').length") == 2
        assert tab.run("document.querySelectorAll('.hidden-point').length") == 1
        assert "1 of 3, 1 saved" in tab.run("document.getElementById('state').textContent")


def test_what_is_taken_back_after_saving_is_not_saved_and_what_cannot_be_seen_is_not_labelled(
    footage, tmp_path
):
    state = "document.getElementById('state').textContent"
    desk = Desk(tasks()[:1], open_book(tmp_path / "labels.csv", LAYOUT), Pictures(footage))
    with serving(desk) as server, open_tab(tmp_path / "profile") as tab:
        tab.open(server.url)
        tab.until("document.body.dataset.ready === 'yes'")
        tab.key("x")
        tab.key("Enter")
        tab.until(f"{state}.startsWith('all seen: 1')")
        tab.key("u")
        tab.until(f"{state}.endsWith('changed')")
        tab.key("Enter")
        tab.until(f"{state}.startsWith('all seen: 1')")
    damaged = DataError("a-00000.tar is damaged")

    class Damaged(Pictures):
        def jpeg(self, ref):
            raise damaged

    desk = Desk(tasks(), open_book(tmp_path / "other.csv", LAYOUT), Damaged(footage))
    with serving(desk) as server, open_tab(tmp_path / "profile-2") as tab:
        tab.open(server.url)
        tab.until(f"{state} === 'a-00000.tar is damaged'")
        tab.key("Enter")
        tab.until(f"{state}.startsWith('not saved')")
    assert not (tmp_path / "other.csv").exists()


def test_without_a_model_frames_are_spread(footage):
    found = spread_tasks(footage, 3)
    assert [one.frame for one in found] == [0, 2, 5]
    assert found[0].first_marks(2) == [(0.0, 0.0, 0)] * 2
