"""What tests of the page share: one browser and one archive for each file, a page and its watch for each test."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from tests.support.browser import TIMEOUT_MS, Served, Watch, launch
from tests.support.built import page_built
from tests.support.server import run
from tests.support.wire import free_port

PASSCODE = "correct horse"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Run a browser. For one file of tests: its event loop would be in the way of others in this process."""
    with sync_playwright() as playwright:
        found = launch(playwright)
        yield found
        found.close()


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """Serve an archive in which everybody may do all; tests of a file share it and have patients of their own."""
    page_built()
    served = Served(tmp_path_factory.mktemp("archive"), free_port(), ["read", "store", "delete", "admin"])
    yield served
    served.stop()


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """Serve an archive to be signed in to: reader (read), writer (read, store), chief (all), with PASSCODE."""
    page_built()
    served = Served(tmp_path_factory.mktemp("guarded"), free_port(), [])
    for name, rights in (("reader", "read"), ("writer", "read,store"), ("chief", "read,store,delete,admin")):
        run("passwd", name, "--allow", rights, config=served.server.config, input=f"{PASSCODE}\n{PASSCODE}\n")
    yield served
    served.stop()


@pytest.fixture
def open_page(browser: Browser) -> Iterator[Callable[..., Page]]:
    """Open pages, each of a visitor of its own; what went wrong in one fails the test at its end.

    Options are those of playwright's `new_context`; `page.watch` is its `Watch`.
    """
    opened: list[tuple[Page, Watch]] = []

    def open_(served: Served, route: str = "", **options: Any) -> Page:
        usual = {"locale": "en-GB", "timezone_id": "Europe/London", "viewport": {"width": 1280, "height": 800}}
        page = browser.new_context(**{**usual, **options}).new_page()
        page.set_default_timeout(TIMEOUT_MS)
        page.watch = Watch(page, served.url)  # type: ignore[attr-defined]
        opened.append((page, page.watch))  # type: ignore[attr-defined]
        page.goto(served.url + (f"#{route}" if route else ""))
        return page

    yield open_
    for page, _ in opened:
        page.context.close()
    for _, watch in opened:
        watch.check()
