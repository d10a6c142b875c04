"""Reports and tables of what is seldom there: runs of one name or of two normalizers, frames that cannot be measured, shards
that nobody was validated on, a lone landmark."""

import html
import re
import shutil
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from tests.data.made_shards import write_folder
from tests.insight.test_report_words import begin
from tests.pack.packing import pack_all
from tsal_dist.checkpoint.store import Checkpoints
from tsal_dist.data.crop import ViewSettings
from tsal_dist.data.reader import FrameReader
from tsal_dist.data.shard_set import open_shards
from tsal_dist.evaluate import main as evaluate
from tsal_dist.inference.evaluation import Evaluator
from tsal_dist.inference.suggestion import Guess, Suggestion
from tsal_dist.insight import suggestion_sheet
from tsal_dist.insight.charts import Axes, Series, draw_lines, draw_rows
from tsal_dist.insight.frames_page import _one_per_video, _suggested
from tsal_dist.insight.gallery import Judge, mean_shape, show_frames
from tsal_dist.insight.measured import blind_error, measure, names_of, upright
from tsal_dist.insight.plots import draw_per_landmark
from tsal_dist.insight.report import _left_out, build_report
from tsal_dist.insight.side_by_side import side_by_side
from tsal_dist.insight.suggestion_sheet import draw_suggestions
from tsal_dist.metrics.face_errors import FaceErrors
from tsal_dist.models.detectors import build_detector
from tsal_dist.records import FrameRef, Layout
from tsal_dist.run import load_run

LABELLED = 2
"""Frames that have points and no eyes."""


@pytest.fixture(scope="module")
def eyeless(faces, tmp_path_factory):
    """Frames of 68 points whose eyes were never visible: no distance between them to divide by."""
    folder = tmp_path_factory.mktemp("eyeless")
    shutil.copy(faces.videos / "0001" / "vid.avi", folder / "clip.avi")
    head = ["path,frame,x1,y1,x2,y2", *(f"p{k}x,p{k}y,p{k}v" for k in range(68))]
    points = [f"{20 + k % 9},{20 + k // 9},{int(not 36 <= k < 48)}" for k in range(68)]
    rows = [f"clip.avi,{frame},10,10,60,60,{','.join(points)}" for frame in range(1, LABELLED + 1)]
    (folder / "labels.csv").write_text("\n".join([",".join(head), *rows]) + "\n")
    pack_all(folder, lists=[folder / "labels.csv"], split="val")
    return str(folder / "val")


def saved(faces, folder, *words):
    """A run that has a checkpoint and was never trained."""
    run = begin(faces, folder, "method.name=supervised", *words)
    weights = build_detector("lite", 68).state_dict()
    Checkpoints(run.dir.checkpoints("student"), None, keep=1).save(8, {"engine": {"weights": weights}}, {})
    return folder


def test_runs_of_one_name_are_told_apart(faces, tmp_path, capsys):
    runs = [saved(faces, tmp_path / place / "demo") for place in ("one", "two")]
    assert names_of(runs) == ["one/demo", "two/demo"]
    assert names_of([tmp_path / "a" / "x" / "demo", tmp_path / "b" / "x" / "demo"]) == [
        "a/x/demo",
        "b/x/demo",
    ]
    assert names_of([runs[0], runs[0]]) == ["demo", "demo"], "one run is no two"
    assert evaluate(["--run", *map(str, runs)]) == 0
    said = capsys.readouterr().out
    assert "one/demo student step 8" in said
    assert "two/demo student step 8" in said


def test_a_table_divides_all_errors_by_one_length(faces, tmp_path):
    """The same weights, and so the same errors, whatever each run was validated by."""
    eyes, box = tmp_path / "eyes", tmp_path / "box"
    saved(faces, eyes)
    shutil.copytree(eyes, box)
    text = (box / "run.json").read_text()
    (box / "run.json").write_text(text.replace('"inter_ocular"', '"box_diagonal"'))
    page = build_report([eyes, box])
    rows = re.findall(r"<tr><td>(eyes|box) student</td><td>([\d.]+)</td>", page)
    assert [name for name, _ in rows] == ["eyes", "box"]
    assert rows[0][1] == rows[1][1]
    assert "(inter_ocular)" in page


def test_frames_that_cannot_be_measured_are_said_to_be_so(faces, eyeless, tmp_path):
    run = saved(faces, tmp_path / "run")
    text = html.unescape(build_report([run], [eyeless]))
    assert f"no frame in {eyeless} has both a visible landmark and a length to divide its error by" in text
    assert 'id="accuracy"' not in text
    assert "nan %" not in text


def test_a_sample_without_an_error_has_no_shape_and_no_blind_guess(faces, tmp_path, monkeypatch):
    """Of many frames a few are drawn, and these may be the ones that cannot be measured."""
    run = load_run(saved(faces, tmp_path / "run"))
    (model,) = measure("run", run, held_out(run))
    monkeypatch.setattr("tsal_dist.insight.measured.some_frames", lambda model, count: [])
    monkeypatch.setattr("tsal_dist.insight.side_by_side.some_frames", lambda model, count: [])
    assert upright(model) is None
    assert blind_error(model) is None
    assert side_by_side([model, model]) is None


