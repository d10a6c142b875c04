"""The shards that a run names are found from any folder, and where they are not, that is said and not that there are none."""

import pytest
import torch

from tests.inference.test_whole_file import note
from tools.export_weights import main as export
from tsal_dist import predict
from tsal_dist.config import load_config
from tsal_dist.errors import ConfigError
from tsal_dist.inference import session, trained
from tsal_dist.inference.detector import Detector
from tsal_dist.inference.held_out import find_missing, find_shards, started_in
from tsal_dist.inference.trained import Trained
from tsal_dist.inference.unknown import NO_FRAMES, NOT_EXPORTED, ONE_FRAME, ONE_POINT, say_unknown
from tsal_dist.inference.whole_file import Stated
from tsal_dist.models.detectors import build_detector
from tsal_dist.run import open_run

SETTINGS = ("model.detector=lite", "model.num_points=4", "model.crop_px=32", "data.labelled=shards/train")
HELD_OUT = "data.validation=shards/val"
NOT_THERE = "data.validation names 'shards/val', and there is no such folder in {}, so nothing can be said of how far off"


@pytest.fixture
def project(tmp_path, monkeypatch):
    """Where the run `mine` was started, with its held-out shards."""
    (tmp_path / "project" / "shards" / "val").mkdir(parents=True)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "project")
    return tmp_path / "project"


@pytest.fixture
def start(project, monkeypatch):
    """`start("run.name=mine")` begins a run of a net that was never trained, in that folder; its config."""

    def begin(*words):
        config = load_config([], [*SETTINGS, *words])
        open_run(config, "new")
        net = Trained(build_detector("lite", 4).eval(), config, "mine student step 8", 8)
        monkeypatch.setattr(session, "load_trained", lambda *words: net)
        monkeypatch.setattr(trained, "load_trained", lambda *words: net)
        return config

    return begin


@pytest.fixture
def measured_on(monkeypatch):
    """The shards that detectors were measured on; what is found there is left out."""
    asked = []
    monkeypatch.setattr(session, "open_cached", lambda urls, data: asked.append(list(urls)))
    monkeypatch.setattr(session, "measure_trust", lambda *words: None)
    monkeypatch.setattr(session, "save_trust", lambda *words: None)
    return asked


@pytest.mark.parametrize("words", ["run.name=mine", "run.dir=runs/mine", "run.dir=./runs//mine"])
def test_where_a_run_lies_tells_where_it_was_started(project, start, monkeypatch, words):
    config = start(words, HELD_OUT)
    assert find_shards(project / "runs" / "mine", config, ["shards/val"]) == ["shards/val"], "as it was typed"
    monkeypatch.chdir(project.parent / "elsewhere")
    run = "../project/runs/mine"
    assert started_in(run, config) == project
    urls = ["shards/val", "shards/gone", "/shards", "s3://bucket/val"]
    found = [str(project / "shards" / "val"), *urls[1:]]
    assert find_shards(run, config, urls) == found
    assert find_shards(run, config, [f"file://{found[0]}"]) == found[:1]
    assert find_missing(found[:1] + found[3:]) == ""
    assert find_missing(found) == "shards/gone"


def test_a_run_that_was_moved_or_placed_by_its_whole_path_does_not_tell(project, start):
    config = start("run.name=mine")
    (project / "runs" / "mine").rename(project / "moved")
    assert started_in(project / "moved", config) is None
    assert started_in(project / "runs" / "yours", start(f"run.dir={project / 'runs' / 'yours'}")) is None
    assert find_shards(project / "moved", config, ["shards/val"]) == ["shards/val"]


def test_a_detector_is_measured_from_any_folder(project, start, measured_on, monkeypatch):
    start("run.name=mine", HELD_OUT)
    session.open_detector(run="runs/mine", threads=1)
    monkeypatch.chdir(project.parent / "elsewhere")
    session.open_detector(run=str(project / "runs" / "mine"), threads=1)
    assert measured_on == [["shards/val"], [str(project / "shards" / "val")]]


