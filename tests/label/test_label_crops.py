"""Where only a window of the source is stored, the page shows the window and the table holds places of the source."""

import cv2
import numpy as np
import pytest

from tests.pack.packing import SPOT, pack_spot
from tsal_dist.data.shard_set import open_shards
from tsal_dist.label.book import open_book
from tsal_dist.label.server import Desk
from tsal_dist.label.tasks import FrameToLabel, Pictures
from tsal_dist.pack.formats.table import read_csv
from tsal_dist.records import FrameRef, Layout

GUESS = ((float(SPOT[0]), float(SPOT[1])), (SPOT[0] + 12.0, float(SPOT[1])))


@pytest.fixture
def desk(tmp_path):
    shards = open_shards([pack_spot(tmp_path).url])
    task = FrameToLabel(FrameRef(0, 2), "clip.avi", 2, "", GUESS)
    return Desk([task], open_book(tmp_path / "labels.csv", Layout(("nose", "tail"))), Pictures(shards))


def spot_on_page(desk):
    """The middle of what is bright, in the pixels in which the page counts."""
    picture = cv2.imdecode(np.frombuffer(desk.jpeg(0), np.uint8), cv2.IMREAD_GRAYSCALE)
    width, height = desk.describe()["frames"][0]["size"]
    y_N, x_N = np.nonzero(picture > 128)
    scale_2 = np.array([width / picture.shape[1], height / picture.shape[0]])
    return (np.array([x_N.mean(), y_N.mean()]) + 0.5) * scale_2 - 0.5


def test_a_guess_is_shown_where_it_is_in_the_window(desk):
    (x, y, seen), other = desk.describe()["frames"][0]["marks"]
    np.testing.assert_allclose([x, y], spot_on_page(desk), atol=0.5)
    assert seen == 1
    assert other == pytest.approx((x + 12, y, 1))


def test_what_is_marked_in_the_window_is_written_in_pixels_of_the_source(desk):
    x, y = spot_on_page(desk)
    desk.save(0, [(float(x), float(y), 1), (0.0, 0.0, 0)], "")
    (entry,) = read_csv(desk.book.path, desk.book.path.parent)
    np.testing.assert_allclose(entry.face.points_K2, [SPOT, (0, 0)], atol=0.5)
    assert entry.face.visible_K.tolist() == [1, 0]


def test_what_was_saved_is_shown_again_in_the_window(desk):
    before = desk.describe()["frames"][0]
    desk.save(0, before["marks"], before["revision"])
    np.testing.assert_allclose(desk.describe()["frames"][0]["marks"], before["marks"], atol=1e-3)
