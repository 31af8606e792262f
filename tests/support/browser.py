"""A headless Chromium, driven by the DevTools protocol over a pipe: no driver, no port, no package."""

from __future__ import annotations

import base64
import json
import os
import selectors
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

PATIENCE = 60
"""Seconds after which a browser that says nothing is given up."""

_FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--remote-debugging-pipe",
)

_KEYS = {
    "ArrowLeft": 37,
    "ArrowUp": 38,
    "ArrowRight": 39,
    "ArrowDown": 40,
    "Escape": 27,
    "Enter": 13,
    "Tab": 9,
    "Home": 36,
    "End": 35,
}
"""Keys by name, and the codes that Chromium knows them by."""

_UNTIL = """new Promise((resolve) => {
  const end = performance.now() + %d;
  const look = () => {
    if (%s) resolve(true);
    else if (performance.now() > end) resolve(false);
    else requestAnimationFrame(look);
  };
  look();
})"""
"""Looks at a condition whenever the browser draws."""


class Browser:
    """One page of a running Chromium.

    Attributes:
        complaints: what the page wrote to the console, threw, or was refused by its policy.
    """

    def __init__(self, to: int, back: int) -> None:
        self._to = to
        self._back = back
        self._selector = selectors.DefaultSelector()
        self._selector.register(back, selectors.EVENT_READ)
        self._unread = b""
        self._asked = 0
        self._session: str | None = None
        self._happened: list[str] = []
        self.complaints: list[str] = []

    def begin(self) -> None:
        """Take a new page."""
        target = self.ask("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log"):
            self.ask(f"{domain}.enable")

    def end(self) -> None:
        self._selector.close()

    # --- what a test does -----------------------------------------------------------------------

    def open(self, page: Path | str) -> None:
        """Go to a file or a URL, until it is loaded."""
        self._happened.clear()
        self.ask("Page.navigate", url=page.as_uri() if isinstance(page, Path) else page)
        while "Page.loadEventFired" not in self._happened:
            self._take()

    def look(self, width: int, height: int = 900, *, scheme: str = "light") -> None:
        """Make the window this large, in CSS pixels, and `light` or `dark`."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.ask("Emulation.setDeviceMetricsOverride", **size)
        self.ask("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])

    def run(self, expression: str) -> Any:
        """What a JavaScript expression gives, or the promise it gives."""
        said = self.ask("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in said:
            raise AssertionError(f"{expression}: {said['exceptionDetails']}")
        return said["result"].get("value")

    def until(self, condition: str) -> None:
        """Wait until a JavaScript expression is true."""
        if not self.run(_UNTIL % (1000 * PATIENCE / 2, condition)):
            raise AssertionError(f"not within {PATIENCE / 2:g} s: {condition}")

    def text(self, selector: str) -> str:
        """What a reader sees of an element."""
        return str(self.run(f"document.querySelector({json.dumps(selector)}).innerText"))

    def click(self, selector: str) -> None:
        """Bring an element into the window and press the mouse on its middle."""
        find = f"document.querySelector({json.dumps(selector)})"
        self.run(f"{find}.scrollIntoView({{block: 'center', behavior: 'instant'}})")
        self.run("new Promise((resolve) => requestAnimationFrame(() => requestAnimationFrame(resolve)))")
        box = self.run(
            f"(() => {{ const box = {find}.getBoundingClientRect(); return [box.x, box.y, box.width, box.height]; }})()"
        )
        place = {"x": box[0] + box[2] / 2, "y": box[1] + box[3] / 2, "button": "left", "clickCount": 1}
        for kind in ("mousePressed", "mouseReleased"):
            self.ask("Input.dispatchMouseEvent", type=kind, **place)

    def press(self, key: str) -> None:
        """Press and release a key of `_KEYS`."""
        what = {"key": key, "code": key, "windowsVirtualKeyCode": _KEYS[key]}
        typed = {"text": "\r"} if key == "Enter" else {}
        self.ask("Input.dispatchKeyEvent", type="keyDown", **what, **typed)
        self.ask("Input.dispatchKeyEvent", type="keyUp", **what)

    def type(self, text: str) -> None:
        """Write `text` where the keyboard is."""
        self.ask("Input.insertText", text=text)

    def screenshot(self, path: Path, *, whole: bool = False) -> None:
        """Write what the window shows, or the whole page, as a PNG."""
        path.write_bytes(base64.b64decode(self.ask("Page.captureScreenshot", captureBeyondViewport=whole)["data"]))

    # --- the protocol ---------------------------------------------------------------------------

    def ask(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Call a method of the DevTools protocol."""
        self._asked += 1
        message = {"id": self._asked, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        _write(self._to, json.dumps(message).encode() + b"\0")
        while True:
            said = self._take()
            if said.get("id") == self._asked:
                if "error" in said:
                    raise AssertionError(f"{method}: {said['error']}")
                return dict(said["result"])

    def _take(self) -> dict[str, Any]:
        """The next message, which is kept if it is a complaint."""
        while b"\0" not in self._unread:
            if not self._selector.select(PATIENCE):
                raise AssertionError(f"Chromium said nothing for {PATIENCE} s")
            piece = os.read(self._back, 1 << 16)
            if not piece:
                raise AssertionError("Chromium has ended")
            self._unread += piece
        line, self._unread = self._unread.split(b"\0", 1)
        message: dict[str, Any] = json.loads(line)
        self._note(message)
        return message

    def _note(self, message: dict[str, Any]) -> None:
        method, parameters = message.get("method", ""), message.get("params", {})
        self._happened.append(method)
        if method == "Runtime.consoleAPICalled":
            self.complaints.append(f"console.{parameters['type']}: {parameters['args']}")
        if method == "Runtime.exceptionThrown":
            self.complaints.append(json.dumps(parameters["exceptionDetails"]))
        if method == "Log.entryAdded":
            self.complaints.append(json.dumps(parameters["entry"]))


def _write(to: int, data: bytes) -> None:
    while data:
        data = data[os.write(to, data) :]


@contextmanager
def chromium(profile: Path) -> Iterator[Browser]:
    """A running browser with an empty profile, gone at the end.

    Where Chromium is not installed the test is skipped; in CI it fails.
    """
    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if found is None:
        say = pytest.fail if os.environ.get("CI") else pytest.skip
        say("Chromium is not installed: apt-get install chromium")
    theirs_in, to = os.pipe()
    back, theirs_out = os.pipe()
    # The browser reads from file 3 and writes to file 4, whatever else is open.
    line = f'exec "$0" "$@" 3<&{theirs_in} 4>&{theirs_out}'
    process = subprocess.Popen(
        ["bash", "-c", line, found, *_FLAGS, f"--user-data-dir={profile}", "about:blank"],
        pass_fds=(theirs_in, theirs_out),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    os.close(theirs_in)
    os.close(theirs_out)
    browser = Browser(to, back)
    try:
        browser.begin()
        yield browser
    finally:
        browser.end()
        os.close(to)
        os.close(back)
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