def test_held_out_shards_that_are_not_there_are_not_none(project, start, measured_on, monkeypatch):
    """Before, it was said that there are none, and to train with some."""
    run = project.parent / "kept"
    start(f"run.dir={run}", HELD_OUT)
    monkeypatch.chdir(project.parent / "elsewhere")
    detector = session.open_detector(run=str(run), threads=1)
    assert detector.trust is None
    assert detector.unknown.startswith(NOT_THERE.format(project.parent / "elsewhere"))
    assert "Start the command in the folder that the run was started in" in detector.unknown
    assert measured_on == []


def test_a_run_without_held_out_frames_says_so(project, start):
    start("run.name=mine")
    assert session.open_detector(run="runs/mine", threads=1).unknown == NO_FRAMES


def test_predict_says_what_is_not_known(capsys):
    class Opening:
        def open(self, on_frame):
            return Detector(None, None, "mine student step 8", NO_FRAMES)

    predict._open(Opening())
    assert capsys.readouterr().err.strip() == f"mine student step 8: {NO_FRAMES}"


def test_export_says_what_the_file_will_not_know(project, start, measured_on, monkeypatch, capsys):
    run = project.parent / "kept"
    start(f"run.dir={run}", HELD_OUT)
    monkeypatch.chdir(project.parent / "elsewhere")
    export(["--run", str(run), "--out", "w.safetensors"])
    assert f"mine student step 8: {NOT_THERE.format(project.parent / 'elsewhere')}" in capsys.readouterr().err
    assert session.open_detector(weights="w.safetensors", threads=1).unknown == NOT_EXPORTED


def test_a_small_file_that_cannot_be_measured_is_refused(project, start, tmp_path):
    start("run.name=mine", HELD_OUT)
    with pytest.raises(
        ConfigError, match=r"--int8: data\.labelled names 'shards/train', and there is no such folder in /"
    ):
        export(["--run", "runs/mine", "--whole", "--int8", "--out", str(tmp_path / "w.onnx")])


def test_one_held_out_frame_is_said(of_one):
    assert say_unknown(of_one, NO_FRAMES, 4) == ONE_FRAME
    assert say_unknown(Stated(note().presence), NO_FRAMES, 1) == ""
    assert say_unknown(None, NO_FRAMES, 4) == NO_FRAMES
    assert say_unknown(of_one, NO_FRAMES, 1) == ONE_POINT


@pytest.fixture
def of_one():
    from tsal_dist.inference.trust import Trust
    from tsal_dist.metrics.calibration import Calibration

    knots = torch.tensor([0.0, 1.0])
    return Trust(Calibration(knots, torch.tensor([[9.0, 2.0]]).repeat(4, 1), torch.ones(4)), None)


@pytest.mark.slow
def test_a_file_that_one_frame_was_measured_for_says_errors_and_no_presence(of_one, tmp_path):
    pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    import numpy as np

    from tests.inference.squares import FLAG_CONFIG, FlagDetector, draw_flag
    from tsal_dist.inference.export_whole import export_whole
    from tsal_dist.inference.pictures import Picture
    from tsal_dist.inference.prediction import follow
    from tsal_dist.inference.whole_file import open_whole

    export_whole(Trained(FlagDetector(), FLAG_CONFIG, "flag"), tmp_path / "flag.onnx", of_one)
    detector = open_whole(tmp_path / "flag.onnx", threads=1)
    assert detector.unknown == ONE_FRAME
    pictures = iter([Picture("film", 0, 0.0, draw_flag((80, 80), 48))])
    ((_, one),) = follow(detector.eyes, pictures, np.array([56.0, 56, 104, 104]), trust=detector.trust)
    assert np.isfinite(one.expected_px_K).all()
    assert np.isnan(one.presence)
