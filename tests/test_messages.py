"""Messages for mistakes, graded: each names the value that was found, the rule it breaks, and the way out.

A row is a mistake and three words that its message must hold, one for each. A traceback fails the row.
"""

from pathlib import Path

import numpy as np
import pytest

from tsal_dist.cli import run_entry
from tsal_dist.door import main
from tsal_dist.errors import ExitCode

RUN = ("predict", "--run", "runs/none", "--video")

MISTAKES = [
    # what was typed, value, rule, remedy
    (("pakc",), "'pakc'", "knows no", "Did you mean 'pack'"),
    (("train", "--resume", "{here}/rnu"), "{here}/rnu", "holds no run.json", "Name the folder"),
    (("train", "--from", "{here}/rnu"), "{here}/rnu", "holds no run.json", "Name the folder"),
    (("train", "--step", "7"), "7", "where a run begins", "Name that run"),
    (("train", "train.steps=many"), "'many'", "not valid", "integer"),
    (("train", "train.lr=1"), "'train.lr'", "no setting", "Did you mean 'train.optim.lr'"),
    (("train", "train.steps"), "'train.steps'", "section.key=value", "form"),
    (("train", "--config", "{here}/no.toml"), "{here}/no.toml", "no config file", "Name"),
    ((*RUN, "{here}/no.mp4", "--table", "{here}/t.csv"), "{here}/no.mp4", "There is no", "Name a video"),
    ((*RUN, "{clip}"), "Nothing", "would be written", "Name an overlay"),
    ((*RUN, "{clip}", "--out", "{clip}"), "{clip}", "would be overwritten", "Name another file"),
    ((*RUN, "{clip}", "--out", "{here}/o.gif"), "o.gif", "must end in", ".mp4"),
    (
        (*RUN, "{clip}", "--out", "{here}/text.txt/o.mp4"),
        "text.txt/o.mp4",
        "cannot be written",
        "Name another place",
    ),
    ((*RUN, "{clip}", "--table", "{here}"), "{here}", "must end in", ".parquet or .csv"),
    ((*RUN, "{clip}", "--table", "{here}/t.csv", "--threshold", "7"), "7", "must be", "between 0 and 1"),
    ((*RUN, "{clip}", "--table", "{here}/t.csv", "--max-error", "15"), "15", "at most 1", "0.15 is 15 %"),
    (
        (*RUN, "{clip}", "--table", "{here}/t.csv", "--frames", "9"),
        "'9'",
        "must be FIRST:LAST",
        "such as 100:250",
    ),
    (
        (*RUN, "{clip}", "--table", "{here}/t.csv", "--first-box", "5", "5", "5", "9"),
        "5 5 5 9",
        "has no area",
        "x1 y1 x2 y2",
    ),
    (
        (*RUN, "{clip}", "--table", "{here}/t.csv", "--subjects", "many", "--boxes", "{here}/boxes.csv"),
        "--boxes",
        "is of one subject",
        "Leave one of them out",
    ),
    (
        (*RUN, "{clip}", "--table", "{here}/t.csv", "--face-model", "{here}/y.onnx"),
        "{here}/y.onnx",
        "does not exist",
        "Name the file of a YuNet",
    ),
    (
        (*RUN, "{clip}", "--table", "{here}/t.csv", "--boxes", "{here}/strangers.csv"),
        "other.mp4",
        "is no input",
        "Name it with --video",
    ),
    (
        (*RUN, "{clip}", "--table", "{here}/boxes.csv", "--boxes", "{here}/boxes.csv"),
        "{here}/boxes.csv",
        "is read as well and would be overwritten",
        "Name another file",
    ),
    ((*RUN, "{clip}", "{clip}", "--table", "{here}/t.csv"), "{clip}", "named twice", "Name each input once"),
    ((*RUN, "0", "--table", "{here}/t.csv", "--smooth"), "--smooth", "reads a video twice", "Leave it out"),
    (("evaluate", "--run", "{here}"), "{here}", "holds no run.json", "Name the folder"),
    (("evaluate", "--run", "r", "--json", "{here}"), "{here}", "is a folder", "Name a file in it"),
    (
        ("evaluate", "--run", "r", "--plots", "{here}/text.txt"),
        "text.txt",
        "which is a file",
        "Name a folder",
    ),
    (("export", "--run", "r", "--out", "{here}/w.bin"), "w.bin", "must end in", ".safetensors"),
    (
        ("export", "--run", "{here}", "--out", "{here}/w.onnx"),
        "{here}",
        "holds no run.json",
        "Name the folder",
    ),
    (("report", "{here}", "--out", "{here}"), "{here}", "is a folder", "Name a file in it"),
    (
        ("pack", "--videos", "{clip}", "--subjects", "many", "--out", "{here}/o"),
        "--subjects many",
        "what --face-model or --box-model finds",
        "Name both",
    ),
    (
        (*RUN, "{clip}", "--table", "{here}/t.csv", "--box-model", "{here}/b.safetensors"),
        "{here}/b.safetensors",
        "does not exist",
        "Name a file that `tsal boxes` wrote",
    ),
    (
        (*RUN, "{clip}", "--table", "{here}/t.csv", "--box-model", "{here}/text.txt"),
        "{here}/text.txt",
        "not a YuNet",
        "box model (.safetensors)",
    ),
    (
        ("boxes", "--videos", "{clip}", "--labels", "{here}/boxes.csv", "--out", "{here}/b.pt"),
        "b.pt",
        "must end in",
        ".safetensors",
    ),
    (
        ("boxes", "--labels", "{here}/boxes.csv", "--out", "{here}/b.safetensors", "--side", "100"),
        "--side is 100",
        "must be",
        "a multiple of 32",
    ),
    (
        ("boxes", "--videos", "{clip}", "--labels", "{here}/nobody.csv", "--out", "{here}/b.safetensors"),
        "None of the 1",
        "holds a subject",
        "Label points or boxes",
    ),
    (("shards", "preview", "{here}", "--to", "{here}/s.gif"), "s.gif", "must end in", ".png"),
    (("config", "zebra"), "'zebra'", "No setting", "Name fewer words"),
]


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    """What the mistakes are made with."""
    import cv2

    here = tmp_path_factory.mktemp("here")
    (here / "text.txt").write_text("no folder")
    (here / "strangers.csv").write_text("path,frame,x1,y1,x2,y2\nother.mp4,1,0,0,9,9\n")
    (here / "boxes.csv").write_text("path,frame,x1,y1,x2,y2\nclip.avi,1,0,0,9,9\n")
    (here / "nobody.csv").write_text("path,frame,x1,y1,x2,y2\nclip.avi,1,,,,\n")
    writer = cv2.VideoWriter(str(here / "clip.avi"), cv2.VideoWriter.fourcc(*"MJPG"), 25, (32, 32))
    for _ in range(3):
        writer.write(np.zeros((32, 32, 3), np.uint8))
    writer.release()
    return {"here": str(here), "clip": str(here / "clip.avi")}


@pytest.mark.parametrize(
    ("typed", "value", "rule", "remedy"), MISTAKES, ids=[" ".join(row[0][-3:]) for row in MISTAKES]
)
def test_a_message_names_value_rule_and_remedy(places, capfd, monkeypatch, typed, value, rule, remedy):
    monkeypatch.setattr("sys.argv", ["tsal"])
    before = sorted(Path(places["here"]).rglob("*"))
    code = run_entry(main, [word.format(**places) for word in typed])
    *_, line = capfd.readouterr().err.strip().splitlines()
    assert line.startswith("error: ")
    assert code == ExitCode.WRONG_CONFIG
    missing = [words for words in (value, rule, remedy) if words.format(**places) not in line]
    assert not missing, line
    assert sorted(Path(places["here"]).rglob("*")) == before, "a mistake leaves nothing behind"
