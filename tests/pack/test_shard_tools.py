"""The commands as a user types them."""

import importlib.util
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from footage import make_300vw, make_image, make_video

from tsal_dist.cli import run_entry

ROOT = Path(__file__).parents[2]


def load_tool(name):
    spec = importlib.util.spec_from_file_location(name, ROOT / f"tools/{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def call(name, *words):
    return run_entry(load_tool(name).main, [str(word) for word in words])


@pytest.fixture
def data(tmp_path):
    make_300vw(tmp_path / "data", "000", 6)
    (tmp_path / "data/bad.mp4").touch()
    return tmp_path / "data"


def test_pack_then_inspect(data, tmp_path, capsys):
    out = tmp_path / "out"
    words = ["--videos", data, "--out", out, "--workers", 1, "--labelled", 0.5]
    assert call("shard_videos", *words, "--dry-run") == 0
    assert not out.exists()
    assert call("shard_videos", *words) == 0
    assert "bad.mp4: empty" in capsys.readouterr().out
    assert call("inspect_shards", "info", out / "train", "--json") == 0
    page = json.loads(capsys.readouterr().out)
    assert (page["frames"], page["labelled"], page["videos"], page["inputs"]) == (6, 3, 1, 2)
    assert [row["name"] for row in page["bad_inputs"]] == ["bad.mp4"]
    assert call("inspect_shards", "lint", out / "train") == 0
    assert call("inspect_shards", "preview", out / "train", "--to", tmp_path / "s.png") == 0
    assert (tmp_path / "s.png").stat().st_size > 1000
    tar = out / "train/train-00000.tar"
    tar.write_bytes(tar.read_bytes()[:-512])
    assert call("inspect_shards", "lint", out / "train", "--json") == 1
    capsys.readouterr()


def test_strict_is_an_error_and_diff_tells(data, tmp_path, capsys):
    words = ["--videos", data, "--workers", 1]
    assert call("shard_videos", *words, "--out", tmp_path / "a", "--strict") == 1
    assert "bad.mp4: the file has no bytes" in capsys.readouterr().err
    assert call("shard_videos", *words, "--out", tmp_path / "a") == 0
    assert call("shard_videos", *words, "--out", tmp_path / "b", "--stride", 2) == 0
    assert call("inspect_shards", "diff", tmp_path / "a/train", tmp_path / "a/train") == 0
    assert call("inspect_shards", "diff", tmp_path / "a/train", tmp_path / "b/train") == 1
    assert "only first: 3 frames (000/vid.avi frame 2, 000/vid.avi frame 4, 000/vid.avi frame 6)" in (
        capsys.readouterr().out
    ), "counted from 1, as labels count"
    assert call("inspect_shards", "diff", tmp_path / "a/train", tmp_path / "b/train", "--json") == 1
    assert json.loads(capsys.readouterr().out)["only_first"][0] == ["000/vid.avi", 1], (
        "a program counts from 0"
    )


def test_diff_gives_a_still_no_frame_number(tmp_path, capsys):
    for name in ("one.png", "two.png"):
        make_image(tmp_path / "pictures" / name)
    rows = [f"pictures/{name},1,1,40,40\n" for name in ("one.png", "two.png")]
    for out, count in (("a", 2), ("b", 1)):
        (tmp_path / "boxes.csv").write_text("path,x1,y1,x2,y2\n" + "".join(rows[:count]))
        words = ["--lists", tmp_path / "boxes.csv", "--out", tmp_path / out, "--workers", 1]
        assert call("shard_videos", *words) == 0
    capsys.readouterr()
    assert call("inspect_shards", "diff", tmp_path / "a/train", tmp_path / "b/train") == 1
    assert "only first: 1 frames (pictures/two.png)" in capsys.readouterr().out


def test_a_mended_input_is_retried(data, tmp_path, capsys):
    words = ["--videos", data, "--out", tmp_path / "out", "--workers", 1, "--boxes", tmp_path / "boxes.csv"]
    (tmp_path / "boxes.csv").write_text("path,x1,y1,x2,y2\ndata/bad.mp4,1,1,20,20\n")
    assert call("shard_videos", *words) == 0
    (data / "bad.mp4").unlink()
    make_video(data / "bad.mp4", 5)
    assert call("shard_videos", *words) == 2
    assert "content of the inputs" in capsys.readouterr().err
    assert call("shard_videos", *words, "--retry-failed") == 0
    assert "5 of 5" not in capsys.readouterr().err
    assert call("inspect_shards", "lint", tmp_path / "out/train") == 0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--out", "x"], "nothing to pack"),
        (["--out", "x", "--videos", "/nowhere"], "does not exist"),
        (["--out", "x", "--videos", "/nowhere", "--workers", "0"], "--workers is 0"),
        (["--out", "x", "--videos", "/nowhere", "--labelled", "2"], "--labelled is 2.0"),
        (["--out", "x", "--videos", "/nowhere", "--face-model", "/no.onnx"], "face model /no.onnx"),
    ],
)
def test_mistakes_are_one_line(words, message, capsys):
    assert call("shard_videos", *words) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


@pytest.mark.parametrize("tool", ["shard_videos", "inspect_shards", "bench.shard"])
def test_help_is_light(tool):
    code = (
        f"import runpy, sys; sys.argv = ['{tool}', '--help']\n"
        f"try: runpy.run_module('tools.{tool}', run_name='__main__')\n"
        "except SystemExit: pass\n"
        "assert not {'torch', 'cv2', 'pyarrow', 'numpy'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)


def test_the_contract_names_every_flag_with_its_default():
    """shards/README.md is written by hand; what it says of a flag is what --help says."""
    readme = (ROOT / "shards/README.md").read_text()
    parser = load_tool("shard_videos").build_parser()
    for action in parser._actions:
        for flag in action.option_strings:
            if flag in ("-h", "--help"):
                continue
            row = re.search(rf"^\| `{flag}[ `].*\| (?P<default>[^|]*) \|", readme, re.MULTILINE)
            assert row, f"{flag} is missing"
            wanted = re.search(r"\(default: ([^)]*)\)", action.help)
            assert row["default"].strip() == wanted[1].strip(), flag
    documented = set(re.findall(r"^\| `(--[a-z-]+)", readme, re.MULTILINE))
    assert documented == {flag for action in parser._actions for flag in action.option_strings} - {
        "-h",
        "--help",
    }
