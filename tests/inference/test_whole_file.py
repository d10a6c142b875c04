"""A detector that is one file predicts what its run predicts, without torch, and is refused where it does not fit."""

import dataclasses
import json
import re
import subprocess
import sys

import cv2
import numpy as np
import pyarrow.parquet
import pytest

from tests.inference.squares import (
    FLAG_CONFIG,
    FLAG_NAMES,
    FLAG_PX,
    FlagDetector,
    draw_flag,
    finder_of,
    flag_points,
    write_film,
)
from tests.test_house import ROOT
from tsal_dist.errors import CheckpointError, ConfigError, MissingExtra
from tsal_dist.inference.detector import Detector
from tsal_dist.inference.presence import Presence, learn
from tsal_dist.inference.trained import Trained
from tsal_dist.inference.whole_file import open_whole
from tsal_dist.inference.whole_note import NOTE, WholeNote
from tsal_dist.predict import main
from tsal_dist.records import Layout

# It leaves, and comes back elsewhere.
MIDDLES = [*((60 + 2 * t, 70) for t in range(8)), *[None] * 6, *((110 - t, 60) for t in range(10))]


@pytest.fixture(scope="module")
def film(tmp_path_factory):
    path = tmp_path_factory.mktemp("film") / "flags.avi"
    return write_film(path, MIDDLES, lambda middle: draw_flag(middle, FLAG_PX))


@pytest.mark.slow
@pytest.mark.parametrize("smooth", ["", "offline"])
def test_it_finds_what_the_detector_finds(flag_file, film, flag_trust, smooth):
    finder = finder_of(FlagDetector())
    ours = Detector(finder, flag_trust, "torch").predict(str(film), smooth=smooth).rows
    theirs = open_whole(flag_file, threads=1).predict(str(film), smooth=smooth).rows
    assert [row.found for row in theirs] == [row.found for row in ours]
    assert {row.found for row in ours} == {True, False}
    for one, other in zip(ours, theirs, strict=True):
        assert other.layout == Layout(FLAG_NAMES, ((0, 1), (2, 3)))
        np.testing.assert_allclose(other.presence, one.presence, atol=0.02)
        if one.found:
            np.testing.assert_allclose(other.points_K2, one.points_K2, atol=0.5)
            np.testing.assert_allclose(other.box_4, one.box_4, atol=0.5)
            np.testing.assert_allclose(other.expected_px_K, one.expected_px_K, rtol=0.05)
            np.testing.assert_allclose(other.score_K, one.score_K, atol=0.02)


IMPORTED_AS = {"opencv-python-headless": "cv2"}


def absent():
    """Packages of this project that a machine which only predicts may lack, as the page about predicting says."""
    page, project = ((ROOT / name).read_text() for name in ("docs/prediction.md", "pyproject.toml"))
    (needed,) = re.findall(r"`pip install (onnxruntime [^`]*)`", page)
    extra = ["onnx", "onnxscript"]
    (listed,) = re.findall(r"^dependencies = \[\n(.*?)^\]", project, re.DOTALL | re.MULTILINE)
    all_of_them = re.findall(r'^ +"([\w-]+)', listed, re.MULTILINE)
    assert {"torch", "pydantic"} <= set(all_of_them) - set(needed.split())
    return [IMPORTED_AS.get(name, name) for name in [*all_of_them, *extra] if name not in needed.split()]


WITHOUT_TORCH = """
import sys
for name in {absent!r}:
    sys.modules[name] = None  # importing it fails
from tsal_dist.predict import main
assert main(sys.argv[1:]) == 0
assert not [name for name in sys.modules if name.split(".")[0] in {absent!r} and sys.modules[name]]
"""


@pytest.mark.slow
def test_a_machine_without_torch_predicts(flag_file, film, tmp_path):
    out, table = tmp_path / "o.mp4", tmp_path / "t.parquet"
    argv = ["--model", str(flag_file), "--video", str(film), "--out", str(out), "--table", str(table)]
    code = WITHOUT_TORCH.format(absent=absent())
    done = subprocess.run(
        [sys.executable, "-c", code, *argv, "--smooth"], cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert re.search(r"subject in 1\d of 24 frames; its points are expected to be off by", done.stderr)
    rows = pyarrow.parquet.read_table(table).to_pylist()
    assert [row["found"] for row in rows[:7]] == [1] * 7
    truth_42 = flag_points(MIDDLES[4], FLAG_PX)
    np.testing.assert_allclose(
        [[rows[4][f"{name}x"], rows[4][f"{name}y"]] for name in (f"{n}_" for n in FLAG_NAMES)],
        truth_42,
        atol=3,
    )
    capture = cv2.VideoCapture(str(out))
    assert int(capture.get(cv2.CAP_PROP_FRAME_COUNT)) == len(MIDDLES)
    capture.release()


@pytest.mark.slow
def test_from_python_it_is_opened_like_a_run(flag_file, film):
    import tsal_dist as tsal

    detector = tsal.open(flag_file)
    assert detector.name == "flag student step 8"
    assert detector.predict(str(film), first_box=np.array([36.0, 46, 84, 94])).rows[0].found


def example():
    """The script on the page."""
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "prediction.md").read_text(), re.DOTALL)
    (found,) = [block for block in blocks if "import onnxruntime" in block]
    return found


