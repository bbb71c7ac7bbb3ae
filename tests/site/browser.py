"""Chromium without a window, driven over two pipes by its DevTools protocol: nothing is installed beside it."""

from __future__ import annotations

import json
import os
import select
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)
_PATIENCE = 120.0


class Browser:
    """One browser with one page."""

    def __init__(self, profile: Path, *flags: str) -> None:
        commands, self._to = os.pipe()
        self._from, answers = os.pipe()
        fixed = ("--headless", "--no-sandbox", "--disable-gpu", "--remote-debugging-pipe", "--no-first-run")
        fixed += ("--disable-dev-shm-usage",)  # containers have little of it
        command = [str(CHROMIUM), *fixed, f"--user-data-dir={profile}", *flags]
        shell = ["bash", "-c", f'exec "$@" 3<&{commands} 4>&{answers}', "bash", *command]
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        self._process = subprocess.Popen(shell, pass_fds=(commands, answers), **quiet)  # type: ignore[call-overload]
        os.close(commands)
        os.close(answers)
        self._number, self._rest = 0, b""
        self.events: list[dict[str, Any]] = []
        target = self._send("Target.createTarget", url="about:blank")["targetId"]
        self._session = self._send("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Call a method of the protocol on the page."""
        return dict(self._send(method, self._session, **parameters))

    def _send(self, method: str, session: str | None = None, may_fail: bool = False, **parameters: Any) -> Any:
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        if session:
            message["sessionId"] = session
        os.write(self._to, json.dumps(message).encode() + b"\0")
        while True:
            found = self._next()
            if found.get("id") == self._number:
                assert may_fail or "error" not in found, found
                return dict(found.get("result", {}))
            self.events.append(found)

    def _next(self) -> dict[str, Any]:
        until = time.monotonic() + _PATIENCE
        while b"\0" not in self._rest:
            ready, _, _ = select.select([self._from], [], [], until - time.monotonic())
            block = os.read(self._from, 1 << 20) if ready else b""
            assert block, "chromium is gone or does not answer"
            self._rest += block
        one, _, self._rest = self._rest.partition(b"\0")
        return dict(json.loads(one))

    def open(self, page: Path, fragment: str = "", width: int = 1300, scheme: str = "light") -> float:
        """Open a page as a file and wait until it is drawn; return the milliseconds that took the browser."""
        self.events.clear()
        window = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}
        self.call("Emulation.setDeviceMetricsOverride", **window)
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        self.call("Page.navigate", url="about:blank")
        self.call("Page.navigate", url=page.as_uri() + fragment)
        drawn = "(!document.documentElement.dataset.page || document.querySelector('main') !== null)"
        self.until(f"location.href !== 'about:blank' && document.readyState === 'complete' && {drawn}")
        return float(self.run("performance.timing.loadEventEnd - performance.timing.navigationStart") or 0)

    def run(self, script: str) -> Any:
        """Return the value of an expression on the page."""
        found = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        return found["result"].get("value")

    def until(self, script: str) -> None:
        """Wait until an expression is true on the page, which may be another one by then."""
        end = time.monotonic() + _PATIENCE
        question = {"expression": script, "returnByValue": True}
        while not self._send("Runtime.evaluate", self._session, True, **question).get("result", {}).get("value"):
            assert time.monotonic() < end, f"never true: {script}"
            time.sleep(0.02)

    def texts(self, selector: str) -> list[str]:
        """Return the texts of the elements that a selector chooses."""
        every = f"[...document.querySelectorAll({json.dumps(selector)})]"
        return list(self.run(f"{every}.map((one) => one.textContent.trim())"))

    def click(self, selector: str) -> None:
        """Click the first element that a selector chooses."""
        one = f"document.querySelector({json.dumps(selector)})"
        assert self.run(f"!!{one} && ({one}.click(), true)"), f"nothing is {selector}"

    def complaints(self) -> list[str]:
        """Return errors and warnings of the console, what a policy blocked, and requests that left the machine."""
        self.run("1")
        found = []
        for event in self.events:
            method, told = event.get("method", ""), event.get("params", {})
            url = told["request"]["url"] if method == "Network.requestWillBeSent" else "file:"
            logged = method == "Log.entryAdded" and told["entry"]["level"] != "verbose"
            said = method == "Runtime.consoleAPICalled" and told["type"] in ("error", "warning", "assert")
            if (
                method == "Runtime.exceptionThrown"
                or logged
                or said
                or not url.startswith(("file:", "data:", "about:"))
            ):
                found.append(json.dumps(told)[:500])
        return found

    def close(self) -> None:
        """End the browser."""
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        os.close(self._to)
        os.close(self._from)
