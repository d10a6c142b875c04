"""Several processes look at a folder: machines, ranks of torchrun, a Ray cluster; killed and gone on; the same bytes as one."""

import os
import re
import shutil
import signal
import subprocess
import sys

import cv2
import numpy as np
import pytest

from tests.inference.squares import FLAG_PX, SquareDetector, draw_flag, finder_of, write_film
from tests.marks import against_the_clock
from tests.ray_nodes import wait_until, workers_below
from tests.test_house import ROOT
from tsal_dist.errors import ConfigError, DataError, MissingExtra
from tsal_dist.inference.detector import Detector, Options
from tsal_dist.inference.kept_rows import parts_folder
from tsal_dist.inference.opening import Opening
from tsal_dist.inference.pictures import Source, find_sources, read_pictures
from tsal_dist.inference.together import Together, open_kept
from tsal_dist.predict import build_parser, main

FILMS = 5


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Films in which a flag leaves and comes back, and a picture."""
    here = tmp_path_factory.mktemp("clips")
    for number in range(FILMS):
        middles = [
            *((60 + t + 5 * number, 70) for t in range(6)),
            *[None] * 4,
            *((90, 60 + t) for t in range(8)),
        ]
        write_film(here / f"{number}.avi", middles, lambda middle: draw_flag(middle, FLAG_PX))
    cv2.imwrite(str(here / "still.png"), draw_flag((70, 70), FLAG_PX))
    return here


@pytest.fixture
def clips(folder, tmp_path):
    """A copy that may be changed."""
    return shutil.copytree(folder, tmp_path / "clips")


@pytest.fixture
def ask(flag_file, tmp_path):
    """`ask(table, *words)` is a command about `clips`."""
    words = ["--model", str(flag_file), "--video", str(tmp_path / "clips"), "--threads", "1", "--smooth"]
    return lambda table, *more: [*words, "--table", str(tmp_path / table), *more]


def run(words, start=(sys.executable, "-m", "tsal_dist.predict"), **how):
    environment = {**os.environ, **how.pop("environment", {})}
    command = [*start, *words]
    return subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=200, **how
    )


def summary(text):
    return text.splitlines()[-1]


@pytest.fixture
def one_machine(ask, clips, capsys):
    """What one machine writes and says, by the table's ending."""

    def look(ending):
        assert main(ask(f"one{ending}")) == 0
        table = clips.parent / f"one{ending}"
        assert not parts_folder(table).exists(), "nobody asked to share"
        return table.read_bytes(), summary(capsys.readouterr().err)

    return look


@pytest.mark.slow
@pytest.mark.parametrize("ending", [".csv", ".parquet"])
def test_machines_in_any_order_and_the_command_without_them_write_what_one_writes(
    ending, ask, clips, one_machine, capsys
):
    table, many = clips.parent / f"many{ending}", f"many{ending}"
    for machine in ("3/3", "1/3", "2/3"):
        assert not table.exists()
        assert main(ask(many, "--machine", machine)) == 0
        said = capsys.readouterr().err
        assert f"part {machine[0]} of 3: 2 of its 2 inputs were looked at. When all parts are done" in said
    times = {path: path.stat().st_mtime_ns for path in parts_folder(table).iterdir()}
    assert len(times) == FILMS + 1
    assert main(ask(many)) == 0
    ours = table.read_bytes(), summary(capsys.readouterr().err)
    assert ours == one_machine(ending)
    assert {path: path.stat().st_mtime_ns for path in parts_folder(table).iterdir()} == times


@against_the_clock
@pytest.mark.slow
def test_ranks_of_torchrun_share_the_inputs_and_the_last_one_writes(ask, clips, one_machine):
    start = [
        sys.executable,
        "-m",
        "tsal_dist.dist.loopback",
        "--nproc-per-node",
        "2",
        "-m",
        "tsal_dist.predict",
    ]
    done = run(ask("many.parquet"), start)
    assert done.returncode == 0, done.stderr
    written, said = one_machine(".parquet")
    assert (clips.parent / "many.parquet").read_bytes() == written
    assert done.stderr.count(said) == 1
    assert done.stderr.count("of 2: 3 of its 3 inputs were looked at") == 1
    (clips.parent / "many.parquet").unlink()
    again = run(ask("many.parquet"), start)
    assert again.returncode == 0, again.stderr
    assert (clips.parent / "many.parquet").read_bytes() == written
    assert again.stderr.count(said) == 1, "nothing was left to look at, and one of them wrote"


