"""What routes have to send and what they gave up, as an administrator deals with it at night."""

from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.support.browser import TIMEOUT_MS, Served, check_accessibility, shoot
from tests.support.objects import ct
from tests.support.receiver import Receiver
from tests.support.wire import free_port

Open = Callable[..., Page]

REFUSED = 0xA900
"""Of the kind that no further attempt helps against."""
SETTINGS = """
[queue]
retry_s = 3600
[[route]]
name = "{route}"
to = "{peer}"
on = "stored"
match = ["PatientID={patient}"]
"""


class Refusing(Receiver):
    """Refuses whatever comes, until it is told otherwise."""

    def __init__(self) -> None:
        self.status = REFUSED
        super().__init__(answer=lambda wire, received, number: self.status)


@pytest.fixture(scope="module")
def refusing() -> Iterator[Refusing]:
    with Refusing() as running:
        yield running


@pytest.fixture(scope="module")
def away() -> int:
    """Give a port that nobody listens at yet."""
    return free_port()


@pytest.fixture(scope="module")
def routing(tmp_path_factory: pytest.TempPathFactory, refusing: Refusing, away: int) -> Iterator[Served]:
    """Serve an archive with routes to one who refuses and to one who is away, for patients STRICT and AWAY."""
    absent = f'[[peer]]\ntitle = "AWAY"\nhost = "127.0.0.1"\nport = {away}\n'
    first, second = (SETTINGS.format(route=f"to-{p.lower()}", peer=p, patient=p) for p in ("STRICT", "AWAY"))
    settings = refusing.peer("STRICT") + absent + first + second.partition("3600\n")[2]
    served = Served(tmp_path_factory.mktemp("routing"), free_port(), ["read", "admin"], settings)
    yield served
    served.stop()


def queued(page: Page, study: str) -> Locator:
    """Give the row of what goes of a study."""
    rows = page.get_by_role("region", name="To be sent").get_by_role("row")
    return rows.filter(has=page.locator(f'a[href="#/study/{study}"]'))


def test_what_waits_for_one_who_is_away_goes_when_it_is_tried_now(routing: Served, open_page: Open, away: int):
    stored = ct(PatientID="AWAY")
    routing.store(stored)
    page = open_page(routing, "/operations/queue")
    row = queued(page, stored.StudyInstanceUID)
    expect(row).to_contain_text("cannot connect", timeout=TIMEOUT_MS)
    for text in ("to-away", "AWAY", "waiting", "next try in"):
        expect(row).to_contain_text(text)
    shoot(page, "queue-waiting")
    with Receiver(port=away) as receiver:
        row.get_by_role("button", name="Try now").click()
        expect(row).to_have_count(0, timeout=TIMEOUT_MS)
        assert [one.sop_instance_uid for one in receiver.received] == [stored.SOPInstanceUID]


def test_what_was_refused_is_given_up_until_it_is_tried_again(routing: Served, open_page: Open, refusing: Refusing):
    stored = ct(PatientID="STRICT")
    routing.store(stored)
    page = open_page(routing, "/operations/queue")
    row = queued(page, stored.StudyInstanceUID)
    expect(row).to_contain_text("given up", timeout=TIMEOUT_MS)
    page.get_by_role("link", name="Overview").click()
    given_up = page.locator(".tile", has_text="Deliveries given up")
    expect(given_up.locator(".figure")).to_have_text("1")
    given_up.get_by_role("link").click()
    page.get_by_role("group", name="Show").get_by_role("button", name="Given up").click()
    expect(row).to_contain_text("A900")
    check_accessibility(page)
    shoot(page, "queue-dead")
    refusing.status = 0
    try:
        row.get_by_role("button", name="Try now").click()
        expect(row).to_have_count(0, timeout=TIMEOUT_MS)
        page.get_by_role("group", name="Show").get_by_role("button", name="All").click()
        expect(page.get_by_role("heading", name="Nothing waits to be sent")).to_be_visible(timeout=TIMEOUT_MS)
    finally:
        refusing.status = REFUSED
    assert refusing.received[-1].sop_instance_uid == stored.SOPInstanceUID


def test_what_was_given_up_is_dropped_once_that_is_confirmed(routing: Served, open_page: Open, refusing: Refusing):
    stored = ct(PatientID="STRICT")
    routing.store(stored)
    page = open_page(routing, "/operations/queue")
    row = queued(page, stored.StudyInstanceUID)
    expect(row).to_contain_text("given up", timeout=TIMEOUT_MS)
    calls = len(refusing.calls)
    row.get_by_role("button", name="Drop").click()
    dialog = page.get_by_role("dialog", name="Drop this delivery?")
    for text in ("to-strict", "STRICT", "What is stored here stays"):
        expect(dialog).to_contain_text(text)
    check_accessibility(page)
    shoot(page, "queue-drop")
    dialog.get_by_role("button", name="Cancel").click()
    expect(row).to_have_count(1)
    row.get_by_role("button", name="Drop").click()
    dialog.get_by_role("button", name="Drop it").click()
    expect(row).to_have_count(0)
    assert routing.ask("GET", "/api/v1/queue").json == []
    assert len(refusing.calls) == calls
    assert routing.ask("GET", f"/dicom-web/studies?StudyInstanceUID={stored.StudyInstanceUID}").status == 200
