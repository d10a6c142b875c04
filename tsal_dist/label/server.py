"""Answers the labelling page: on the loopback interface, to whoever knows the token in the address, and to nobody else.

A request for another host name is refused, so that no other site's page can reach this one by a name that it points
here; the page itself may load nothing from anywhere else.
"""

import html
import json
import secrets
import sys
import threading
from collections.abc import Sequence
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import resources
from typing import Any

from tsal_dist.errors import ConfigError, DataError, ExchangeError, TsalError
from tsal_dist.json_object import read_object
from tsal_dist.label.book import Book, Mark
from tsal_dist.label.tasks import FrameToLabel, Pictures
from tsal_dist.records import frame_name

HOST = "127.0.0.1"
MOST_BYTES = 1 << 20
"""Of a request: a frame's points take some hundred."""


class Desk:
    """What is shown and what is kept; one request at a time touches it."""

    def __init__(self, tasks: Sequence[FrameToLabel], book: Book, pictures: Pictures) -> None:
        self.tasks, self.book, self._pictures = list(tasks), book, pictures
        self._lock = threading.Lock()

    def describe(self) -> dict[str, Any]:
        """Everything the page needs but the pictures."""
        layout = self.book.layout
        with self._lock:
            return {
                "names": layout.names,
                "skeleton": layout.skeleton,
                "table": str(self.book.path),
                "frames": [self._describe(task) for task in self.tasks],
            }

    def _describe(self, task: FrameToLabel) -> dict[str, Any]:
        marks = self.book.marks(task.video, task.frame)
        shown = task.first_marks(len(self.book.layout.names)) if marks is None else marks
        return {
            "title": frame_name(task.video, task.frame),
            "reason": task.reason,
            "size": self._pictures.size_px(task.ref),
            "marks": self._pictures.on_picture(task.ref, shown),
            "done": marks is not None,
            "revision": self.book.revision(task.video, task.frame),
        }

    def jpeg(self, number: int) -> bytes:
        with self._lock:
            return self._pictures.jpeg(self.tasks[number].ref)

    def save(self, number: int, marks: Sequence[Mark], seen: str) -> dict[str, Any]:
        """Keep a frame's marks, places on its picture, unless its label is another than the revision that was `seen`."""
        task = self.tasks[number]
        with self._lock:
            self.book.put(task.video, task.frame, self._pictures.in_source(task.ref, marks), seen)
            return {
                "kept": len(self.book.entries),
                "revision": self.book.revision(task.video, task.frame),
            }


class DeskServer(ThreadingHTTPServer):
    """Listens on a port of this machine."""

    daemon_threads = True

    def __init__(self, desk: Desk, port: int = 0) -> None:
        self.desk, self.token = desk, secrets.token_urlsafe(24)
        try:
            super().__init__((HOST, port), _Handler)
        except OSError as error:
            raise ConfigError(
                f"Port {port} cannot be listened on: {error.strerror}. Name another --port."
            ) from error

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A browser that leaves a picture before it has all of it is nothing to tell of."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.server_address[1]}/{self.token}/"


class _Handler(BaseHTTPRequestHandler):
    server: DeskServer
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        try:
            self._get(self._path())
        except TsalError as error:  # shards that are damaged or gone; other frames may be well
            self._send(str(error).encode(), "text/plain; charset=utf-8", HTTPStatus.INTERNAL_SERVER_ERROR)

    def _get(self, path: str | None) -> None:
        desk = self.server.desk
        if path == "":
            self._page()
        elif path == "tasks.json":
            self._answer(desk.describe())
        elif path is not None and path.startswith("frame/"):
            digits = path.removeprefix("frame/")
            if digits.isascii() and digits.isdigit() and int(digits[:9]) < len(desk.tasks):
                self._send(desk.jpeg(int(digits)), "image/jpeg")
            else:
                self._refuse(HTTPStatus.NOT_FOUND)
        else:
            self._refuse(HTTPStatus.NOT_FOUND)

    def do_POST(self) -> None:
        length = self.headers.get("Content-Length", "")
        if self._path() != "save" or self.headers.get("Content-Type") != "application/json":
            self._refuse(HTTPStatus.NOT_FOUND)
        elif not length.isdigit() or int(length) > MOST_BYTES:
            self._refuse(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
        else:
            self._save(self.rfile.read(int(length)))

    def _save(self, body: bytes) -> None:
        try:
            page = read_object(body)
            number = int(page["frame"])
            if not 0 <= number < len(self.server.desk.tasks):
                raise DataError(f"there is no frame {number}")
            marks = [(float(x), float(y), int(seen)) for x, y, seen in page["marks"]]
            kept = self.server.desk.save(number, marks, str(page.get("revision", "")))
        except (ValueError, LookupError, TypeError, OverflowError, DataError) as error:
            self._answer({"error": str(error)}, HTTPStatus.BAD_REQUEST)
        except ConfigError as error:  # the table is not what it was, or nothing that can be gone on with
            self._answer({"error": str(error)}, HTTPStatus.CONFLICT)
        except ExchangeError as error:
            self._answer({"error": str(error)}, HTTPStatus.INSUFFICIENT_STORAGE)
        else:
            self._answer(kept)

    def _answer(self, page: dict[str, Any], status: HTTPStatus = HTTPStatus.OK) -> None:
        self._send(json.dumps(page).encode(), "application/json", status)

    def _path(self) -> str | None:
        """What is asked for below the token; None where host or token are not ours."""
        port = self.server.server_address[1]
        if self.headers.get("Host") not in (f"{HOST}:{port}", f"localhost:{port}"):
            return None
        token, slash, rest = self.path.lstrip("/").partition("/")
        return rest if slash and secrets.compare_digest(token.encode(), self.server.token.encode()) else None

    def _page(self) -> None:
        nonce = secrets.token_urlsafe(12)
        text = resources.files("tsal_dist.label").joinpath("page.html").read_text("utf-8")
        policy = f"default-src 'none'; img-src 'self' data:; connect-src 'self'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'"
        self._send(
            text.replace("{nonce}", html.escape(nonce)).encode(),
            "text/html; charset=utf-8",
            headers={"Content-Security-Policy": policy},
        )

    def _refuse(self, status: HTTPStatus) -> None:
        self.close_connection = True  # what it was going to send is not read
        self._send(status.phrase.encode(), "text/plain", status)

    def _send(
        self,
        body: bytes,
        kind: str,
        status: HTTPStatus = HTTPStatus.OK,
        headers: dict[str, str] | None = None,
    ) -> None:
        self.send_response(status)
        usual = {"Content-Type": kind, "Content-Length": str(len(body)), "Cache-Control": "no-store"}
        safe = {"X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer"}
        for name, value in {**usual, **safe, **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """The terminal belongs to the person who labels."""
