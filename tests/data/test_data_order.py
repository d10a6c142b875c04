"""L1 to L7 as arithmetic: the order of an epoch and the stripes that ranks take of it."""

import os
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tsal_dist.data.order import EpochOrder, Stripe
from tsal_dist.errors import ConfigError, TopologyError

shards = st.lists(st.integers(0, 40), min_size=1, max_size=12).filter(lambda sizes: sum(sizes) > 0)
small = st.integers(1, 9)


def whole(sizes, fingerprint="f", seed=0, epoch=0, window=2):
    order = EpochOrder(np.array(sizes), fingerprint, seed, epoch, window)
    return order.ids(np.arange(len(order)))


def walk(samples, world, batch, start=0):
    """What each rank sees from `start` to the end of the epoch: positions and pads, step by step."""
    stripes = [Stripe(rank, world, batch) for rank in range(world)]
    firsts = range(start, samples, world * batch)
    met = [[stripe.positions(first, samples) for first in firsts] for stripe in stripes]
    return [[(positions, behind > 0) for positions, behind in rank] for rank in met]


@given(shards, small, st.integers(0, 5))
def test_every_sample_once_whatever_the_window(sizes, window, seed):
    assert sorted(whole(sizes, seed=seed, window=window)) == list(range(sum(sizes)))


@given(shards, small, st.data())
def test_a_position_is_the_same_sample_however_it_is_asked(sizes, window, data):
    expected = whole(sizes, window=window)
    order = EpochOrder(np.array(sizes), "f", 0, 0, window)
    positions = np.array(data.draw(st.lists(st.integers(0, sum(sizes) - 1), min_size=1, max_size=20)))
    assert (order.ids(positions) == expected[positions]).all()


@given(shards, small, small, small)
def test_ranks_cover_the_epoch_in_equal_steps_and_flag_their_pads(sizes, world, batch, window):
    samples = sum(sizes)
    ranks = walk(samples, world, batch)
    steps = {len(rank) for rank in ranks}
    assert steps == {Stripe(0, world, batch).steps(samples)}
    real = np.concatenate([positions[~pad] for rank in ranks for positions, pad in rank])
    pads = sum(int(pad.sum()) for rank in ranks for _, pad in rank)
    assert sorted(whole(sizes, window=window)[real]) == list(range(samples))
    assert pads < world * batch


@given(st.integers(1, 300), small, small, small, small, st.data())
def test_another_world_takes_up_where_the_old_one_stopped(samples, world, batch, new_world, new_batch, data):
    done = data.draw(st.integers(0, Stripe(0, world, batch).steps(samples)))
    start = min(done * world * batch, samples)
    seen = [p for rank in walk(samples, world, batch) for p, pad in rank[:done] for p in p[~pad]]
    rest = [p for rank in walk(samples, new_world, new_batch, start) for p, pad in rank for p in p[~pad]]
    assert sorted(seen + rest) == list(range(samples))


@given(st.integers(1, 200), small, small)
def test_a_global_batch_is_the_same_set_for_every_split_of_it(samples, world, batch):
    one = walk(samples, 1, world * batch)[0]
    many = walk(samples, world, batch)
    for step, (positions, pad) in enumerate(one):
        parts = [rank[step] for rank in many]
        assert (np.concatenate([p for p, _ in parts]) == positions).all()
        assert (np.concatenate([p for _, p in parts]) == pad).all()


@pytest.mark.parametrize(
    "other",
    [{"seed": 1}, {"epoch": 1}, {"fingerprint": "g"}, {"window": 8}],
    ids=lambda other: next(iter(other)),
)
def test_another_seed_epoch_or_set_is_another_order(other):
    sizes = [50] * 8
    assert (whole(sizes) != whole(sizes, **other)).mean() > 0.9


def test_clips_of_a_window_are_mixed_and_windows_are_not():
    ids = whole([100] * 6, window=2)
    shard_of = ids // 100
    for number in range(3):
        window = shard_of[number * 200 : (number + 1) * 200]
        assert len(set(window)) == 2
        assert 60 < np.count_nonzero(np.diff(window)) < 140  # 100 for a fair mix, 1 for two blocks


def test_the_order_is_the_same_in_another_process():
    """Neither a salted hash nor the number of ranks in the environment may enter."""
    code = (
        "import numpy as np; from tsal_dist.data.order import EpochOrder;"
        "o = EpochOrder(np.array([5, 0, 9]), 'f', 3, 1, 2); print(o.ids(np.arange(14)).tolist())"
    )
    environment = {**os.environ, "PYTHONHASHSEED": "7", "RANK": "3", "WORLD_SIZE": "8"}
    output = subprocess.run(
        [sys.executable, "-c", code], env=environment, check=True, capture_output=True, text=True
    ).stdout
    assert output.strip() == str(whole([5, 0, 9], seed=3, epoch=1).tolist())


def test_the_order_of_this_release_is_the_order_of_the_last():
    """A resumed run must find the order that it left: this list may change only with the state's version."""
    assert whole([4, 3, 5], window=2).tolist() == [0, 10, 7, 11, 3, 9, 2, 8, 1, 5, 6, 4]


def test_a_rank_outside_its_world_is_refused():
    with pytest.raises(TopologyError, match="Rank 2 does not fit a world of 2"):
        Stripe(2, 2, 1)
    with pytest.raises(ConfigError, match="window"):
        EpochOrder(np.array([3]), "f", 0, 0, 0)
