"""Chromium without a window, driven over the pipe of its own protocol: no library between, and no port that is open."""

import base64
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

CHROMIUM = next(
    (found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), ""
)
CHUNK = 65_536
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-extensions",
    "--remote-debugging-pipe", "about:blank",
)  # fmt: skip


@dataclass
class Browser:
    """One tab; what it told meanwhile is in `events`."""

    to: Any
    back: int  # where its answers come
    session: str = ""
    events: list[dict[str, Any]] = field(default_factory=list)
    number: int = 0
    rest: bytes = b""

    def __call__(self, method: str, **params: Any) -> dict[str, Any]:
        """Call a method of the protocol and wait for its answer."""
        self.number += 1
        message = {"id": self.number, "method": method, "params": params}
        if self.session:
            message["sessionId"] = self.session
        self.to.write(json.dumps(message).encode() + b"\0")
        self.to.flush()
        while True:
            answer = self._next()
            if answer.get("id") == self.number:
                assert "error" not in answer, answer
                return answer["result"]

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self.rest:
            piece = os.read(self.back, CHUNK)
            assert piece, "Chromium has ended"
            self.rest += piece
        text, _, self.rest = self.rest.partition(b"\0")
        message = json.loads(text)
        if "method" in message:
            self.events.append(message)
        return message

    def wait_for(self, method: str) -> None:
        """Wait until an event has come since the last page was opened."""
        while not any(event["method"] == method for event in self.events):
            self._next()

    def open(self, path: Path, *, width: int = 1200, height: int = 900, dark: bool = False, media: str = "") -> None:
        """Open a file at a width, in a theme."""
        self("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self("Emulation.setEmulatedMedia", media=media, features=[scheme])
        self.events.clear()
        self("Page.navigate", url=path.resolve().as_uri())
        self.wait_for("Page.loadEventFired")

    def run(self, script: str) -> Any:
        """Give what a script comes to."""
        answer = self("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def take_picture(self, path: Path) -> None:
        """Save the whole page as PNG."""
        size = self("Page.getLayoutMetrics")["cssContentSize"]
        clip = {"x": 0, "y": 0, "width": size["width"], "height": size["height"], "scale": 1}
        picture = self("Page.captureScreenshot", format="png", captureBeyondViewport=True, clip=clip)
        path.write_bytes(base64.b64decode(picture["data"]))


@contextmanager
def chromium() -> Iterator[Browser]:
    """Start it with a profile of its own, and give its only tab."""
    our_end, their_out = os.pipe()
    their_in, our_out = os.pipe()
    profile = tempfile.mkdtemp(prefix="growth-brain-chromium-")
    command = [CHROMIUM, f"--user-data-dir={profile}", *FLAGS]
    # not sh: Debian's knows file descriptors of one digit only
    shell = ["bash", "-c", f'exec "$@" 3<&{their_in} 4>&{their_out}', "bash", *command]
    process = subprocess.Popen(shell, pass_fds=(their_in, their_out), stderr=subprocess.DEVNULL)
    os.close(their_in)
    os.close(their_out)
    try:
        with os.fdopen(our_out, "wb") as to:
            browser = Browser(to, our_end)
            (target,) = [t for t in browser("Target.getTargets")["targetInfos"] if t["type"] == "page"]
            attached = browser("Target.attachToTarget", targetId=target["targetId"], flatten=True)
            browser.session = attached["sessionId"]
            for domain in ("Page", "Runtime", "Network", "Log"):
                browser(f"{domain}.enable")
            yield browser
    finally:
        process.terminate()
        process.wait()
        os.close(our_end)
        shutil.rmtree(profile, ignore_errors=True)
