"""What the feed asks its readers for."""

from types import SimpleNamespace

import numpy as np
import torch

from tests.fakes_rows import SOURCES, make_batch
from tsal_dist.pseudo.consumer import Delivery
from tsal_dist.roles.label_feed import LabelFeed

FRAMES, MIRRORED_STEPS = 4, 6


def test_pseudo_labelled_clips_are_mirrored_up_to_a_step():
    rows, asked = make_batch(range(8)), []
    lags = np.zeros(8, np.int64)
    feed = LabelFeed(
        SimpleNamespace(fetch=lambda plan: Delivery(rows.columns(), np.ones(8, np.float32), lags, lags + 1)),
        SimpleNamespace(submit=lambda request: asked.append(request) or len(asked)),
        SOURCES,
        clip_frames=FRAMES,
        clip_stride=1,
        crop_px=32,
        seed=0,
        mirrored_steps=MIRRORED_STEPS,
        device=torch.device("cpu"),
    )
    for step in range(MIRRORED_STEPS + 2):
        feed.expect(SimpleNamespace(step=step))
    assert [request.mirrored for request in asked] == [True] * 2 * MIRRORED_STEPS + [False] * 4
