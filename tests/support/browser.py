"""The page in a real browser: Debian's chromium, which can reach this machine alone and whose errors fail the test."""

import os
import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, Playwright, Request
from pydicom.dataset import Dataset

from tests.support.built import ROOT
from tests.support.objects import save_all
from tests.support.server import Server, run
from tests.support.web import Answer, ask

ARGUMENTS = [
    "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1",
    "--enable-unsafe-swiftshader",
    "--disable-dev-shm-usage",
]
TIMEOUT_MS = 20_000
"""For what a test waits for in the page: a machine may be busy."""
AXE = ROOT / "minipacs/web/page/node_modules/axe-core/axe.min.js"
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]
CONFIG = """[web]
port = {port}
workers = 1
anonymous = [{anonymous}]
{more}
"""


def launch(playwright: Playwright) -> Browser:
    """Start Debian's chromium."""
    program = shutil.which("chromium")
    assert program, "chromium is needed: tools/test installs it"
    return playwright.chromium.launch(executable_path=program, args=ARGUMENTS)


class Served:
    """An archive for browsers; `anonymous` are the rights of who has not signed in, `more` lines of its settings."""

    def __init__(self, folder: Path, port: int, anonymous: Sequence[str], more: str = "") -> None:
        self.folder = folder
        self.port = port
        lines = CONFIG.format(port=port, anonymous=", ".join(f'"{right}"' for right in anonymous), more=more)
        self.server = Server(folder, more=lines)
        self.url = f"http://127.0.0.1:{port}/"
        self._batches = 0

    def store(self, *datasets: Dataset) -> None:
        """Import objects."""
        self._batches += 1
        folder = self.folder / f"batch{self._batches}"
        save_all(list(datasets), folder)
        self.run("import", folder)

    def store_file(self, *paths: Path) -> None:
        """Import files as they are."""
        self.run("import", *paths)

    def run(self, *words: object, **options: Any) -> str:
        """Run a command on this archive; give what it printed."""
        return run(*words, config=self.server.config, **options).stdout

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> Answer:
        """Ask it over HTTP, beside the browser."""
        return ask(self.port, method, path, body, **headers)

    def stop(self) -> None:
        self.server.end()


class Watch:
    """What a page did that it should not: errors on its console, requests to others."""

    def __init__(self, page: Page, url: str) -> None:
        self._host = urlsplit(url).netloc
        self._expected: list[str] = []
        self.faults: list[str] = []
        page.on("console", self._said)
        page.on("pageerror", lambda error: self.faults.append(f"error: {error}"))
        page.on("request", self._asked)

    def expect(self, text: str) -> None:
        """Let errors with this text be: a test has brought them about."""
        self._expected.append(text)

    def await_fault(self, page: Page, text: str) -> None:
        """Return when something has gone wrong of which this text tells."""
        ends_at = time.monotonic() + TIMEOUT_MS / 1000
        while not any(text in fault for fault in self.faults):
            assert time.monotonic() < ends_at, self.faults
            page.wait_for_timeout(20)

    def check(self) -> None:
        """Fail for what was found."""
        found = [fault for fault in self.faults if not any(text in fault for text in self._expected)]
        assert not found, found

    def _said(self, message: ConsoleMessage) -> None:
        if message.type == "error":
            self.faults.append(f"console: {message.text} ({message.location.get('url', '')})")

    def _asked(self, request: Request) -> None:
        parts = urlsplit(request.url)
        if parts.scheme in ("http", "https", "ws", "wss") and parts.netloc != self._host:
            self.faults.append(f"asked another host: {request.url}")


def check_accessibility(page: Page) -> None:
    """Fail if axe finds anything serious in the page as it is."""
    if not AXE.is_file():
        pytest.fail("axe is to be installed first: .venv/bin/python tools/page.py --packages")
    page.evaluate(AXE.read_text())
    found = page.evaluate("rules => axe.run({runOnly: {type: 'tag', values: rules}})", RULES)
    serious = [
        f"{fault['id']}: {fault['help']}: {node['html'][:200]} {node.get('failureSummary', '')}"
        for fault in found["violations"]
        if fault["impact"] in ("serious", "critical")
        for node in fault["nodes"]
    ]
    assert serious == []


def shoot(page: Page, name: str) -> None:
    """Keep a picture of the page in the folder that SHOTS names, if it names one: to be looked at."""
    if folder := os.environ.get("SHOTS"):
        page.screenshot(path=Path(folder) / f"{name}.png")
