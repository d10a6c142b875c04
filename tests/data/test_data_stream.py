"""L1 to L4, L7, L8 and L10 on real shards and worker processes; the arithmetic is tested in test_data_order."""

import itertools
import time
from pathlib import Path

import numpy as np
import pytest

from tsal_dist.config.data import DataConfig
from tsal_dist.data.crop import ViewSettings
from tsal_dist.data.request import ReadAhead
from tsal_dist.data.shard_set import open_shards
from tsal_dist.data.stream import ClipStream
from tsal_dist.errors import CheckpointError, DataError
from tsal_dist.geometry.flip import flip_order


def stream(urls, *, workers=0, view=None, **words):
    settings = {"select": "all", "batch": 3, "rank": 0, "world": 1, "seed": 0, "epochs": 1, "window": 2}
    return ClipStream(
        open_shards([urls] if isinstance(urls, str) else urls),
        view or ViewSettings(crop_px=24, augment=DataConfig().hard, mirror=flip_order(68)),
        **{**settings, **words},
        read_ahead=ReadAhead(workers=workers),
    )


def drain(made):
    with made:
        return list(made)


def same(one, two):
    return all(
        a.sample_id == b.sample_id
        and a.pad == b.pad
        and (a.image_THWC == b.image_THWC).all()
        and (a.points_TK2 == b.points_TK2).all()
        for a, b in zip(itertools.chain(*one), itertools.chain(*two), strict=True)
    )


def test_each_clip_once_per_epoch_over_all_ranks_in_equal_steps(shards_url):
    ranks = [drain(stream(shards_url, rank=rank, world=4, batch=3)) for rank in range(4)]
    assert len({len(batches) for batches in ranks}) == 1
    real = [clip.sample_id for batches in ranks for batch in batches for clip in batch if not clip.pad]
    assert sorted(real) == list(range(stream(shards_url).samples))
    pads = [clip for batches in ranks for batch in batches for clip in batch if clip.pad]
    assert 0 < len(pads) < 12


@pytest.mark.parametrize("workers", [1, 3])
def test_workers_change_nothing(shards_url, workers):
    words = {"clip_frames": 3, "epochs": 2}
    assert same(drain(stream(shards_url, **words)), drain(stream(shards_url, workers=workers, **words)))


def test_the_environment_of_a_launcher_changes_nothing(shards_url, monkeypatch):
    plain = drain(stream(shards_url, rank=1, world=2))
    for name, value in {"RANK": "3", "WORLD_SIZE": "8", "LOCAL_RANK": "3", "PYTHONHASHSEED": "5"}.items():
        monkeypatch.setenv(name, value)
    assert same(plain, drain(stream(shards_url, rank=1, world=2)))
    assert same(plain, drain(stream(shards_url, rank=1, world=2, workers=1)))


def test_a_resume_at_every_step_gives_the_same_rest(shards_url):
    whole = drain(stream(shards_url, epochs=3, batch=7))
    for step in range(len(whole) + 1):
        first = stream(shards_url, epochs=3, batch=7)
        head = list(itertools.islice(first, step))
        state = first.state_dict()
        second = stream(shards_url, epochs=3, batch=7)
        second.load_state_dict(state)
        assert second.state_dict() == state
        assert same(head, whole[:step])
        assert same(list(second), whole[step:])


def test_a_used_stream_with_workers_takes_up_another_state(shards_url):
    whole = drain(stream(shards_url, epochs=2))
    with stream(shards_url, epochs=2, workers=2) as made:
        list(itertools.islice(made, 2))
        state = made.state_dict()
        list(itertools.islice(made, 5))
        made.load_state_dict(state)
        assert same(list(made), whole[2:])


