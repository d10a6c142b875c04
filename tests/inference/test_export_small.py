"""A file that counts in bytes is smaller, says what was measured of itself, and is refused where it is much worse."""

import numpy as np
import pytest

from tools.export_weights import main
from tsal_dist.data.shard_set import open_shards
from tsal_dist.errors import CheckpointError, ConfigError
from tsal_dist.inference import export_small
from tsal_dist.inference.trained import load_trained
from tsal_dist.inference.trust import measure_trust
from tsal_dist.inference.whole_file import WholeFile

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def small(run_of, tmp_path_factory):
    pytest.importorskip("onnxruntime")
    path = tmp_path_factory.mktemp("small") / "small.onnx"
    assert main(["--run", str(run_of("supervised")), "--whole", "--int8", "--out", str(path)]) == 0
    return path


def test_its_convolutions_count_in_bytes_and_its_decoder_does_not(small, run_of, tmp_path):
    onnx = pytest.importorskip("onnx")
    large = tmp_path / "large.onnx"
    main(["--run", str(run_of("supervised")), "--whole", "--out", str(large)])
    assert small.stat().st_size < large.stat().st_size / 2
    nodes = onnx.load(small).graph.node
    bytes_ = {out for node in nodes if node.op_type == "DequantizeLinear" for out in node.output}
    convolutions = [node for node in nodes if node.op_type == "Conv"]
    assert convolutions
    assert all({*node.input[:2]} <= bytes_ for node in convolutions)
    read = {node.op_type for node in nodes if {*node.input} & bytes_}
    assert not read & {"GridSample", "ArgMax", "ReduceMax", "ReduceSum", "Exp"}, (
        "crop and decoder count in full"
    )


def test_what_it_states_was_measured_of_itself(small, faces):
    eyes = WholeFile(small)
    found = measure_trust(eyes, open_shards([faces.held_out], "", 1), eyes.note.crop_px)
    for name, array in found.presence.to_arrays().items():
        np.testing.assert_allclose(array, eyes.note.presence.to_arrays()[name], rtol=1e-4, err_msg=name)
    image_HWC = np.random.default_rng(0).integers(0, 256, (90, 120, 3), np.uint8)
    look = eyes.look(image_HWC, [np.array([20.0, 10, 80, 70])])
    np.testing.assert_allclose(look.expected_px_CK, found.expected_px(look), rtol=1e-3)


def test_one_that_is_much_worse_is_not_left(run_of, faces, tmp_path, monkeypatch):
    monkeypatch.setattr(export_small, "MOST_WORSE", 0.5)
    seen, held_out = (open_shards([url], "", 1) for url in (faces.train, faces.held_out))
    trained = load_trained(str(run_of("supervised")), "student", "last")
    with pytest.raises(CheckpointError, match=r"in bytes its points are .* without --int8"):
        export_small.export_small(trained, tmp_path / "small.onnx", seen, held_out, lambda done, of: None)
    assert not [*tmp_path.iterdir()]


def test_maps_alone_cannot_be_measured(run_of):
    with pytest.raises(ConfigError, match="without --whole"):
        main(["--run", str(run_of("supervised")), "--int8", "--out", "a.onnx"])
