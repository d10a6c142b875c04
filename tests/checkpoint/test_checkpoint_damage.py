"""A checkpoint that is damaged, unfinished or something else is named, set aside and never taken."""

import pytest
import torch

from tests.checkpoint.equality import equal
from tests.checkpoint.small_states import open_store, state_of
from tsal_dist.checkpoint import store as store_module
from tsal_dist.errors import CheckpointError


@pytest.mark.parametrize("file", ["role.json", "role.safetensors", "rank_0.json", "rank_0.safetensors"])
@pytest.mark.parametrize("damage", ["flip", "cut", "remove"])
def test_damage_is_named(tmp_path, file, damage):
    store = open_store(tmp_path)
    store.save(10, state_of(10), {"rng": torch.arange(4)})
    path = tmp_path / "step_10" / file
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 4
    if damage == "remove":
        path.unlink()
    else:
        path.write_bytes(data if damage == "flip" else data[:-1])
    with pytest.raises(CheckpointError, match=rf"{file} is missing or not what was committed"):
        store.load(10)


def test_an_unfinished_one_is_refused_and_the_whole_ones_are_listed(tmp_path):
    store = open_store(tmp_path)
    store.save(10, state_of(10), {})
    (tmp_path / "step_20").mkdir()
    with pytest.raises(CheckpointError, match=r"never finished. Whole checkpoints in .*: 10\."):
        store.load(20)
    (tmp_path / "step_10" / "COMMIT").write_text("{")
    with pytest.raises(CheckpointError, match="not readable"):
        store.load(10)


@pytest.mark.parametrize(
    "text", ["[]", "5", "[" * 9000, '{"world": "1", "identity": {}, "files": {}}', '{"world": 1}', "\xff"]
)
def test_a_commit_that_says_something_else_is_refused(tmp_path, text):
    place = open_store(tmp_path).save(10, state_of(10), {})
    (place / "COMMIT").write_text(text)
    with pytest.raises(CheckpointError, match="COMMIT is not readable"):
        open_store(tmp_path).load(10)


@pytest.mark.parametrize("text", ["", '"good"', "[" * 9000, "NaN", "true"])
def test_a_score_that_is_no_number_counts_as_none(tmp_path, text):
    store = open_store(tmp_path)
    store.save(10, state_of(10), {})
    (store.save(20, state_of(20), {}) / "SCORE").write_text(text)
    store.record_score(10, 0.5)
    assert open_store(tmp_path).best() == 10


def test_a_bit_flip_in_commit_is_noticed(tmp_path):
    place = open_store(tmp_path).save(10, state_of(10), {})
    whole = (place / "COMMIT").read_bytes()
    at = whole.index(b'"world":1') + len(b'"world":')
    (place / "COMMIT").write_bytes(whole[:at] + b"2" + whole[at + 1 :])
    with pytest.raises(CheckpointError, match="COMMIT is not readable"):
        open_store(tmp_path).load(10)


@pytest.mark.parametrize("stray", ["step_20", "step_99", "notes.txt"])
def test_a_stray_file_is_in_nobodys_way(tmp_path, stray):
    store = open_store(tmp_path)
    store.save(10, state_of(10), {})
    (tmp_path / stray).write_text("what is this?")
    store.save(20, state_of(20), {})
    assert open_store(tmp_path).committed() == [10, 20]
    assert open_store(tmp_path).load_latest().step == 20


@pytest.mark.parametrize("file", ["COMMIT", "role.json", "role.safetensors", "rank_0.json"])
def test_a_damaged_newest_one_is_set_aside_and_the_one_before_is_taken(tmp_path, monkeypatch, caplog, file):
    monkeypatch.setattr(store_module, "LOOKS_S", (0, 0))
    store = open_store(tmp_path)
    for step in (10, 20):
        place = store.save(step, state_of(step), {})
    data = bytearray((place / file).read_bytes())
    data[len(data) // 2] ^= 4
    (place / file).write_bytes(data)
    again = open_store(tmp_path)
    loaded = again.load_latest()
    assert (loaded.step, again.at) == (10, 10)
    assert equal(loaded.state, state_of(10))
    assert "step 20 is damaged and set aside" in caplog.text
    (aside,) = tmp_path.glob("damaged-step_20-*")
    assert (aside / file).read_bytes() == data, "somebody may want to look at it"
    again.save(20, state_of(20), {})
    assert open_store(tmp_path).load_latest().step == 20
    assert aside.exists()


def test_where_all_are_damaged_it_ends_with_a_sentence(tmp_path, monkeypatch):
    monkeypatch.setattr(store_module, "LOOKS_S", (0,))
    store = open_store(tmp_path)
    for step in (10, 20):
        (store.save(step, state_of(step), {}) / "role.json").write_text("{}")
    with pytest.raises(CheckpointError, match=r"None of the checkpoints 10, 20 .* is whole"):
        open_store(tmp_path).load_latest()
