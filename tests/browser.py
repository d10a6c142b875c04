"""A headless Chromium that a test drives: Chrome's own protocol over two pipes, so that it takes no further library."""

import base64
import json
import os
import select
import shutil
import subprocess
import time
from contextlib import contextmanager

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --disable-dev-shm-usage --disable-extensions --hide-scrollbars "
    "--remote-debugging-pipe"
).split()
DEADLINE_S = 60


class Tab:
    """One page. `calls` are numbered, and events are kept until they are asked for."""

    def __init__(self, ask, answers):
        self._ask, self._answers = ask, answers
        self._number, self._rest, self._session = 0, b"", None
        self.events = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.call(f"{domain}.enable")

    def call(self, method, **parameters):
        self._number += 1
        page = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            page["sessionId"] = self._session
        os.write(self._ask, json.dumps(page).encode() + b"\0")
        while True:
            answer = self._next()
            if answer.get("id") == self._number:
                assert "error" not in answer, f"{method}: {answer['error']}"
                return answer["result"]
            self.events.append(answer)

    def _next(self):
        deadline = time.monotonic() + DEADLINE_S
        while b"\0" not in self._rest:
            ready, _, _ = select.select([self._answers], [], [], max(0, deadline - time.monotonic()))
            assert ready, "the browser does not answer"
            data = os.read(self._answers, 1 << 16)
            assert data, "the browser has ended"
            self._rest += data
        line, _, self._rest = self._rest.partition(b"\0")
        return json.loads(line)

    def run(self, script):
        """The value of a JavaScript expression."""
        found = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def open(self, url, width=1200, height=900, dark=False):
        scheme = "dark" if dark else "light"
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=False,
        )
        self.call("Page.navigate", url=url)
        self.until("document.readyState === 'complete'")

    def until(self, condition):
        deadline = time.monotonic() + DEADLINE_S
        while not self.run(condition):
            assert time.monotonic() < deadline, f"{condition} never came true"
            time.sleep(0.05)

    def mouse(self, kind, x, y):
        held = {"mousePressed": 1, "mouseMoved": 1, "mouseReleased": 0}[kind]
        self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", buttons=held, clickCount=1)

    def drag(self, start, end):
        self.mouse("mousePressed", *start)
        self.mouse("mouseMoved", (start[0] + end[0]) / 2, (start[1] + end[1]) / 2)
        self.mouse("mouseMoved", *end)
        self.mouse("mouseReleased", *end)

    def key(self, key, shift=False):
        text = {"text": key} if len(key) == 1 else {"text": "\r"} if key == "Enter" else {}
        held = {"modifiers": 8} if shift else {}
        self.call("Input.dispatchKeyEvent", type="keyDown", key=key, **text, **held)
        self.call("Input.dispatchKeyEvent", type="keyUp", key=key, **held)

    def picture(self, to, whole=False):
        found = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        to.write_bytes(base64.b64decode(found["data"]))
        return to

    def complaints(self):
        """What the console and the network said that they should not."""
        self.run("1")
        bad = []
        for event in self.events:
            method, told = event.get("method"), event.get("params", {})
            if method == "Runtime.exceptionThrown":
                bad.append(told["exceptionDetails"].get("text", "exception"))
            elif method == "Log.entryAdded" and told["entry"]["level"] in ("error", "warning"):
                bad.append(told["entry"]["text"])
        return bad

    def asked(self):
        """Every address that was asked for."""
        self.run("1")
        return [
            event["params"]["request"]["url"]
            for event in self.events
            if event.get("method") == "Network.requestWillBeSent"
        ]


@contextmanager
def open_tab(folder):
    """A browser of its own, ended with the test."""
    theirs_in, ask = os.pipe()
    answers, theirs_out = os.pipe()
    words = [CHROMIUM, *FLAGS, f"--user-data-dir={folder}"]
    shell = ["bash", "-c", f'exec 3<&{theirs_in} 4>&{theirs_out}; exec "$@"', "chromium", *map(str, words)]
    browser = subprocess.Popen(
        shell, pass_fds=(theirs_in, theirs_out), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    os.close(theirs_in)
    os.close(theirs_out)
    try:
        yield Tab(ask, answers)
    finally:
        os.close(ask)
        os.close(answers)
        browser.terminate()
        browser.wait(timeout=30)