def test_from_a_batch_on_nothing_is_mirrored_and_nothing_else_changes(shards_url):
    words = {"epochs": 4, "batch": 7, "world": 2}
    usual, ended = drain(stream(shards_url, **words)), drain(stream(shards_url, mirrored_batches=5, **words))
    assert same(usual[:5], ended[:5])
    changed = 0
    for one, other in zip(itertools.chain(*usual[5:]), itertools.chain(*ended[5:]), strict=True):
        assert not other.mirror_K
        assert np.linalg.det(other.to_crop_23[:, :2]) > 0
        changed += bool(one.mirror_K)
        if not one.mirror_K:
            assert (one.image_THWC == other.image_THWC).all()
    assert changed > 5


def test_batches_are_counted_on_where_other_ranks_go_on(shards_url):
    first = stream(shards_url, mirrored_batches=4, epochs=None, batch=2)
    list(itertools.islice(first, 3))
    after = stream(shards_url, mirrored_batches=4, epochs=None, batch=6, world=3)
    after.load_state_dict(first.state_dict())
    mirrored = [[bool(clip.mirror_K) for clip in batch] for batch in itertools.islice(after, 20)]
    assert any(mirrored[0])
    assert not any(map(any, mirrored[1:]))


def test_the_state_fits_another_world(shards_url):
    first = [stream(shards_url, rank=rank, world=2, batch=2) for rank in range(2)]
    seen = [clip.sample_id for each in first for batch in itertools.islice(each, 3) for clip in batch]
    states = [each.state_dict() for each in first]
    assert states[0] == states[1]
    for rank in range(3):
        after = stream(shards_url, rank=rank, world=3, batch=4)
        after.load_state_dict(states[0])
        seen += [clip.sample_id for batch in after for clip in batch if not clip.pad]
    assert sorted(seen) == list(range(first[0].samples))


@pytest.mark.parametrize(
    ("other", "key"), [({"seed": 1}, "seed"), ({"window": 1}, "window"), ({"clip_frames": 2}, "fingerprint")]
)
def test_a_foreign_state_is_refused_by_name(shards_url, other, key):
    with pytest.raises(CheckpointError, match=f"its {key} is"):
        stream(shards_url).load_state_dict(stream(shards_url, **other).state_dict())


def test_other_bytes_in_the_shards_are_another_manifest(shards_url, write_shards):
    other = write_shards([[(40, set(), "video")]])
    with pytest.raises(CheckpointError, match="fingerprint"):
        stream(shards_url).load_state_dict(stream(other).state_dict())


def test_an_evaluation_gives_each_labelled_frame_once_in_order(shards_url):
    made = stream(shards_url, select="labelled", shuffle=False, view=ViewSettings(crop_px=24), batch=4)
    clips = [clip for batch in made for clip in batch]
    assert [clip.sample_id for clip in clips if not clip.pad] == list(range(11))
    assert all(clip.labelled_T.all() for clip in clips)
    assert sum(clip.pad for clip in clips) == 1
    assert len({clip.to_crop_23.tobytes() for clip in clips}) == 1  # one box, no augmentation