@pytest.mark.slow
def test_the_example_on_the_page_runs_without_this_library(flag_file, tmp_path):
    assert len(example().splitlines()) <= 30
    middles = MIDDLES[:8]
    film = write_film(tmp_path / "clip.avi", middles, lambda middle: draw_flag(middle, FLAG_PX))
    box = [str(edge) for edge in (36, 46, 84, 94)]
    code = f"{example()}\nimport sys\nassert not {{'torch', 'tsal_dist'}} & {{*sys.modules}}"
    argv = [str(flag_file), str(film), "overlay.avi", *box]
    done = subprocess.run(
        [sys.executable, "-c", code, *argv], cwd=tmp_path, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    lines = [[float(word) for word in line.split(",")] for line in done.stdout.splitlines()]
    assert [line[0] for line in lines] == list(range(1, 9))
    for line, middle in zip(lines, middles, strict=True):
        np.testing.assert_allclose(np.reshape(line[1:9], (4, 2)), flag_points(middle, FLAG_PX), atol=3)
        assert all(0 < error < 20 for error in line[9:])
    capture = cv2.VideoCapture(str(tmp_path / "overlay.avi"))
    assert int(capture.get(cv2.CAP_PROP_FRAME_COUNT)) == len(middles)
    capture.release()


@pytest.mark.slow
def test_a_file_of_which_nothing_was_measured_claims_nothing(flag_file, film, tmp_path, capsys):
    onnx = pytest.importorskip("onnx")
    from tsal_dist.inference.export_whole import export_whole

    path = tmp_path / "unknown.onnx"
    export_whole(Trained(FlagDetector(), FLAG_CONFIG, "flag"), path, None)
    argv = ["--model", str(path), "--video", str(film), "--table", str(tmp_path / "t.csv"), "--frames", "1:3"]
    assert main(argv) == 0
    said = capsys.readouterr().err
    assert "flag: there were no held-out frames to measure it on when it was exported" in said
    assert "how far off the points are was never measured" in said
    notes = {prop.key: prop.value for prop in onnx.load(path).metadata_props}
    assert json.loads(notes[NOTE])["presence"] is None
    assert json.loads(notes["config"])["model"]["crop_px"] == 64


def note():
    random = np.random.default_rng(0)
    presence = learn(random.normal(2, 1, (30, 5)), random.normal(-2, 1, (60, 5)))
    return WholeNote("demo", 4, Layout(FLAG_NAMES, ((0, 1),)), 64, 0.2, presence)


def damaged(**parts):
    return {NOTE: json.dumps(json.loads(note().to_metadata()[NOTE]) | parts)}


def test_a_note_comes_back():
    for one in (
        note(),
        dataclasses.replace(note(), presence=None, layout=Layout()),
        dataclasses.replace(note(), presence=None, only_errors=True),
    ):
        again = WholeNote.from_metadata(one.to_metadata(), "demo.onnx")
        assert again.to_metadata() == one.to_metadata()
        assert again.layout == one.layout
        assert isinstance(again.presence, Presence) == (one.presence is not None)
    older = json.loads(note().to_metadata()[NOTE])
    del older["only_errors"]
    assert WholeNote.from_metadata({NOTE: json.dumps(older)}, "demo.onnx").only_errors is False
    evidence_E = np.array([0.5, -1, 2, 0, 1])
    again = WholeNote.from_metadata(note().to_metadata(), "demo.onnx")
    assert again.presence.log_odds(evidence_E) == note().presence.log_odds(evidence_E)


@pytest.mark.parametrize(
    ("metadata", "answer"),
    [
        ({}, r"demo\.onnx does not say what its points are.*Write it with `tsal export --whole`"),
        ({NOTE: "{"}, r"What demo\.onnx says of itself is damaged.*Export it again"),
        ({NOTE: "[]"}, "is damaged"),
        ({NOTE: '{"name": "demo"}'}, "is damaged"),
        (damaged(names=["red"]), "names or skeleton of others than its 4 points"),
        (damaged(skeleton=[[0, 4]]), "names or skeleton of others than its 4 points"),
        (damaged(presence={"offset": 1}), "What tells a subject from none lacks most_E"),
    ],
)
def test_a_file_that_is_no_whole_one_is_refused(metadata, answer):
    with pytest.raises(CheckpointError, match=answer):
        WholeNote.from_metadata(metadata, "demo.onnx")


def test_what_is_no_graph_is_refused(tmp_path):
    pytest.importorskip("onnxruntime")
    path = tmp_path / "demo.onnx"
    with pytest.raises(ConfigError, match=r"There is no file .*demo\.onnx. Name one that"):
        open_whole(path)
    for content in (b"", b"half of a file"):
        path.write_bytes(content)
        with pytest.raises(
            CheckpointError, match=r"demo\.onnx is no graph that onnxruntime executes: .*Export"
        ):
            open_whole(path)


def test_an_absent_runtime_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(MissingExtra, match=r"needs the package 'onnxruntime'.*tsal_dist\[onnx\]"):
        open_whole(tmp_path / "demo.onnx")


@pytest.mark.parametrize(
    ("words", "answer"),
    [
        (
            ["--views", "2"],
            "--views 2 cannot be had of the file d.onnx: it looks once at a crop. Predict from",
        ),
        (["--companions"], "--companions cannot be had of the file d.onnx: the labels"),
        (["--config", "c.toml"], "--config cannot be had of the file d.onnx"),
        (["--role", "teacher"], "--role teacher cannot be had of the file d.onnx"),
        (["--step", "8"], "--step 8 cannot be had of the file d.onnx"),
    ],
)
def test_what_a_file_cannot_do_is_refused(tmp_path, words, answer):
    with pytest.raises(ConfigError, match=answer):
        main(["--model", "d.onnx", "--video", "v.mp4", "--table", str(tmp_path / "t.csv"), *words])


def test_a_graph_is_no_file_of_weights(tmp_path):
    with pytest.raises(ConfigError, match=r"--weights is 'd\.onnx', a graph. Name it with --model"):
        main(["--weights", "d.onnx", "--video", "v.mp4", "--table", str(tmp_path / "t.csv")])
