"""A headless Chromium, driven over a pipe with the DevTools protocol; no driver, no library.

References
----------
Chrome DevTools Protocol, switch ``--remote-debugging-pipe``: messages are JSON texts that end in a
zero byte, commands on file descriptor 3, answers and events on file descriptor 4.
"""

import json
import os
import select
import shutil
import subprocess
import time
from base64 import b64decode
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

__all__ = ["Page", "find_chromium", "open_browser"]

_DEADLINE_S = 30
_POLL_S = 0.05
_ANSWER_CHUNK = 1 << 20
_SWITCHES = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--no-first-run",
    "--remote-debugging-pipe",
)


def find_chromium() -> str | None:
    """Find the program, or ``None``."""
    return shutil.which("chromium") or shutil.which("chromium-browser")


class Page:
    """One tab.

    Attributes
    ----------
    problems
        What the page complained of so far: errors of the console, exceptions, failed loads.
    """

    def __init__(self, commands: int, answers: int) -> None:
        self.problems: list[str] = []
        self._commands = commands
        self._answers = answers
        self._received = b""
        self._last_id = 0
        self._session: str | None = None
        target = self.send("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.send("Target.attachToTarget", targetId=target, flatten=True)[
            "sessionId"
        ]
        for domain in ("Page", "Runtime", "Log"):
            self.send(f"{domain}.enable")

    def send(self, method: str, **parameters: Any) -> Any:
        """Send a command and wait for its result."""
        self._last_id += 1
        message: dict[str, Any] = {"id": self._last_id, "method": method, "params": parameters}
        if self._session is not None:
            message["sessionId"] = self._session
        os.write(self._commands, json.dumps(message).encode() + b"\0")
        deadline = time.monotonic() + _DEADLINE_S
        while True:
            answer = self._receive(deadline)
            if answer.get("id") == self._last_id:
                if "error" in answer:
                    raise AssertionError(f"{method}: {answer['error']}")
                return answer["result"]
            self._note(answer)

    def _receive(self, deadline: float) -> dict[str, Any]:
        while b"\0" not in self._received:
            ready, _, _ = select.select([self._answers], [], [], deadline - time.monotonic())
            chunk = os.read(self._answers, _ANSWER_CHUNK) if ready else b""
            if not chunk:
                raise AssertionError("Chromium does not answer")
            self._received += chunk
        message, _, self._received = self._received.partition(b"\0")
        decoded: dict[str, Any] = json.loads(message)
        return decoded

    def _note(self, event: dict[str, Any]) -> None:
        parameters = event.get("params", {})
        match event.get("method"):
            case "Runtime.exceptionThrown":
                self.problems.append(json.dumps(parameters["exceptionDetails"]))
            case "Runtime.consoleAPICalled" if parameters["type"] in {"error", "warning"}:
                self.problems.append(json.dumps(parameters["args"]))
            case "Log.entryAdded" if parameters["entry"]["level"] in {"error", "warning"}:
                self.problems.append(json.dumps(parameters["entry"]))

    def open(self, url: str) -> None:
        """Go to an address."""
        self.send("Page.navigate", url=url)

    def evaluate(self, expression: str) -> Any:
        """Evaluate JavaScript and give its value; promises are awaited."""
        result = self.send(
            "Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True
        )
        if "exceptionDetails" in result:
            raise AssertionError(f"{expression}: {result['exceptionDetails']}")
        return result["result"].get("value")

    def wait_for(self, expression: str) -> Any:
        """Wait until JavaScript gives a true value."""
        deadline = time.monotonic() + _DEADLINE_S
        while not (value := self.evaluate(expression)):
            if time.monotonic() > deadline:
                raise AssertionError(f"never true: {expression}; problems: {self.problems}")
            select.select([], [], [], _POLL_S)
        return value

    def take_screenshot(self, path: Path) -> None:
        """Write what is seen as a PNG file."""
        path.write_bytes(b64decode(self.send("Page.captureScreenshot")["data"]))


@contextmanager
def open_browser(program: str, folder: Path) -> Iterator[Page]:
    """Start Chromium with an empty profile in a folder and open one tab."""
    command_end, commands = os.pipe()
    answers, answer_end = os.pipe()
    # The shell puts the pipes where Chromium looks for them.
    script = f'exec "$0" "$@" 3<&{command_end} 4>&{answer_end}'
    arguments = [*_SWITCHES, f"--user-data-dir={folder}", "about:blank"]
    process = subprocess.Popen(
        ["/bin/bash", "-c", script, program, *arguments],
        pass_fds=(command_end, answer_end),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    os.close(command_end)
    os.close(answer_end)
    try:
        yield Page(commands, answers)
    finally:
        os.close(commands)
        os.close(answers)
        process.terminate()
        process.wait(_DEADLINE_S)