def test_other_shards_than_the_validations_have_not_chosen_the_checkpoint(faces, tmp_path):
    """Nor did their error begin where the validation's did."""
    run = saved(faces, tmp_path / "run")
    lines = [f'{{"step": {step}, "time": {step}.0, "validation/nme": 0.5}}\n' for step in (4, 8)]
    load_run(run).dir.metrics("student").parent.mkdir()
    load_run(run).dir.metrics("student").write_text("".join(lines))
    kind, began = "slightly kind to it", "it began at 50.0 %"
    own = build_report([run])
    assert kind in own
    assert began in own
    other = build_report([run], [str(faces.train)])
    assert kind not in other
    assert began not in other


def test_shards_that_were_given_are_not_said_to_be_missing(faces, tmp_path):
    begin(faces, tmp_path / "run", "data.validation=")
    text = build_report([tmp_path / "run"], [faces.held_out])
    assert "nothing was saved yet that could be measured" in text
    assert "none were given" not in text


def test_a_lone_landmark_has_no_shape(rng):
    assert mean_shape(rng.normal(size=(3, 1, 2)), np.ones((3, 1), bool)) is None
    faces_NK2 = rng.normal(size=(3, 4, 2))
    faces_NK2[0] = 7.0
    assert np.isfinite(mean_shape(faces_NK2, np.ones((3, 4), bool))).all(), "one frame's points in one place"


def test_videos_may_have_frame_in_their_names():
    frames = [("clip frame 1.avi", 3), ("clip frame 1.avi", 4), ("clip frame 2.avi", 9), ("a still.png", 0)]
    judged = [SimpleNamespace(video=video, ref=(video, number)) for video, number in frames]
    assert _one_per_video(judged) == [frames[0], frames[2], frames[3]]


def test_a_still_is_called_by_its_file_wherever_it_is_shown(tmp_path):
    """A number would send people looking for a video."""
    shards = open_shards([write_folder(tmp_path, [[(2, {0, 1}, "stills"), (2, {0}, "video")]])])
    refs, device = [FrameRef(0, 1), FrameRef(0, 2)], torch.device("cpu")
    evaluator = Evaluator(shards, 32, 0.2, 4, 2, "box_diagonal", device)
    model = build_detector("lite", 68).eval()
    names = ["still0-1", "video1 frame 1"]
    assert [one.name for one in show_frames({"m": Judge(model, evaluator)}, refs)] == names
    worst = {one.name: one.video for one in evaluator.run(model, keep=9).worst}
    assert worst == {"still0-0": "still0-0", "still0-1": "still0-1", "video1 frame 1": "video1"}
    guesses = [
        Guess(ref, video, 0, np.zeros((68, 2)), np.ones(68), 0.1, np.zeros(3))
        for ref, video in zip(refs, ["still0-1", "video1"], strict=True)
    ]
    reader = FrameReader(shards, ViewSettings(32, labels=False))
    pages = [_suggested(reader, Suggestion(one, "why"), shards, ()) for one in guesses]
    reader.close()
    assert "frame" not in re.sub("<[^>]*>", "", pages[0])
    assert "video1 frame 1" in pages[1]
    written = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(suggestion_sheet.cv2, "putText", lambda picture, word, *how: written.append(word))
        draw_suggestions(shards, [Suggestion(one, "why") for one in guesses], 0.2, Layout())
    assert written == ["1. still0-1", "why", "2. video1 frame 1", "why"]


def test_a_long_name_beside_a_bar_keeps_both_its_ends():
    name = "2021-04-07_left_camera_mouse_12.avi"
    text = draw_rows([(name, 4.0, 9.0, name), ("nineteen_letters.av", 2.0, 2.0, "c")], "hard", "%")
    assert re.findall('text-anchor="end">([^<]*)<', text) == ["2021-04-0…se_12.avi", "nineteen_letters.av"]
    assert f"<title>{name}</title>" in text


def test_landmarks_are_named_where_names_fit():
    errors = {"m": FaceErrors(2, "box_diagonal"), "n": FaceErrors(2, "box_diagonal")}
    (axes,) = draw_per_landmark(errors, ("left ear", "tail")).axes
    assert [label.get_text() for label in axes.get_xticklabels()] == ["left ear", "tail"]
    (axes,) = draw_per_landmark({"m": FaceErrors(31, "box_diagonal")}, [f"p{k}" for k in range(31)]).axes
    assert "p0" not in [label.get_text() for label in axes.get_xticklabels()]


def test_frames_that_no_score_counts_are_said():
    """Such as faces from the side, whose eyes are not both in view."""
    errors = FaceErrors(68, "inter_ocular")
    truth = np.tile(np.arange(68.0)[None, :, None], (3, 1, 2))
    seen = np.ones((3, 68), bool)
    errors.add(truth[:1], truth[:1], seen[:1])
    assert _left_out(errors) == []
    seen[1, 36], seen[2] = False, False
    errors.add(truth[1:], truth[1:], seen[1:])
    (told,) = _left_out(errors)
    assert told.startswith("2 of 3 frames: ")
    assert "(inter_ocular)" in told


@pytest.mark.parametrize(("ended", "anchor"), [(10.0, "start"), (90.0, "end")])
def test_the_word_at_a_mark_stays_within_the_chart(ended, anchor):
    """A young run has just passed the end of burn-in, which lies at the right edge."""
    steps = np.array([0.0, 50.0, 100.0])
    text = draw_lines([Series("loss", steps, steps)], Axes("step", "", "t", ((ended, "burn-in ends"),)))
    assert re.search(rf'text-anchor="{anchor}">burn-in ends<', text)


def held_out(run):
    return open_shards(list(run.config.data.validation))
