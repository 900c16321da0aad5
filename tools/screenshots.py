"""Makes the pictures of docs/page.md and README.md from the page itself, with invented patients: docs/images/*.png.

    .venv/bin/python tools/screenshots.py
Needs chromium and the page that `tools/page.py` builds.
"""

import json
import sys
import tempfile
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path

from playwright.sync_api import Browser, Page, sync_playwright
from pydicom.dataset import FileDataset

sys.path.insert(0, str(Path(__file__).parent.parent))
from tests.page import pictures
from tests.support.browser import Served, launch
from tests.support.objects import ct, save_all, study
from tests.support.wire import free_port

IMAGES = Path(__file__).resolve().parent.parent / "docs/images"
PEOPLE = (
    ("Rossi^Anna", "P-1041", "19610314", "F", "CT", "CT thorax with contrast"),
    ("Müller^Jörg", "P-1038", "19480702", "M", "CT", "CT abdomen"),
    ("Nowak^Zofia", "P-1036", "19870921", "F", "MR", "MR knee left"),
    ("Yamada^Tarou", "P-1033", "19550101", "M", "CR", "Chest PA and lateral"),
    ("Dubois^Émilie", "P-1029", "20191130", "F", "US", "Abdominal ultrasound"),
    ("O'Brien^Seán", "P-1027", "19700605", "M", "CT", "CT head"),
    ("Παπαδόπουλος^Νίκος", "P-1024", "19651212", "M", "MR", "MR lumbar spine"),
    ("Smith^John^^Dr", "P-1019", "19330228", "M", "DX", "Pelvis AP"),
    ("García^Lucía", "P-1015", "19920817", "F", "MG", "Mammography screening"),
    ("Hansen^Ida", "P-1012", "20010420", "F", "CT", "CT sinuses"),
    ("Ковальчук^Олена", "P-1008", "19781103", "F", "MR", "MR brain"),
    ("Silva^João", "P-1003", "19590525", "M", "XA", "Coronary angiography"),
)
STEPS = (
    ("Rossi^Anna", "P-1041", "CT", "CT1", "0830", "CT thorax follow-up"),
    ("Janssen^Pieter", "P-1044", "CT", "CT1", "0915", "CT abdomen"),
    ("Nguyễn^Linh", "P-1045", "MR", "MR2", "0945", "MR shoulder right"),
    ("Novák^Jan", "P-1046", "CR", "XR1", "1010", "Hand left, two views"),
)


def studies() -> Iterator[list[FileDataset]]:
    """Make a study for each of PEOPLE, the first a CT to be looked at."""
    for number, (name, patient_id, born, sex, modality, description) in enumerate(PEOPLE):
        person = pictures.Study(name, patient_id, born)
        found = list(islice(pictures.ct(person, 60 if number == 0 else 3, 256, 0.5), 60))
        if number == 0:
            found += [pictures.segmentation(person, found), pictures.ecg(person), pictures.report(person, person.uid)]
        for ds in found:
            ds.PatientSex, ds.StudyDescription, ds.AccessionNumber = sex, description, f"A{20417 - number}"
            ds.StudyDate = f"202603{14 - number:02d}"
            ds.Modality = modality if ds.SOPClassUID == pictures.CT and number else ds.Modality
        yield found


def fill(served: Served) -> FileDataset:
    """Store what is to be seen; give the image that is opened."""
    made = list(studies())
    for found in made:
        served.store(*found)
    served.store(ct(PatientName="Smith^Jon", PatientID="P-1019", StudyDate="20260101"))  # at odds with another
    for name, patient_id, modality, station, start, description in STEPS:
        step = {
            "PatientName": name,
            "PatientID": patient_id,
            "Modality": modality,
            "ScheduledStationAETitle": station,
            "ScheduledProcedureStepStartTime": start,
            "ScheduledProcedureStepDescription": description,
        }
        assert served.ask("POST", "/api/v1/worklist", json.dumps(step)).status == 201
    return made[0][30]


def shoot(
    browser: Browser, served: Served, name: str, route: str, ready: Callable[[Page], None], **look: object
) -> None:
    """Open a place of the page and take its picture when it is `ready`."""
    usual = {"locale": "en-GB", "timezone_id": "Europe/London", "viewport": {"width": 1280, "height": 800}}
    context = browser.new_context(**{**usual, **look})
    page = context.new_page()
    page.goto(f"{served.url}#{route}")
    ready(page)
    page.wait_for_load_state("networkidle")
    page.screenshot(path=IMAGES / f"{name}.png")
    context.close()


def listed(page: Page) -> None:
    page.get_by_role("grid").get_by_role("row").nth(5).wait_for()


def drawn(page: Page) -> None:
    page.locator(".viewer-number").wait_for()


def settled(page: Page) -> None:
    page.get_by_role("main").get_by_role("heading").first.wait_for()


def uploaded(folder: Path) -> Callable[[Page], None]:
    def upload(page: Page) -> None:
        page.locator("[data-folder]").set_input_files(folder)
        page.get_by_role("region", name="Progress of the upload").get_by_text("Done").wait_for()

    return upload


def main() -> None:
    IMAGES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="minipacs-screenshots-") as name, sync_playwright() as playwright:
        folder = Path(name)
        served = Served(folder / "site", free_port(), ["read", "store", "delete", "admin"])
        browser = launch(playwright)
        try:
            image = fill(served)
            place = f"/study/{image.StudyInstanceUID}"
            view = f"{place}/view/{image.SeriesInstanceUID}/{image.SOPInstanceUID}"
            upload = folder / "from-cd"
            save_all(study(instances=12, PatientName="Weber^Lena", PatientID="P-1050"), upload)
            (upload / "README.TXT").write_text("no image")
            dark = {"color_scheme": "dark"}
            shoot(browser, served, "studies", "/studies", listed)
            shoot(browser, served, "viewer", view, drawn, **dark)
            shoot(browser, served, "upload", "/upload", uploaded(upload))
            shoot(browser, served, "worklist", "/worklist", settled)
            shoot(browser, served, "operations", "/operations", settled, **dark)
            shoot(browser, served, "phone", place, settled, viewport={"width": 375, "height": 700})
        finally:
            browser.close()
            served.stop()


if __name__ == "__main__":
    main()
