"""Something else where a run keeps its files, or a disk that takes none: one sentence about the place, and no traceback."""

import ctypes
import io
import os
import re
import shutil
import struct
import subprocess
import tempfile
from contextlib import ExitStack, redirect_stderr
from dataclasses import replace
from pathlib import Path

import pytest

from tests.ranks import run_ranks
from tests.roles.short_runs import train, words

pytestmark = [pytest.mark.ranks, pytest.mark.slow]
QUICK = ("runtime.deadlines.silent_s=3", "runtime.deadlines.poll_s=0.2")
FOLDERS = ("ctl", "queue", "queue/labels", "queue/labels/p", "checkpoints", "checkpoints/student", "weights")
NOBODY = 65534
needs_root = pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("mount"), reason="needs root and mount")


def say(rank, world, argv, plain_user):
    """The exit code of a start, and what it said; without the administrator's powers where that is asked.

    Without them the administrator is a user as any other, who may still read Python itself wherever it lies.
    """
    from tsal_dist.cli import run_entry
    from tsal_dist.train import main

    if plain_user:
        version_3, this_process = 0x20080522, 0
        powers = bytes(24)  # none of them in effect, none permitted, none inherited
        assert ctypes.CDLL(None).capset(struct.pack("Ii", version_3, this_process), powers) == 0
    said = io.StringIO()
    with redirect_stderr(said):
        code = run_entry(main, argv)
    return code, said.getvalue()


def start(faces, folder: Path, *flags: str, plain_user: bool = False) -> str:
    """The one line of error with which a start ends."""
    argv = [*flags, *words(faces, folder, *QUICK)]
    ((code, said),) = run_ranks(say, 1, argv, plain_user, group=False, env={"RANK": "0"})
    assert code in (1, 2), said
    (line,) = re.findall("^error: (.*)$", said, re.MULTILINE)
    assert "Traceback" not in said
    return line


@pytest.fixture(scope="module")
def begun(faces, tmp_path_factory):
    return train(faces, tmp_path_factory.mktemp("begun") / "run", "train.steps=4")


@pytest.fixture
def run(begun, tmp_path):
    shutil.copytree(begun, tmp_path / "run", symlinks=True)
    return tmp_path / "run"


@pytest.mark.parametrize("name", [*FOLDERS, "metrics", "logs"])
def test_a_file_where_a_folder_should_be(faces, run, name):
    shutil.rmtree(run / name)
    (run / name).touch()
    assert f"{name}" in start(faces, run, "--resume")


@pytest.mark.parametrize("name", ["data.json", "metrics/plan.jsonl", "metrics/student.jsonl"])
def test_a_folder_where_a_file_should_be(faces, run, name):
    (run / name).unlink()
    (run / name).mkdir()
    assert f"{name}: a folder is in the way" in start(faces, run, "--resume")


@pytest.fixture
def disk():
    """`disk(options)` is a small disk of its own, at a place that everybody may enter."""
    with ExitStack() as over:

        def mount(options: str) -> Path:
            place = Path(over.enter_context(tempfile.TemporaryDirectory()))
            place.chmod(0o755)
            subprocess.run(["mount", "-t", "tmpfs", "-o", f"mode=755,{options}", "tmpfs", place], check=True)
            over.callback(subprocess.run, ["umount", "--lazy", place], check=True)
            return place

        yield mount


@needs_root
def test_a_disk_that_nobody_may_write_on(faces, begun, disk):
    place = disk("size=64m")
    shutil.copytree(begun, place / "run", symlinks=True)
    subprocess.run(["mount", "-o", "remount,ro", place], check=True)
    assert "the filesystem is mounted read-only" in start(faces, place / "run", "--resume")
    assert "the filesystem is mounted read-only" in start(faces, place / "new")


@needs_root
def test_a_disk_that_takes_no_more_files(faces, disk):
    """There is room enough, which `df` shows."""
    assert "`df -i` for files" in start(faces, disk("size=64m,nr_inodes=12") / "run")


@needs_root
def test_another_user_s_run(faces, disk, tmp_path):
    place = disk("size=64m")
    shutil.copytree(Path(faces.train).parent, place / "faces")
    everybodys = replace(faces, train=str(place / "faces/train"), held_out=str(place / "faces/val"))
    run = train(everybodys, place / "run", "train.steps=4")
    subprocess.run(["chown", "-R", str(NOBODY), place], check=True)
    subprocess.run(["chmod", "-R", "go-rwx", place / "faces"], check=True)
    assert "train', which cannot be looked into: Permission denied" in start(
        everybodys, tmp_path / "another", plain_user=True
    )
    subprocess.run(["chmod", "-R", "a+rX", place / "faces"], check=True)
    for flags, said in (
        (("--resume",), "may not write there"),
        (("--clean",), "Cannot delete"),
        ((), "already holds"),
    ):
        assert said in start(everybodys, run, *flags, plain_user=True)
    run.chmod(0o700)
    for flags in ("--resume",), ("--clean",), ():
        assert "may not read there" in start(everybodys, run, *flags, plain_user=True)
