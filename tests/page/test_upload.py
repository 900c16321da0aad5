"""Uploads as a person does them: folders, zips, what is there already, refusals, pauses, restarts."""

import zipfile
from collections.abc import Callable
from pathlib import Path

from playwright.sync_api import Locator, Page, expect
from pydicom.dataset import Dataset

from tests.support.browser import Served, shoot
from tests.support.objects import ct, save_all, study
from tests.support.signing import sign_in

Open = Callable[..., Page]

REFUSED = "Failed to load resource: the server responded with a status of 4"
"""What a browser says of an answer that refuses objects."""


def stored(archive: Served, patient_id: str) -> set[str]:
    """Ask which objects of a patient are in the archive."""
    found = archive.ask("GET", f"/dicom-web/instances?PatientID={patient_id}").json
    return {instance["00080018"]["Value"][0] for instance in found}


def uids(datasets: list[Dataset]) -> set[str]:
    return {ds.SOPInstanceUID for ds in datasets}


def wait_until_done(page: Page) -> None:
    expect(page.get_by_role("region", name="Progress of the upload")).to_contain_text("Done", timeout=60_000)


def state(page: Page, name: str) -> Locator:
    """Give the button that shows the files of one state alone."""
    return page.get_by_role("group", name="Show").get_by_role("button", name=name)


def count(page: Page, name: str) -> int:
    """Read how many files are in a state."""
    return int(state(page, name).inner_text().split()[-1].replace(",", ""))


def test_a_folder_of_200_files_of_which_3_are_refused(archive: Served, open_page: Open, tmp_path: Path):
    sent = study(patients=1, series=10, instances=20, PatientID="UP1")
    folder = tmp_path / "folder"
    save_all(sent[:197], folder)
    save_all([ct(PatientID="UP1", StudyInstanceUID="")], folder / "without")
    (folder / "letter.txt").write_text("no image")
    whole = (folder / "0000.dcm").read_bytes()
    (folder / "cut.dcm").write_bytes(whole.replace(sent[0].SOPInstanceUID.encode(), b"1.2.3.4.5" + b"\0" * 55)[:900])
    page = open_page(archive, "/upload")
    page.watch.expect(REFUSED)  # type: ignore[attr-defined]
    page.locator("[data-folder]").set_input_files(folder)
    wait_until_done(page)
    assert (count(page, "All"), count(page, "Stored"), count(page, "Refused")) == (200, 197, 3)
    state(page, "Refused").click()
    files = page.get_by_role("list", name="Files")
    expect(files).to_contain_text("folder/letter.txt")
    expect(files).to_contain_text("not a DICOM file")
    shoot(page, "upload")
    assert stored(archive, "UP1") == uids(sent[:197])
    page.get_by_role("link", name="Study 1").click()
    expect(page.get_by_text("ID UP1")).to_be_visible()


def test_what_is_there_already_is_said_and_not_sent(archive: Served, open_page: Open, tmp_path: Path):
    sent = study(instances=6, PatientID="UP2")
    archive.store(*sent[:4])
    save_all(sent, tmp_path / "again")
    page = open_page(archive, "/upload")
    bodies: list[int] = []
    page.on("request", lambda r: bodies.append(1) if r.method == "POST" and r.url.endswith("/studies") else None)
    page.locator("[data-folder]").set_input_files(tmp_path / "again")
    wait_until_done(page)
    assert (count(page, "Here already"), count(page, "Stored")) == (4, 2)
    rows = page.get_by_role("list", name="Files").get_by_role("listitem")
    expect(rows.filter(has_text="here already")).to_have_count(4)
    expect(rows.filter(has_text="stored")).to_have_count(2)
    assert len(bodies) in (1, 2), "only what was missing is sent, in as many requests as it took to read it"
    page.get_by_role("button", name="Clear the list").click()
    page.get_by_role("checkbox", name="Send also what is here already").check()
    page.locator("[data-folder]").set_input_files(tmp_path / "again")
    wait_until_done(page)
    assert count(page, "Stored") == 6


