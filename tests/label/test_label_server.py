"""Who may ask the labelling page's server what, and what it makes of a wrong answer."""

import http.client
import json
import socket
import struct
import threading
from pathlib import Path

import pytest

from tests.pack.footage import make_video
from tests.pack.packing import pack_all
from tsal_dist.data.shard_set import open_shards
from tsal_dist.errors import ConfigError, DataError
from tsal_dist.label.book import open_book
from tsal_dist.label.server import HOST, Desk, DeskServer
from tsal_dist.label.tasks import FrameToLabel, Pictures
from tsal_dist.records import FrameRef, Layout

LAYOUT = Layout(("nose", "tail"))
JSON = {"Content-Type": "application/json"}


@pytest.fixture
def server(tmp_path):
    make_video(tmp_path / "videos" / "clip.avi", frames=3)
    made = pack_all(tmp_path / "shards", [tmp_path / "videos"], split="clips", box="full")
    shards = open_shards([made.manifest.url])
    tasks = [FrameToLabel(FrameRef(0, 1), "clip.avi", 1, "", ((1.0, 2.0), (3.0, 4.0)))]
    server = DeskServer(Desk(tasks, open_book(tmp_path / "labels.csv", LAYOUT), Pictures(shards)))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def ask(server, path, method="GET", body=None, headers=None, token=None):
    connection = http.client.HTTPConnection(HOST, server.server_address[1], timeout=20)
    connection.request(method, f"/{server.token if token is None else token}/{path}", body, headers or {})
    answer = connection.getresponse()
    found = answer.status, answer.read(), answer.headers
    connection.close()
    return found


def test_it_listens_on_this_machine_alone(server):
    assert server.server_address[0] == "127.0.0.1"
    assert server.url.startswith("http://127.0.0.1:")
    assert len(server.token) >= 32


def test_the_page_may_load_nothing_from_elsewhere(server):
    status, body, headers = ask(server, "")
    assert status == 200
    policy = headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "{nonce}" not in body.decode()
    assert f"'nonce-{body.decode().partition('nonce=')[2][1:].partition(chr(34))[0]}'" in policy
    assert "://" not in body.decode().replace("http://www.w3.org/2000/svg", "")


def test_a_picture_is_the_stored_one(server):
    status, body, headers = ask(server, "frame/0")
    assert (status, headers["Content-Type"], body[:2]) == (200, "image/jpeg", b"\xff\xd8")


def test_a_frame_that_cannot_be_read_is_told_to_the_page(server, monkeypatch, capsys):
    """It was a closed connection: a black picture with points on it, and a traceback in the terminal."""

    def damaged(ref):
        raise DataError("a-00000.tar is damaged")

    monkeypatch.setattr(server.desk._pictures, "jpeg", damaged)
    status, body, _ = ask(server, "frame/0")
    assert (status, body) == (500, b"a-00000.tar is damaged")
    assert capsys.readouterr().err == ""


def test_a_browser_that_leaves_in_the_middle_is_nothing_to_tell_of(server, monkeypatch, capsys):
    """Who leafs through frames makes it do so; each time a traceback was printed."""
    monkeypatch.setattr(server.desk, "jpeg", lambda number: bytes(1 << 24))
    left = threading.Event()
    monkeypatch.setattr(server, "shutdown_request", lambda request: (request.close(), left.set()))
    with socket.create_connection(server.server_address[:2]) as browser:
        host = f"{HOST}:{server.server_address[1]}"
        browser.sendall(f"GET /{server.token}/frame/0 HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
        browser.recv(1000)
        browser.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    assert left.wait(20)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    "path",
    [
        "frame/1",
        "frame/-1",
        "frame/",
        "frame/x",
        "../labels.csv",
        "x",
    ],
)
def test_other_paths_are_not_there(server, path):
    assert ask(server, path)[0] == 404


@pytest.mark.parametrize("path", ["", "tasks.json", "frame/0"])
def test_without_the_token_there_is_nothing(server, path):
    assert ask(server, path, token="x" * 32)[0] == 404
    assert ask(server, path, token="")[0] == 404


def test_another_sites_name_for_this_machine_is_refused(server):
    port = server.server_address[1]
    assert ask(server, "tasks.json", headers={"Host": f"evil.example:{port}"})[0] == 404
    assert ask(server, "tasks.json", headers={"Host": f"localhost:{port}"})[0] == 200


