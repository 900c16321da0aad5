"""Studies are sent to peers from the page, and how that went is told."""

from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Page, expect

from tests.support.browser import Served
from tests.support.objects import study
from tests.support.receiver import Receiver
from tests.support.web import free_port

Open = Callable[..., Page]


@pytest.fixture(scope="module")
def receiver() -> Iterator[Receiver]:
    with Receiver() as running:
        yield running


@pytest.fixture(scope="module")
def connected(tmp_path_factory: pytest.TempPathFactory, receiver: Receiver) -> Iterator[Served]:
    """Serve an archive that knows a peer, and one that nobody is at home at."""
    away = f'[[peer]]\ntitle = "AWAY"\nhost = "127.0.0.1"\nport = {free_port()}\n'
    peers = receiver.peer("STATION") + away
    served = Served(tmp_path_factory.mktemp("connected"), free_port(), ["read", "admin"], peers)
    yield served
    served.stop()


def test_a_study_is_sent(connected: Served, open_page: Open, receiver: Receiver):
    stored = study(series=2, instances=3, PatientID="SEND1", PatientName="Send^Sid")
    connected.store(*stored)
    page = open_page(connected, f"/study/{stored[0].StudyInstanceUID}")
    page.get_by_role("button", name="Send", exact=True).click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("Send, Sid")
    dialog.get_by_label("To").select_option("STATION")
    dialog.get_by_role("button", name="Send").click()
    expect(dialog).to_contain_text("6 of 6 sent", timeout=20_000)
    assert {one.sop_instance_uid for one in receiver.received} == {ds.SOPInstanceUID for ds in stored}
    dialog.get_by_role("button", name="Close").click()
    page.goto(f"{connected.url}#/operations/queue")
    expect(page.get_by_role("region", name="Sent by hand")).to_contain_text("6 of 6 sent")


def test_one_who_is_away_is_told(connected: Served, open_page: Open):
    stored = study(PatientID="SEND2")
    connected.store(*stored)
    page = open_page(connected, f"/study/{stored[0].StudyInstanceUID}")
    page.get_by_role("button", name="Send series 1").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("To").select_option("AWAY")
    dialog.get_by_role("button", name="Send").click()
    expect(dialog.locator(".note.warn")).to_contain_text("cannot connect", timeout=30_000)
    dialog.get_by_role("button", name="Call off").click()
    expect(dialog).to_have_count(0)
    assert [send for send in connected.ask("GET", "/api/v1/sends").json if send["peer"] == "AWAY"] == []