def test_epochs_differ_and_a_stream_can_be_endless(shards_url):
    made = stream(shards_url, epochs=None, batch=30)
    ids = [[clip.sample_id for clip in batch] for batch in itertools.islice(made, 4)]
    assert len({tuple(each) for each in ids}) == 4
    assert made.epoch == 4 * 30 // made.samples
    assert made.steps_per_epoch == -(-made.samples // 30)


@pytest.mark.parametrize(("batch", "world"), [(4, 1), (2, 3), (24, 1), (9, 3)])
def test_an_endless_stream_fills_its_batches(shards_url, batch, world):
    """Few labels are the rule: pads would be most of a batch, and what stands beside them would count for more."""
    ranks = [
        stream(shards_url, select="labelled", epochs=None, batch=batch, rank=rank, world=world)
        for rank in range(world)
    ]
    steps = [list(itertools.islice(made, 11)) for made in ranks]
    clips = [clip for step in zip(*steps, strict=True) for share in step for clip in share]
    assert not any(clip.pad for clip in clips)
    ids = [clip.sample_id for clip in clips]
    assert len(ids) == 11 * batch * world
    epochs = [sorted(ids[start : start + 11]) for start in range(0, len(ids), 11)]
    assert all(epoch == list(range(11)) for epoch in epochs), "each once before any comes again"
    for step in zip(*steps, strict=True):
        views = [(clip.sample_id, clip.to_crop_23.tobytes()) for share in step for clip in share]
        assert len(set(views)) == batch * world, "and never twice in the same view"


def test_within_a_batch_that_ends_an_epoch_a_state_is_of_the_next(shards_url):
    whole = stream(shards_url, select="labelled", epochs=None, batch=7)
    expected = list(itertools.islice(whole, 6))
    first = stream(shards_url, select="labelled", epochs=None, batch=7)
    list(itertools.islice(first, 2))
    assert (first.epoch, first.state_dict()["position"]) == (1, 3)
    after = stream(shards_url, select="labelled", epochs=None, batch=7)
    after.load_state_dict(first.state_dict())
    assert same(expected[2:], itertools.islice(after, 4))


def break_frames(url, positions):
    """Flip a byte in the images at these positions of the first shard."""
    from tsal_dist.shards.index import read_index

    tar = Path(url) / "shard-00000.tar"
    index = read_index(f"{url}/shard-00000.idx")
    data = bytearray(tar.read_bytes())
    for position in positions:
        data[int(index["jpg_offset"][position]) + 30] ^= 0xFF
    tar.write_bytes(data)


@pytest.mark.parametrize("workers", [0, 2])
def test_a_damaged_clip_is_replaced_by_the_next_one_and_counted(write_shards, workers, caplog):
    url = write_shards([[(12, set(), "video")]])
    break_frames(url, [4, 5])
    with stream(url, hop=1, batch=4, workers=workers, epochs=2) as made:
        ids = [clip.sample_id for batch in made for clip in batch]
        assert set(made.bad) == {4, 5}
    assert len(ids) == 24
    assert sorted(ids) == sorted([*range(4), 6, 6, *range(6, 12)] * 2)
    assert caplog.text.count("is left out") == 2


def test_in_evaluation_the_replacement_is_a_pad(write_shards):
    url = write_shards([[(6, set(range(6)), "video")]])
    break_frames(url, [2])
    made = stream(url, select="labelled", shuffle=False, batch=6)
    (clips,) = list(made)
    assert [(clip.sample_id, clip.pad) for clip in clips[2:4]] == [(3, True), (3, False)]


def test_when_nothing_can_be_read_the_stream_ends_with_the_cause(write_shards):
    url = write_shards([[(3, set(), "video")]])
    break_frames(url, [0, 1, 2])
    with pytest.raises(DataError, match=r"in a row cannot be read.*checksum"):
        next(stream(url, hop=1))


@pytest.mark.slow
def test_handles_and_memory_stay_flat_over_epochs(shards_url):
    """L12, for the stream's process and its workers."""

    def handles_of(pid):
        """The fewest of several looks: a worker may be reading a file just now."""
        looks = []
        for _ in range(10):
            looks.append(len(list(Path(f"/proc/{pid}/fd").iterdir())))
            time.sleep(0.01)
        return min(looks)

    def use(pids):
        handles = [handles_of(pid) for pid in pids]
        pages = [int(Path(f"/proc/{pid}/statm").read_text().split()[1]) for pid in pids]
        return handles, [page * 4096 / 1e6 for page in pages]

    made = stream([shards_url] * 25, workers=2, epochs=None, batch=16, hop=1, window=8)
    with made:
        pids = ["self", *made._pool.pids]
        seen = []
        for _ in range(4):
            for _ in range(made.steps_per_epoch):
                next(made)
            seen.append(use(pids))
    handles, memory_mb = zip(*seen, strict=True)
    assert made.samples == 25 * 34
    assert handles[3] == handles[1]
    growth_mb = np.array(memory_mb[3]) - np.array(memory_mb[0])
    assert growth_mb.max() < 4, memory_mb
