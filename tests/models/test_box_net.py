"""The net that finds subjects, and its file."""

import json
import sys

import numpy as np
import pytest
import safetensors.torch
import torch
from safetensors import safe_open

from tsal_dist.errors import ConfigError
from tsal_dist.models.box_net import NOTE, BoxNet, BoxNote, open_box_net, save_box_net
from tsal_dist.pack.subject_models import load_detector, model_digest

A_NOTE = BoxNote("lite", 64, 0.3, "abc", "2 held-out videos", 8, 9, 0.9, 0.8)


@pytest.fixture
def file(tmp_path):
    torch.manual_seed(0)
    save_box_net(tmp_path / "boxes.safetensors", BoxNet("lite"), A_NOTE)
    return tmp_path / "boxes.safetensors"


def test_a_file_holds_all_that_is_known(file):
    torch.manual_seed(0)
    net, (read, note) = BoxNet("lite").eval(), open_box_net(file)
    assert note == A_NOTE
    square_SS3 = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    np.testing.assert_array_equal(read.find(square_SS3), net.find(square_SS3))


def test_a_fresh_net_says_nearly_nowhere_that_there_is_one():
    """As a focal loss wants it; and its boxes are a quarter of the square."""
    found_C5 = BoxNet("lite").eval().find(np.full((64, 64, 3), 128, np.uint8))
    assert 0 < found_C5[0, 4] < 0.2
    sides_2 = found_C5[0, 2:4] - found_C5[0, :2]
    np.testing.assert_allclose(sides_2, 16, rtol=0.1)


def test_looking_leaves_the_threads_as_they_were():
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        BoxNet("lite").eval().find(np.zeros((64, 64, 3), np.uint8))
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(threads)


class TwoBoxes:
    """Tells two boxes in a square of 64, as alike as to be one, and a weak third."""

    def find(self, square_SS3):
        assert square_SS3.shape == (64, 64, 3)
        assert square_SS3[32, 32].tolist() == [200, 0, 50], "red first"
        return np.array([[10, 20, 30, 40, 0.9], [11, 20, 31, 40, 0.8], [40, 20, 60, 40, 0.2]], np.float32)


def test_the_packer_gets_boxes_in_pixels_of_the_picture(file, monkeypatch):
    monkeypatch.setattr("tsal_dist.models.box_net.open_box_net", lambda path: (TwoBoxes(), A_NOTE))
    image_HWC = np.full((64, 128, 3), (50, 0, 200), np.uint8)
    found_N5 = load_detector(str(file))(image_HWC)
    # Half the size, 16 px down; a pixel of the square is two of the picture.
    assert found_N5.tolist() == [pytest.approx([20.5, 8.5, 60.5, 48.5, 0.9])]
    assert len(model_digest(str(file))) == 16


def test_a_machine_without_torch_is_told_so(file, monkeypatch):
    monkeypatch.delitem(sys.modules, "tsal_dist.models.box_net")
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(
        ConfigError, match=r"needs torch, which is not installed. Install it with: pip install torch"
    ):
        load_detector(str(file))


def rewrite(file, change):
    """The file with another note."""
    with safe_open(file, "pt") as old:
        tensors = {name: old.get_tensor(name) for name in old.keys()}
        told = old.metadata()
    page = json.loads(told[NOTE])
    page.pop("seal")
    safetensors.torch.save_file(tensors, file, {NOTE: json.dumps(page | change)})


def other_weights(file):
    safetensors.torch.save_file({"a": torch.zeros(3)}, file)


def flip_a_bit(file):
    data = bytearray(file.read_bytes())
    data[-9] ^= 4
    file.write_bytes(data)


def lose_a_tensor(file):
    """Of a net that is sound in itself, and not this one."""
    net = BoxNet("lite")
    del net.detector.maps.head.offset
    save_box_net(file, net, A_NOTE)


def edit_the_note(file):
    data = file.read_bytes()
    file.write_bytes(data.replace(b'\\"threshold\\":0.3', b'\\"threshold\\":0.1'))


@pytest.mark.parametrize(
    ("harm", "rule", "remedy"),
    [
        (lambda file: file.unlink(), "does not exist", "Name a file that `tsal boxes` wrote"),
        (lambda file: file.write_bytes(b"not weights"), "no whole safetensors file", "write it again"),
        (
            lambda file: file.write_bytes(file.read_bytes()[:-400]),
            "no whole safetensors file",
            "write it again",
        ),
        (other_weights, "no box model", "goes to --weights"),
        (
            lambda file: rewrite(file, {"format": 2}),
            "of format 2, and this version reads 1",
            "train it again",
        ),
        (lambda file: rewrite(file, {"weights": ""}), "damaged (its weights", "Copy it again"),
        (flip_a_bit, "damaged (its weights", "Copy it again"),
        (edit_the_note, "damaged (its checksum", "Copy it again"),
        (lose_a_tensor, "do not fit the detector 'lite'", "Train the box model again"),
    ],
    ids=["absent", "none", "cut", "others", "format", "digest", "bit", "edited", "lacking"],
)
def test_a_file_that_is_none_is_refused_in_a_sentence(file, harm, rule, remedy):
    harm(file)
    with pytest.raises(ConfigError) as refusal:
        load_detector(str(file))
    said = str(refusal.value)
    assert str(file) in said
    assert rule in said
    assert remedy in said
    assert "\n" not in said
