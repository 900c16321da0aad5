"""Studies as a person finds them: searched, sorted, scrolled, looked at, downloaded, deleted."""

import io
import re
import zipfile
from collections.abc import Callable

import pydicom
from playwright.sync_api import Page, expect
from pydicom.uid import generate_uid

from tests.support.browser import Served, shoot
from tests.support.objects import ct, study

Open = Callable[..., Page]


def find(page: Page, text: str) -> None:
    """Type into the search box as a person does."""
    box = page.get_by_role("searchbox", name="Search studies")
    box.fill("")
    box.press_sequentially(text)


def rows(page: Page):  # type: ignore[no-untyped-def]
    """Give the rows of the list that are in view."""
    return page.get_by_role("grid").get_by_role("row")


def test_studies_are_found_by_what_one_types(archive: Served, open_page: Open):
    tell = {"SpecificCharacterSet": "ISO_IR 192"}
    archive.store(
        ct(PatientName="Zwicky^Fritz", PatientID="ZW77", AccessionNumber="ACCZW1", StudyDate="20190214", **tell),
        ct(PatientName="Noether^Emmy", PatientID="NO42", StudyDescription="KNEE left", StudyDate="20190318", **tell),
        ct(PatientName="Noether^Max", PatientID="NO43", StudyDate="20200101", Modality="MG", **tell),
    )
    page = open_page(archive)
    for typed, found, place in (
        ("zwick", 1, "Name"),
        ("emmy noether", 1, "Name"),
        ("noether", 2, "Name"),
        ("no4", 2, "Patient ID"),
        ("acczw", 1, "Accession"),
        ("knee", 1, "Description"),
        ("noether 2019", 1, "Name"),
        ("noether 2019-01..2019-12", 1, "Name"),
        ("noether mg", 1, "Name"),
    ):
        find(page, typed)
        expect(page.get_by_role("button", name=re.compile(f"^{place} {found}$"))).to_have_attribute(
            "aria-pressed", "true"
        )
        expect(rows(page)).to_have_count(found)
    find(page, "2019-02-14")
    expect(rows(page).first).to_contain_text("Zwicky, Fritz")
    page.reload()
    expect(rows(page).first).to_contain_text("Zwicky, Fritz")  # the address keeps the search
    find(page, "nobody at all")
    expect(page.get_by_role("heading", name="No study matches")).to_be_visible()
    page.get_by_role("button", name="Clear the search").click()
    expect(rows(page).first).to_be_visible()


def test_the_list_is_sorted(archive: Served, open_page: Open):
    for name in ("Sorted^Bert", "Sorted^Anna", "Sorted^Carl"):
        archive.store(ct(PatientName=name, PatientID=name, StudyDate=f"2018010{len(name) % 10}"))
    page = open_page(archive)
    find(page, "sorted")
    page.get_by_role("button", name="Patient", exact=True).click()
    for i, name in enumerate(("Anna", "Bert", "Carl")):
        expect(rows(page).nth(i)).to_contain_text(f"Sorted, {name}")
    page.get_by_role("button", name="Patient ascending").click()
    expect(rows(page).first).to_contain_text("Sorted, Carl")


def test_a_long_list_has_only_the_rows_in_view(archive: Served, open_page: Open):
    archive.store(
        *(ct(PatientName=f"Many^{i:03d}", PatientID=f"MANY{i:03d}", StudyDate="20170101") for i in range(130))
    )
    page = open_page(archive)
    find(page, "many")
    page.get_by_role("button", name="Name 130").wait_for()
    page.get_by_role("button", name="Patient", exact=True).click()
    expect(rows(page).first).to_contain_text("Many, 000")
    page.get_by_role("grid").focus()
    page.keyboard.press("End")
    expect(rows(page).last).to_contain_text("Many, 129")
    assert rows(page).count() < 40
    page.get_by_role("grid").hover()
    page.mouse.wheel(0, -100_000)
    expect(rows(page).first).to_contain_text("Many, 000")


def test_details_show_the_patient_and_the_series(archive: Served, open_page: Open):
    archive.store(*study(series=3, instances=2, PatientID="DET1", PatientName="Detail^Ida", SeriesDescription="Axial"))
    page = open_page(archive)
    find(page, "detail")
    rows(page).first.click()
    details = page.get_by_role("complementary", name="Details of the study")
    for text in ("Detail, Ida", "DET1", "born 01 Jan 1970", "CT ABDOMEN", "Axial"):
        expect(details.get_by_text(text).first).to_be_visible()
    expect(details.get_by_role("listitem")).to_have_count(3)
    picture = details.get_by_role("listitem").first.locator("img")
    picture.wait_for()
    assert picture.evaluate("image => image.decode().then(() => image.naturalWidth)") > 0
    shoot(page, "details")
    page.keyboard.press("Escape")
    expect(details).to_have_count(0)


def test_a_study_is_downloaded_with_its_directory(archive: Served, open_page: Open):
    stored = study(series=2, instances=2, PatientID="DOWN1", PatientName="Down^Load")
    archive.store(*stored)
    page = open_page(archive, f"/study/{stored[0].StudyInstanceUID}")
    with page.expect_download() as download:
        page.get_by_role("link", name="Download", exact=True).click()
    content = zipfile.ZipFile(io.BytesIO(download.value.path().read_bytes()))
    assert "DICOMDIR" in content.namelist()
    files = [pydicom.dcmread(io.BytesIO(content.read(name))) for name in content.namelist() if name != "DICOMDIR"]
    assert {ds.SOPInstanceUID: ds.PixelData for ds in files} == {ds.SOPInstanceUID: ds.PixelData for ds in stored}


def test_a_link_leads_to_one_study(archive: Served, open_page: Open):
    stored = ct(PatientName="Link^Lina", PatientID="LINK1")
    archive.store(stored)
    page = open_page(archive, f"/study/{stored.StudyInstanceUID}")
    expect(page.get_by_text("Link, Lina")).to_be_visible()
    page.get_by_role("link", name="All studies").click()
    expect(page.get_by_role("grid")).to_be_visible()
    page.goto(f"{archive.url}#/study/1.2.3.4.5")
    expect(page.get_by_role("heading", name="This study is not here")).to_be_visible()


def test_a_uid_under_two_patients_is_told(archive: Served, open_page: Open):
    uid = generate_uid()
    for name in ("One^Person", "Another^Person"):
        archive.store(ct(PatientName=name, PatientID=name[:3], StudyInstanceUID=uid))
    page = open_page(archive, f"/study/{uid}")
    expect(page.get_by_text("under more than one patient")).to_be_visible()
    expect(page.get_by_text("One, Person")).to_be_visible()
    expect(page.get_by_text("Another, Person")).to_be_visible()


def test_a_study_is_deleted_once_that_is_confirmed(archive: Served, open_page: Open):
    stored = study(series=2, instances=3, PatientID="GONE1", PatientName="Gone^Gil")
    archive.store(*stored)
    page = open_page(archive, f"/study/{stored[0].StudyInstanceUID}")
    page.get_by_role("button", name="Delete series 1").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("1 series with 3 objects")
    expect(dialog).to_contain_text("Gone, Gil")
    page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)
    page.get_by_role("button", name="Delete", exact=True).click()
    expect(dialog).to_contain_text("2 series with 6 objects")
    submit = dialog.get_by_role("button", name="Delete")
    expect(submit).to_be_disabled()
    dialog.get_by_role("checkbox").check()
    submit.click()
    expect(page.get_by_role("grid")).to_be_visible()
    assert archive.ask("GET", "/dicom-web/studies?PatientID=GONE1").json == []