@pytest.mark.parametrize(
    "page",
    [
        {"frame": 1, "marks": [[1, 2, 1], [3, 4, 1]]},
        {"frame": -1, "marks": [[1, 2, 1], [3, 4, 1]]},
        {"frame": 0, "marks": [[1, 2, 1]]},
        {"frame": 0, "marks": [[1, 2, 3], [3, 4, 1]]},
        {"frame": 0, "marks": [["a", 2, 1], [3, 4, 1]]},
        {"frame": 0, "marks": [[1e999, 2, 1], [3, 4, 1]]},
        {"frame": 0},
        [1],
    ],
)
def test_a_wrong_answer_is_named_and_nothing_is_written(server, page):
    status, body, _ = ask(server, "save", "POST", json.dumps(page), JSON)
    assert status == 400
    assert json.loads(body)["error"]
    assert not server.desk.book.path.exists()


def test_only_json_of_a_page_s_size_is_taken(server):
    right = json.dumps({"frame": 0, "marks": [[1, 2, 1], [3, 4, 0]]})
    assert ask(server, "save", "POST", right, {"Content-Type": "text/plain"})[0] == 404, (
        "what a foreign form can send"
    )
    assert ask(server, "save", "POST", "x", {**JSON, "Content-Length": str(1 << 30)})[0] == 413
    status, body, _ = ask(server, "save", "POST", right, JSON)
    assert (status, json.loads(body)["kept"]) == (200, 1)
    assert server.desk.book.path.read_text().splitlines()[1] == "clip.avi,2,,,,,1,2,1,,,0"
    assert json.loads(ask(server, "tasks.json")[1])["frames"][0]["done"]


def test_a_frame_without_any_point_is_kept_as_looked_at(server):
    ask(server, "save", "POST", json.dumps({"frame": 0, "marks": [[0, 0, 0], [0, 0, 0]]}), JSON)
    again = open_book(server.desk.book.path, LAYOUT)
    assert again.marks("clip.avi", 1) == [(0.0, 0.0, 0)] * 2


def save(server, marks, revision):
    page = {"frame": 0, "marks": marks, "revision": revision}
    status, body, _ = ask(server, "save", "POST", json.dumps(page), JSON)
    return status, json.loads(body)


def test_a_stale_page_does_not_overwrite_a_newer_label(server):
    (shown,) = json.loads(ask(server, "tasks.json")[1])["frames"]
    assert shown["revision"] == ""
    status, told = save(server, [[1, 2, 1], [3, 4, 1]], shown["revision"])
    assert status == 200
    status, refusal = save(server, [[9, 9, 1], [9, 9, 1]], shown["revision"])
    assert status == 409
    assert "Frame 2 of clip.avi has another label" in refusal["error"]
    assert server.desk.book.marks("clip.avi", 1)[0] == (1, 2, 1)
    assert json.loads(ask(server, "tasks.json")[1])["frames"][0]["revision"] == told["revision"]
    assert save(server, [[9, 9, 1], [9, 9, 1]], told["revision"])[0] == 200, "who has seen it may replace it"


def test_a_table_that_cannot_be_read_any_more_is_not_overwritten(server):
    server.desk.book.path.write_text("nonsense\n")
    status, refusal = save(server, [[1, 2, 1], [3, 4, 1]], "")
    assert status == 409
    assert "has the columns nonsense" in refusal["error"]
    assert server.desk.book.path.read_text() == "nonsense\n"


def test_a_table_that_cannot_be_written_is_said_and_can_be_saved_again(server):
    path, server.desk.book.path = server.desk.book.path, Path("/proc/no/labels.csv")
    status, refusal = save(server, [[1, 2, 1], [3, 4, 1]], "")
    assert status == 507
    assert refusal["error"].startswith("Cannot write /proc/no/labels.csv")
    server.desk.book.path = path
    assert save(server, [[1, 2, 1], [3, 4, 1]], "")[0] == 200


def test_a_table_of_other_points_is_not_gone_on_with(tmp_path):
    open_book(tmp_path / "l.csv", LAYOUT).put("a.avi", 0, [(1, 2, 1), (3, 4, 1)])
    with pytest.raises(ConfigError, match="holds labels of nose, tail"):
        open_book(tmp_path / "l.csv", Layout(("nose", "ear")))


def test_a_taken_port_is_said(server):
    with pytest.raises(ConfigError, match="cannot be listened on"):
        DeskServer(server.desk, server.server_address[1])