@against_the_clock
@pytest.mark.slow
def test_a_ray_cluster_whose_process_is_killed_writes_what_one_machine_writes(ask, clips, one_machine):
    for number in range(FILMS):  # long enough to be killed in the middle of one
        middles = [(60 + t % 40, 70) for t in range(300)]
        write_film(clips / f"{number}.avi", middles, lambda middle: draw_flag(middle, FLAG_PX))
    command = [sys.executable, "-m", "tsal_dist.predict", *ask("many.csv", "--ray", "local")]
    pipe = subprocess.PIPE
    process = subprocess.Popen(command, cwd=ROOT, stdout=pipe, stderr=pipe, text=True)
    try:
        parts = parts_folder(clips.parent / "many.csv")
        wait_until(lambda: parts.is_dir() and any(parts.glob("*.parquet")), process)
        (victim, *_) = wait_until(lambda: workers_below(process.pid), process)
        assert len(list(parts.glob("*.parquet"))) < FILMS + 1
        os.kill(victim, signal.SIGKILL)
        _, said = process.communicate(timeout=120)
    finally:
        process.kill()
    assert process.returncode == 0, said
    assert f"/{FILMS + 1} inputs, 0:" in said, "how far it is, and how long that will take"
    written, told = one_machine(".csv")
    assert (clips.parent / "many.csv").read_bytes() == written
    assert summary(said) == told


@against_the_clock
@pytest.mark.slow
def test_a_command_that_was_killed_goes_on_and_looks_at_nothing_twice(ask, clips, one_machine, capsys):
    for number in range(FILMS):
        middles = [(60 + t % 40, 70) for t in range(100)]
        write_film(clips / f"{number}.avi", middles, lambda middle: draw_flag(middle, FLAG_PX))
    words = ask("many.parquet", "--machine", "1/1")
    process = subprocess.Popen(
        [sys.executable, "-m", "tsal_dist.predict", *words], cwd=ROOT, stderr=subprocess.PIPE
    )
    parts = parts_folder(clips.parent / "many.parquet")
    wait_until(lambda: parts.is_dir() and len(list(parts.glob("[!.]*.parquet"))) >= 2, process)
    process.kill()
    process.communicate()
    kept = {path: path.stat().st_mtime_ns for path in parts.glob("[!.]*.parquet")}
    assert len(kept) < FILMS + 1
    assert main(ask("many.parquet")) == 0
    ours = (clips.parent / "many.parquet").read_bytes(), summary(capsys.readouterr().err)
    assert ours == one_machine(".parquet")
    assert {path: path.stat().st_mtime_ns for path in parts.iterdir()}.items() >= kept.items()


@pytest.mark.slow
def test_another_film_and_another_question_are_looked_at_again(ask, clips, caplog, tmp_path):
    words = ask("many.csv", "--machine", "1/1")
    assert main(words) == 0

    def times():
        return {path: path.stat().st_mtime_ns for path in parts_folder(tmp_path / "many.csv").iterdir()}

    def looked_again(*changed):
        before = times()
        assert main([*words, *changed]) == 0
        return {
            path.name.partition("-")[0] for path, time in times().items() if before[path] != time
        }, caplog.text

    assert looked_again("--max-error", "0.3")[0] == set(), (
        "how it is shown is decided when the table is written"
    )
    write_film(clips / "3.avi", [(80, 80)] * 9, lambda middle: draw_flag(middle, FLAG_PX))
    again, said = looked_again()
    assert again == {"3"}
    assert f"{clips}/3.avi: another content than when it was looked at; that is done again." in said
    again, said = looked_again("--threshold", "0.6")
    assert again == {*map(str, range(FILMS)), "still"}
    assert "another way to look than when" in said


@pytest.mark.slow
def test_an_input_that_is_broken_costs_a_machine_nothing_and_is_told_of_at_the_end(ask, clips, capsys):
    (clips / "2.avi").write_bytes(b"no video at all")
    for machine in ("1/2", "2/2"):
        assert main(ask("many.csv", "--machine", machine)) == 0
    assert "2 of its 3 inputs were looked at" in capsys.readouterr().err
    with pytest.raises(DataError, match=r"1 of 6 inputs are left out of what was written, such as .*2\.avi"):
        main(ask("many.csv"))
    assert f"{clips}/2.avi: left out. " in capsys.readouterr().err


