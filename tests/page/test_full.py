"""An archive that has no room left: said on every screen that it matters to, and nothing is lost."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, Route, expect

from tests.page.test_upload import stored, uids, wait_until_done
from tests.support.browser import Served, check_accessibility, shoot
from tests.support.built import page_built
from tests.support.objects import save_all, study
from tests.support.wire import free_port

Open = Callable[..., Page]

UNAVAILABLE = "status of 503"


@pytest.fixture
def full(tmp_path: Path) -> Iterator[Served]:
    """Serve an archive whose disk has less room than it is to keep free."""
    page_built()
    served = Served(tmp_path / "archive", free_port(), ["read", "store", "admin"])
    keep_free(served, 1 << 60)
    yield served
    served.stop()


def keep_free(served: Served, size_bytes: int) -> None:
    """Start the archive again with another size that is to stay free on its disk."""
    served.server.stop()
    config = served.server.config
    config.write_text(re.sub(r"min_free_bytes = \d+", f"min_free_bytes = {size_bytes}", config.read_text()))
    served.server.start()


def test_operations_say_that_it_is_not_ready(full: Served, open_page: Open):
    page = open_page(full, "/operations")
    page.watch.expect(UNAVAILABLE)  # type: ignore[attr-defined]
    told = page.get_by_role("status").first
    expect(told).to_contain_text("The archive cannot store now.")
    expect(told).to_contain_text("storage.min_free_bytes")
    expect(page.locator(".tile", has_text="Patients")).to_be_visible()
    check_accessibility(page)
    shoot(page, "full")


def test_an_upload_waits_for_room(full: Served, open_page: Open, tmp_path: Path):
    sent = study(instances=5, PatientID="FULL1")
    save_all(sent, tmp_path / "sent")
    page = open_page(full, "/upload")
    for words in (UNAVAILABLE, "ERR_CONNECTION_REFUSED"):
        page.watch.expect(words)  # type: ignore[attr-defined]
    asked: list[Route] = []

    def hold_back(route: Route) -> None:
        """Let the second question after what is there already be answered when the first file was refused."""
        asked.append(route)
        if len(asked) != 2:
            route.continue_()

    page.route("**/api/v1/presence", hold_back)
    with page.expect_response(lambda answer: answer.status == 503):
        page.locator("[data-folder]").set_input_files(tmp_path / "sent")
    asked[1].continue_()
    expect(page.get_by_role("alert")).to_contain_text("nothing is lost")
    shoot(page, "upload-full")
    keep_free(full, 0)
    wait_until_done(page)
    assert stored(full, "FULL1") == uids(sent)
