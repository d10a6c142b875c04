"""What a tracking service is told is what stands in the JSONL file, once, whatever ended who told it."""

import json

import pytest

from tsal_dist.observe.forward import forward
from tsal_dist.observe.services import tellable
from tsal_dist.observe.sinks import JsonlSink


class Listener:
    """A service that remembers, and that breaks when it hears `bad`."""

    def __init__(self, bad=None):
        self.heard = []
        self.bad = bad

    def tell(self, lines):
        steps = [line.step for line in lines]
        if self.bad in steps:
            raise ConnectionError("the line is cut")
        self.heard += steps


def write(path, *steps):
    sink = JsonlSink(path)
    for step in steps:
        sink.write(step, {"loss": float(step)})
    sink.close()


def run(listener, folder, *meanwhile):
    """Forward until the role has left, which does one thing at every look."""
    acts = list(meanwhile)

    def ended(wait_s):
        if acts:
            acts.pop(0)()
            return False
        return True

    forward(listener, folder / "student.jsonl", folder / "note.json", ended)
    return listener.heard


def test_it_follows_the_file_from_before_it_is_there(tmp_path):
    path = tmp_path / "student.jsonl"
    heard = run(Listener(), tmp_path, lambda: write(path, 1, 2), lambda: None, lambda: write(path, 3))
    assert heard == [1, 2, 3]


def test_what_is_written_while_the_role_leaves_is_told(tmp_path):
    path = tmp_path / "student.jsonl"

    def ended(wait_s):
        write(path, 7)
        return True

    listener = Listener()
    forward(listener, path, tmp_path / "note.json", ended)
    assert listener.heard == [7]


def test_another_process_goes_on_where_the_one_before_came_to(tmp_path):
    path = tmp_path / "student.jsonl"
    write(path, 1, 2)
    assert run(Listener(), tmp_path) == [1, 2]
    write(path, 3)
    with pytest.raises(ConnectionError):
        run(Listener(bad=3), tmp_path)
    write(path, 4)
    assert run(Listener(), tmp_path) == [3, 4], "what was not taken is told again, and nothing else"


def test_half_a_line_waits_for_its_other_half(tmp_path):
    path = tmp_path / "student.jsonl"
    write(path, 1, 2)
    text = path.read_bytes()
    path.write_bytes(text[:-9])
    listener = Listener()
    assert run(listener, tmp_path, lambda: path.write_bytes(text)) == [1, 2]


@pytest.mark.parametrize("said", [b"", b"[]", b'{"told_bytes": "9"}', b'{"told_bytes": -1}', b"\xff"])
def test_a_damaged_note_tells_all_again(tmp_path, said):
    write(tmp_path / "student.jsonl", 1, 2)
    (tmp_path / "note.json").write_bytes(said)
    assert run(Listener(), tmp_path) == [1, 2]
    assert run(Listener(), tmp_path) == []


def test_lines_that_no_sink_has_written_are_left_out(tmp_path):
    path = tmp_path / "student.jsonl"
    write(path, 1)
    with open(path, "ab") as file:
        file.write(b'5\n[]\n{"loss": 1}\n{"step": "2", "time": 1}\n{"step": 2, "time": "now"}\n\xff\n\n')
    write(path, 2)
    assert run(Listener(), tmp_path) == [1, 2]


def test_a_file_of_any_length_is_told_in_pieces(tmp_path, monkeypatch):
    monkeypatch.setattr("tsal_dist.observe.forward.MOST_BYTES", 100)
    write(tmp_path / "student.jsonl", *range(50))
    assert run(Listener(), tmp_path) == list(range(50))


def test_settings_are_told_without_what_may_be_a_secret():
    config = {
        "train": {"steps": 5, "lr": 0.1, "note": None},
        "data": {"labelled": ["s3://key:secret@host/a?token=secret", "b"], "cache_dir": "https://h/x#secret"},
        "method": {"own": {"api_key": "secret", "credentials": {"user": "secret"}, "keys_kept": True}},
    }
    told = tellable(config)
    assert "secret" not in json.dumps(told)
    assert told["train.steps"] == 5
    assert told["train.lr"] == 0.1
    assert told["train.note"] is None
    assert "method.own.api_key" not in told
    assert told["method.own.keys_kept"] is True
    assert told["data.labelled"].startswith('["s3://...@host/a?')
