"""What a run's files promise whoever writes them: a name that is there stays there, and a folder is listed or said."""

import os

import pytest

from tsal_dist import run_dir
from tsal_dist.errors import ExchangeError
from tsal_dist.exchange.lines import last_line
from tsal_dist.run_dir import (
    MOST_NAME,
    aside_of,
    list_names,
    make_folder,
    shorten_name,
    whole_steps,
    write_whole,
)
from tsal_dist.weights.format import list_versions


@pytest.fixture
def synced(monkeypatch):
    """The folders whose names were made durable, in order."""
    folders = []
    real = run_dir.sync_folder
    monkeypatch.setattr(run_dir, "sync_folder", lambda folder: (folders.append(folder), real(folder)))
    return folders


def test_a_new_folder_survives_a_power_cut_and_so_do_those_above_it(tmp_path, synced):
    place = tmp_path / "checkpoints" / "student"
    write_whole(place / "file", b"1")
    assert set(synced) == {tmp_path, tmp_path / "checkpoints", place}, "each name is in its parent's own data"
    synced.clear()
    make_folder(place)
    assert synced == []


def test_temporary_names_are_drawn_not_numbered(tmp_path):
    """In containers every process may have the number 1."""
    names = {aside_of(tmp_path / "file").name for _ in range(100)}
    assert len(names) == 100
    assert not any(f".{os.getpid()}." in name for name in names)


@pytest.mark.parametrize("begin", ["", "a", "ab"])
def test_a_temporary_name_is_cut_between_characters(tmp_path, begin):
    """Half of a letter makes a name that is no text, which tables and videos cannot be written under."""
    path = tmp_path / (begin + 80 * "\N{CJK UNIFIED IDEOGRAPH-8C93}" + ".csv")
    aside = aside_of(path, ".csv").name
    assert len(aside.encode()) <= 255
    assert aside.startswith(f".{path.name[:60]}")
    write_whole(path, b"1")
    assert os.listdir(tmp_path) == [path.name]
    assert shorten_name("clip" * 10, MOST_NAME) == "clip" * 10


@pytest.mark.parametrize("look", [list_names, whole_steps, list_versions])
def test_what_is_no_folder_is_a_sentence_and_what_is_not_there_is_empty(tmp_path, look):
    assert list(look(tmp_path / "absent")) == []
    (tmp_path / "file").touch()
    with pytest.raises(
        ExchangeError, match=r"Cannot list .*file: something on the way there is a file and no folder"
    ):
        list(look(tmp_path / "file"))


def test_a_folder_for_a_file_of_lines_is_a_sentence(tmp_path):
    assert last_line(tmp_path / "absent") == b""
    (tmp_path / "plan.jsonl").mkdir()
    with pytest.raises(ExchangeError, match=r"Cannot read .*plan\.jsonl: a folder is in the way"):
        last_line(tmp_path / "plan.jsonl")
