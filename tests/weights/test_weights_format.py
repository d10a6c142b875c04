"""A version is whole or absent, exact, and its digest is believed over its name."""

import json

import pytest
import torch

from tsal_dist.errors import ExchangeError
from tsal_dist.weights.format import list_steps, load_version, save_version, version_folder

TENSORS = {
    "conv.weight": torch.randn(4, 3, 3, 3, generator=torch.Generator().manual_seed(0)).to(
        memory_format=torch.channels_last
    ),
    "norm.count": torch.tensor(7),
    "half": torch.arange(3, dtype=torch.bfloat16),
}


def test_what_is_published_is_what_is_read(tmp_path):
    version = save_version(tmp_path, 120, TENSORS, "tsal")
    found, tensors = load_version(tmp_path, 120)
    assert found == version
    assert (version.step, version.recipe) == (120, "tsal")
    assert tensors.keys() == TENSORS.keys()
    assert all(torch.equal(tensors[name], TENSORS[name]) for name in TENSORS)
    assert {name: value.dtype for name, value in tensors.items()} == {
        name: value.dtype for name, value in TENSORS.items()
    }


def test_steps_are_listed_in_order(tmp_path):
    assert list_steps(tmp_path / "none") == []
    for step in (900, 1000, 20):
        save_version(tmp_path, step, TENSORS, "tsal")
    assert list_steps(tmp_path) == [20, 900, 1000]


def test_what_is_being_written_is_not_listed(tmp_path):
    (tmp_path / ".v00000007.tmp").mkdir()
    (tmp_path / "v-notes").mkdir()
    assert list_steps(tmp_path) == []


def test_a_version_can_be_written_again(tmp_path):
    save_version(tmp_path, 5, TENSORS, "tsal")
    save_version(tmp_path, 5, {"other": torch.ones(1)}, "tsal")
    assert load_version(tmp_path, 5)[1].keys() == {"other"}
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


@pytest.mark.parametrize("position", [0, 100, -1])
def test_a_flipped_bit_is_noticed(tmp_path, position):
    save_version(tmp_path, 5, TENSORS, "tsal")
    file = version_folder(tmp_path, 5) / "model.safetensors"
    data = bytearray(file.read_bytes())
    data[position] ^= 1
    file.write_bytes(data)
    with pytest.raises(ExchangeError, match="was damaged"):
        load_version(tmp_path, 5)


@pytest.mark.parametrize("meta", ["{", "[]", json.dumps({"step": 5})])
def test_a_spoilt_note_is_named(tmp_path, meta):
    save_version(tmp_path, 5, TENSORS, "tsal")
    (version_folder(tmp_path, 5) / "meta.json").write_text(meta)
    with pytest.raises(ExchangeError, match="not a published version"):
        load_version(tmp_path, 5)


@pytest.mark.parametrize("change", [{"step": 13}, {"recipe": 5}, {"nme": "0"}, {"more": 1}])
def test_a_note_that_was_edited_is_refused(tmp_path, change):
    save_version(tmp_path, 12, TENSORS, "tsal")
    meta = version_folder(tmp_path, 12) / "meta.json"
    meta.write_text(json.dumps(json.loads(meta.read_text()) | change))
    with pytest.raises(ExchangeError, match="v00000012"):
        load_version(tmp_path, 12)


def test_no_flipped_bit_of_a_note_changes_what_it_says(tmp_path):
    """The gate compares its error: a digit that has changed would open it for a teacher that is worse."""
    version = save_version(tmp_path, 12, TENSORS, "tsal", nme=0.25)
    meta = version_folder(tmp_path, 12) / "meta.json"
    whole = meta.read_bytes()
    for place in range(len(whole)):
        for bit in range(8):
            data = bytearray(whole)
            data[place] ^= 1 << bit
            meta.write_bytes(data)
            try:
                assert load_version(tmp_path, 12)[0] == version
            except ExchangeError:
                continue