@pytest.mark.slow
def test_overlays_are_drawn_of_what_was_kept(ask, clips, tmp_path):
    for machine in ("1/2", "2/2"):
        assert main(ask("many.csv", "--machine", machine, "--out", str(tmp_path / "drawn"))) == 0
    assert not list((tmp_path / "drawn").iterdir()), "that is the last command's to do"
    assert main(ask("many.csv", "--out", str(tmp_path / "drawn"))) == 0
    assert main(ask("one.csv", "--out", str(tmp_path / "at-once"))) == 0
    names = {path.name for path in (tmp_path / "drawn").iterdir()}
    assert names == {*(f"{number}.mp4" for number in range(FILMS)), "still.png"}
    for name in names:
        ours_THWC, theirs_THWC = (read_all(tmp_path / folder / name) for folder in ("drawn", "at-once"))
        # Not the bytes: x264 of several threads does not always write the same pictures in the same bytes.
        assert ours_THWC.shape == theirs_THWC.shape
        assert np.abs(ours_THWC - theirs_THWC).mean() < 0.1


def read_all(path):
    (source,) = find_sources([str(path)])
    return np.stack([picture.image_HWC.astype(int) for picture in read_pictures(source)])


@pytest.fixture
def film(tmp_path):
    return find_sources([str(write_film(tmp_path / "film.avi", [(60 + t, 70) for t in range(6)]))])


def test_what_a_camera_sees_is_not_kept(film, tmp_path):
    table = str(tmp_path / "t.csv")
    parts_folder(tmp_path / "t.csv").mkdir()
    detector, plan = Detector(finder_of(SquareDetector()), None, "made"), Together(table)
    (tmp_path / "made.onnx").write_bytes(b"made")
    opening = Opening(model=str(tmp_path / "made.onnx"))
    assert open_kept(plan, opening, detector, Options(), film) is not None
    assert open_kept(plan, opening, detector, Options(), [Source("live", "0")]) is None


@pytest.mark.parametrize(
    ("words", "environment", "says"),
    [
        (
            ["--machine", "1/2", "--out", "drawn"],
            {},
            "--machine needs a table: what is found is kept beside it",
        ),
        (
            ["--machine", "1/2", "--table", "t.csv", "--video", "0"],
            {},
            "--machine shares files out, which the camera",
        ),
        (
            ["--ray", "local", "--table", "t.csv"],
            {"WORLD_SIZE": "2"},
            "--ray was given to 2 processes of torchrun",
        ),
        (["--out", "drawn"], {"WORLD_SIZE": "2"}, "torchrun needs a table"),
    ],
)
def test_what_cannot_be_shared_is_refused(words, environment, says, film, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    if environment:
        seat = {"RANK": "0", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "1", **environment}
        for name, value in seat.items():
            monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError, match=says):
        main(["--model", "none.onnx", "--video", "film.avi", *words])


@pytest.mark.slow
def test_a_run_s_detector_is_the_same_one_in_every_process(run_of, clips, tmp_path):
    """By its weights and what was measured of it, which the first process measures for all."""
    folder = shutil.copytree(run_of("tsal"), tmp_path / "run")
    words = ["--run", str(folder), "--video", str(clips), "--frames", "1:4", "--threads", "1", "--table"]
    assert main([*words, str(tmp_path / "many.csv"), "--machine", "1/2"]) == 0
    # In a process of its own: what Ray once read of its settings it keeps.
    done = run([*words, str(tmp_path / "many.csv"), "--ray", "local"])
    assert done.returncode == 0, done.stderr
    assert "/3 inputs, 0:" in done.stderr, "those of the other machine alone"
    assert main([*words, str(tmp_path / "one.csv")]) == 0
    assert (tmp_path / "many.csv").read_bytes() == (tmp_path / "one.csv").read_bytes()


def test_the_commands_on_the_page_are_understood():
    page = (ROOT / "docs" / "prediction.md").read_text()
    commands = re.findall(
        r"^(?:tsal|torchrun .* -m tsal_dist\.)\s?predict (--.*?)(?: +#.*)?$", page, re.MULTILINE
    )
    assert len(commands) >= 6
    for command in commands:
        build_parser().parse_args(command.split())


@pytest.mark.slow
def test_without_ray_it_says_what_to_install(ask, clips, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingExtra, match=r"Predicting on a Ray cluster needs .*tsal_dist\[ray\]"):
        main(ask("many.csv", "--ray", "local"))


def test_inputs_of_two_flags_are_all_looked_at():
    assert build_parser().parse_args("--run r --video a b --video c".split()).video == ["a", "b", "c"]
