"""Outputs: what could not be written, or would destroy an input, is refused before work begins."""

import errno
import os

import pytest

from tsal_dist.cli import run_entry
from tsal_dist.errors import ConfigError, DataError, DiskFull, ExitCode
from tsal_dist.outputs import check_file, check_folder, written_whole
from tsal_dist.run_dir import write_whole


def test_folders_are_made(tmp_path):
    assert check_file("--out", tmp_path / "a" / "b" / "c.mp4", [".mp4"]).parent.is_dir()
    assert check_folder("--out", tmp_path / "d" / "e").is_dir()
    assert os.listdir(tmp_path / "d" / "e") == []


def test_an_ending_may_be_written_large(tmp_path):
    check_file("--out", tmp_path / "C.MP4", [".mp4"])


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("film.gif", r"must end in \.mp4 or \.avi"),
        ("film", r"must end in \.mp4 or \.avi"),
        ("taken.mp4", "which is a folder. Name a file in it"),
        ("file.txt/film.mp4", "cannot be written"),
        ("n" * 300 + ".mp4", "cannot be written: File name too long"),
    ],
)
def test_a_file_that_cannot_be_written_is_refused(tmp_path, name, reason):
    (tmp_path / "taken.mp4").mkdir()
    (tmp_path / "file.txt").write_text("x")
    with pytest.raises(ConfigError, match=rf"--out is .*{reason}"):
        check_file("--out", tmp_path / name, [".mp4", ".avi"])


def test_an_input_is_never_an_output(tmp_path):
    video = tmp_path / "clip.mp4"
    video.write_bytes(b"precious")
    (tmp_path / "link.mp4").symlink_to(video)
    os.link(video, tmp_path / "twin.mp4")
    for name in ("clip.mp4", "link.mp4", "twin.mp4", "../" + tmp_path.name + "/clip.mp4"):
        with pytest.raises(ConfigError, match="is read as well and would be overwritten"):
            check_file("--out", tmp_path / name, [".mp4"], inputs=[video])
    assert video.read_bytes() == b"precious"
    assert check_file("--out", tmp_path / "other.mp4", [".mp4"], inputs=[video])


def test_files_of_a_folder_that_is_read_are_inputs_too(tmp_path):
    (tmp_path / "1.png").write_bytes(b"precious")
    with pytest.raises(ConfigError, match="would be overwritten"):
        check_file("--out", tmp_path / "1.png", inputs=[tmp_path])
    for inputs in ([tmp_path], [tmp_path / "1.png"]):
        with pytest.raises(ConfigError, match="the folder that is read"):
            check_folder("--out", tmp_path, inputs=inputs)
    assert check_folder("--out", tmp_path / "drawn", inputs=[tmp_path])


def test_a_folder_that_is_a_file_is_refused(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(ConfigError, match="which is a file. Name a folder"):
        check_folder("--plots", tmp_path / "file")


@pytest.mark.skipif(os.geteuid() == 0, reason="the administrator may write anywhere")
def test_a_folder_without_permission_is_refused(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(ConfigError, match="Permission denied"):
        check_file("--out", tmp_path / "t.csv")
    tmp_path.chmod(0o700)


def write_half(path, error):
    with written_whole(path) as aside:
        aside.write_text("half")
        raise error


def test_whole_or_absent(tmp_path):
    path = tmp_path / "t.csv"
    with written_whole(path) as aside:
        assert aside.suffix == ".csv"
        aside.write_text("one")
    assert path.read_text() == "one"
    with pytest.raises(ZeroDivisionError):
        write_half(path, ZeroDivisionError())
    assert path.read_text() == "one"
    assert os.listdir(tmp_path) == ["t.csv"]


def test_a_full_disk_is_said_in_a_line(tmp_path):
    path = tmp_path / "t.csv"
    with pytest.raises(DiskFull, match=r"t\.csv was not written: No space left on device\. Free some space"):
        write_half(path, OSError(28, os.strerror(28)))
    with pytest.raises(DataError, match="was not written: there was nothing to write"), written_whole(path):
        pass
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("name", ["a" * 240 + ".csv", "ж" * 120 + ".csv", "語" * 80 + ".csv"])
def test_a_name_as_long_as_the_filesystem_takes_is_written_whole(tmp_path, name):
    with written_whole(tmp_path / name) as aside:
        assert aside.suffix == ".csv", "writers of videos and tables go by the ending"
        aside.write_text("all")
    write_whole(tmp_path / name, b"again")
    assert (tmp_path / name).read_bytes() == b"again"
    assert [path.name for path in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (PermissionError(errno.EACCES, "", "a/b"), "Cannot open a/b: this user may not read or write there"),
        (
            NotADirectoryError(errno.ENOTDIR, "", "a/b"),
            "Cannot open a/b: something on the way there is a file",
        ),
        (OSError(errno.ENOSPC, ""), "Cannot write a file: the disk is full; free some space"),
    ],
)
def test_what_a_disk_refuses_while_a_command_works_is_told_in_a_line(capsys, error, line):
    def main(argv):
        raise error

    assert run_entry(main, []) == ExitCode.FAILED
    (said,) = capsys.readouterr().err.splitlines()
    assert said.startswith(f"error: {line}")


def test_any_other_error_of_the_system_is_a_defect_and_keeps_its_traceback():
    def main(argv):
        raise FileNotFoundError(errno.ENOENT, "", "a/b")

    with pytest.raises(FileNotFoundError):
        run_entry(main, [])