def test_zips_are_opened_also_within_zips(archive: Served, open_page: Open, tmp_path: Path):
    outer, inner = study(instances=40, PatientID="UP3"), study(instances=3, PatientID="UP3B")
    with zipfile.ZipFile(tmp_path / "inner.zip", "w") as archived:
        for path in save_all(inner, tmp_path / "inner"):
            archived.write(path, f"deep/{path.name}")
    with zipfile.ZipFile(tmp_path / "outer.zip", "w", zipfile.ZIP_DEFLATED) as archived:
        for path in save_all(outer, tmp_path / "outer"):
            archived.write(path, f"disc/{path.name}")
        archived.write(tmp_path / "inner.zip", "inner.zip")
        archived.writestr("__MACOSX/._0000.dcm", "litter")
        archived.writestr("readme.txt", "read me")
    (tmp_path / "broken.zip").write_bytes((tmp_path / "outer.zip").read_bytes()[:5000])
    page = open_page(archive, "/upload")
    page.locator("[data-files]").set_input_files([tmp_path / "outer.zip", tmp_path / "broken.zip"])
    wait_until_done(page)
    assert stored(archive, "UP3") == uids(outer)
    assert stored(archive, "UP3B") == uids(inner)
    state(page, "Refused").click()
    files = page.get_by_role("list", name="Files")
    expect(files).to_contain_text("outer.zip/readme.txt")
    expect(files).to_contain_text("the zip is damaged")


def drop(page: Page, *paths: Path) -> None:
    """Drag files and folders of the disk onto the page, and let go of them."""
    session = page.context.new_cdp_session(page)
    carried = {"items": [], "files": [str(path) for path in paths], "dragOperationsMask": 1}
    for kind in ("dragEnter", "dragOver", "drop"):
        session.send("Input.dispatchDragEvent", {"type": kind, "x": 400, "y": 300, "data": carried})


def test_folders_and_files_are_dropped_wherever_one_is(archive: Served, open_page: Open, tmp_path: Path):
    sent = study(series=2, instances=75, PatientID="UP4")
    save_all(sent[:120], tmp_path / "disc/deep/deeper")  # more than a browser gives of a folder at once
    save_all(sent[120:149], tmp_path / "disc")
    (single,) = save_all(sent[149:], tmp_path / "single")
    page = open_page(archive)
    page.get_by_role("searchbox").wait_for()
    drop(page, tmp_path / "disc", single)
    wait_until_done(page)
    assert stored(archive, "UP4") == uids(sent)
    expect(page.get_by_role("list", name="Files")).to_contain_text("disc/deep/deeper/")


def test_an_upload_is_paused_and_goes_on(archive: Served, open_page: Open, tmp_path: Path):
    sent = study(instances=60, rows=256, PatientID="UP5")
    save_all(sent, tmp_path / "pause")
    page = open_page(archive, "/upload")
    page.route("**/dicom-web/studies", lambda route: None)  # held back, so that there is something to pause
    page.locator("[data-folder]").set_input_files(tmp_path / "pause")
    page.get_by_role("button", name="Pause").click()
    expect(page.get_by_role("region", name="Progress of the upload")).to_contain_text("Paused")
    assert stored(archive, "UP5") == set()
    page.unroute("**/dicom-web/studies")
    page.get_by_role("button", name="Go on").click()
    wait_until_done(page)
    assert stored(archive, "UP5") == uids(sent)


def test_an_archive_that_restarts_is_waited_for(archive: Served, open_page: Open, tmp_path: Path):
    sent = study(instances=40, rows=256, PatientID="UP6")
    save_all(sent, tmp_path / "restart")
    page = open_page(archive, "/upload")
    page.watch.expect("Failed to load resource")  # type: ignore[attr-defined]
    archive.server.stop()
    page.locator("[data-folder]").set_input_files(tmp_path / "restart")
    expect(page.get_by_role("alert")).to_contain_text("nothing is lost")
    archive.server.start()
    wait_until_done(page)
    assert stored(archive, "UP6") == uids(sent)


def test_an_archive_that_dies_under_an_upload_gets_what_is_missing(archive: Served, open_page: Open, tmp_path: Path):
    sent = study(instances=150, rows=512, PatientID="UP9")
    save_all(sent, tmp_path / "killed")
    page = open_page(archive, "/upload")
    for words in ("Failed to load resource", "ERR_"):
        page.watch.expect(words)  # type: ignore[attr-defined]
    before = len(archive.server.lines)
    page.locator("[data-folder]").set_input_files(tmp_path / "killed")
    archive.server.wait_for(lambda line: str(line.get("route")).endswith("/studies"), after=before)
    archive.server.kill()
    archive.server.start()
    wait_until_done(page)
    assert stored(archive, "UP9") == uids(sent)


def test_a_session_that_ends_is_asked_for_again(guarded: Served, open_page: Open):
    sent = study(instances=5, PatientID="UP7")
    folder = guarded.folder / "ends"
    save_all(sent, folder)
    page = open_page(guarded, "/upload")
    page.watch.expect("status of 401")  # type: ignore[attr-defined]
    sign_in(page, "writer")
    page.context.clear_cookies()
    page.locator("[data-folder]").set_input_files(folder)
    expect(page.get_by_role("dialog")).to_contain_text("Your session has ended")
    sign_in(page, "writer")
    wait_until_done(page)
    assert count(page, "Stored") == 5
