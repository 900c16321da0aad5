"""What an administrator sees: health, figures, who called, what is at odds, what was set aside."""

from collections.abc import Callable

from playwright.sync_api import Page, expect
from pydicom.uid import generate_uid
from pynetdicom import AE

from tests.support.browser import Served, shoot
from tests.support.objects import ct

Open = Callable[..., Page]


def test_the_overview_tells_how_things_are(archive: Served, open_page: Open):
    archive.store(ct(PatientID="OP1"), ct(PatientID="OP2", Modality="MR"))
    page = open_page(archive, "/operations")
    expect(page.get_by_role("status").first).to_contain_text("The archive takes and gives images.")
    patients = archive.ask("GET", "/api/v1/statistics").json["patients"]
    expect(page.get_by_role("term").filter(has_text="Patients").locator("xpath=..")).to_contain_text(str(patients))
    expect(page.get_by_role("heading", name="Received in the last 30 days")).to_be_visible()
    expect(page.get_by_role("heading", name="Objects by modality")).to_be_visible()
    shoot(page, "operations")


def test_a_refused_association_says_what_would_accept_it(archive: Served, open_page: Open):
    caller = AE("STRANGER")
    caller.add_requested_context("1.2.840.10008.1.1")
    caller.add_requested_context("1.2.3.4.5.6.7.8.9")
    association = caller.associate("127.0.0.1", archive.server.port)
    assert association.is_established
    association.release()
    page = open_page(archive, "/operations/associations")
    page.get_by_role("checkbox", name="Only those where something was refused").check()
    told = page.locator(".association").filter(has_text="STRANGER")
    told.get_by_role("button", name="Show all").click()
    expect(told).to_contain_text("1 of 2 contexts accepted")
    expect(told).to_contain_text("of an unknown SOP class")
    expect(told).to_contain_text("What would accept it: storage.sop_classes")


def test_conflicts_and_quarantine_are_told(archive: Served, open_page: Open):
    uid = generate_uid()
    archive.store(ct(PatientID="ODD1", PatientName="Odd^Olga", SOPInstanceUID=uid))
    archive.store(ct(PatientID="ODD1", PatientName="Odd^Oskar"))
    replaced = ct(PatientID="ODD2", PatientName="Twice^Tim")
    archive.store(replaced)
    replaced.StudyDescription = "changed"
    archive.store(replaced)
    page = open_page(archive, "/operations/conflicts")
    told = page.locator(".association").filter(has_text="ODD1")
    for text in ("Patient’s name differs", "Odd^Olga", "Odd^Oskar", "One Patient ID for two persons"):
        expect(told).to_contain_text(text)
    page.get_by_role("link", name="Quarantine").click()
    expect(page.get_by_role("row").filter(has_text="replaced by another file").first).to_be_visible()
