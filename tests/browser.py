"""Chromium without a network, by its own protocol over a pipe: no driver is needed."""

import contextlib
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

CHROMIUM = shutil.which("chromium")

FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--host-resolver-rules=MAP * ~NOTFOUND",
    "--remote-debugging-pipe",
)

SECONDS = 60
"""How long the browser may take for anything."""


class Browser:
    """A page of Chromium, at one width. `said` is what its console said, `requested` what it asked any network for."""

    def __init__(self, commands: int, answers: int, width: int, dark: bool) -> None:
        self._commands, self._answers, self._read, self._session, self._last = commands, answers, b"", "", 0
        self.said: list[str] = []
        self.requested: list[str] = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")
        size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
        self.call("Emulation.setDeviceMetricsOverride", **size)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """What a method of the protocol returns."""
        self._last += 1
        session = {"sessionId": self._session} if self._session else {}
        message = {"id": self._last, "method": method, "params": parameters, **session}
        sent = json.dumps(message).encode() + b"\0"
        while sent:
            sent = sent[os.write(self._commands, sent) :]
        while (answer := self._message()).get("id") != self._last:
            self._note(answer)
        assert "error" not in answer, (method, answer["error"])
        result: dict[str, Any] = answer["result"]
        return result

    def _message(self) -> dict[str, Any]:
        while b"\0" not in self._read:
            more = os.read(self._answers, 1 << 20)
            assert more, "the browser has ended"
            self._read += more
        message, _, self._read = self._read.partition(b"\0")
        found: dict[str, Any] = json.loads(message)
        return found

    def _note(self, event: dict[str, Any]) -> None:
        about = event.get("params", {})
        if event.get("method") == "Network.requestWillBeSent":
            if (url := about["request"]["url"]).partition(":")[0] not in ("file", "blob", "data"):
                self.requested.append(url)
        elif event.get("method") in ("Log.entryAdded", "Runtime.exceptionThrown", "Runtime.consoleAPICalled"):
            self.said.append(json.dumps(about))

    def open(self, file: Path) -> None:
        """Loads a page from disk."""
        self.call("Page.navigate", url=file.resolve().as_uri())
        self.until("return location.protocol === 'file:' && document.readyState === 'complete'")

    def evaluate(self, script: str, *arguments: Any, by_value: bool = True) -> dict[str, Any]:
        """The protocol's remote object of what the script returns."""
        expression = f"(async function () {{ {script} }}).apply(null, {json.dumps(arguments)})"
        found = self.call("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=by_value)
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        result: dict[str, Any] = found["result"]
        return result

    def run(self, script: str, *arguments: Any) -> Any:
        """What the script returns."""
        return self.evaluate(script, *arguments).get("value")

    def until(self, script: str, *arguments: Any) -> Any:
        """What the script returns once that is true."""
        deadline = time.monotonic() + SECONDS
        while not (found := self.run(script, *arguments)):
            assert time.monotonic() < deadline, (script, self.said)
            time.sleep(0.05)
        return found

    def choose(self, selector: str, file: Path) -> None:
        """Chooses a file as its dialog does."""
        found = self.evaluate("return document.querySelector(arguments[0])", selector, by_value=False)
        self.call("DOM.setFileInputFiles", files=[str(file)], objectId=found["objectId"])

    def drop(self, file: Path, x: float, y: float) -> None:
        """Drags a file to a point of the window and lets it go."""
        data = {"items": [], "files": [str(file)], "dragOperationsMask": 1}
        for kind in ("dragEnter", "dragOver", "drop"):
            self.call("Input.dispatchDragEvent", type=kind, x=x, y=y, data=data)

    def mouse(self, kind: str, x: float, y: float) -> None:
        """A real event of the mouse."""
        pressed = {} if kind == "mouseReleased" else {"buttons": 1}
        button = {"button": "left", "clickCount": 1, **pressed} if kind != "mouseMoved" else {}
        self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, **button)


@contextlib.contextmanager
def opened(profile: Path, width: int, dark: bool = False) -> Iterator[Browser]:
    """A browser; the test is skipped where there is no Chromium."""
    if CHROMIUM is None:
        pytest.skip("there is no Chromium on this machine")
    takes, commands = os.pipe()
    answers, gives = os.pipe()
    there = f"import os, sys; os.dup2({takes}, 3); os.dup2({gives}, 4); os.execv(sys.argv[1], sys.argv[1:])"
    words = [sys.executable, "-S", "-c", there, CHROMIUM, *FLAGS, f"--user-data-dir={profile}"]
    quiet = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with subprocess.Popen(words, pass_fds=(takes, gives), start_new_session=True, **quiet) as process:  # type: ignore[call-overload]
        os.close(takes)
        os.close(gives)
        try:
            yield Browser(commands, answers, width, dark)
        finally:
            process.kill()
            os.close(commands)
            os.close(answers)
