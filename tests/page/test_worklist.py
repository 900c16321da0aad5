"""The worklist as a person works with it."""

from collections.abc import Callable

from playwright.sync_api import Page, expect

from tests.support.browser import Served
from tests.support.server import run
from tests.support.signing import sign_in

Open = Callable[..., Page]

STEP = ("Modality=CT", "ScheduledProcedureStepStartTime=090000")


def schedule(served: Served, *values: str) -> None:
    """Add a step by command."""
    run("worklist", "add", "--config", served.server.config, *values, *STEP)


def test_the_steps_of_a_day_stand_by_station(archive: Served, open_page: Open):
    for name, station, day in (
        ("Early^Eva", "CT1", "20300105"),
        ("Late^Leo", "MR7", "20300105"),
        ("Next^Nils", "CT1", "20300106"),
    ):
        step = (f"PatientName={name}", f"PatientID={name[:3]}", f"ScheduledStationAETitle={station}")
        schedule(archive, *step, f"ScheduledProcedureStepStartDate={day}")
    page = open_page(archive, "/worklist?day=20300105")
    expect(page.get_by_role("region", name="CT1")).to_contain_text("Early, Eva")
    expect(page.get_by_role("region", name="MR7")).to_contain_text("Late, Leo")
    page.get_by_role("combobox", name="Station").select_option("MR7")
    expect(page.get_by_role("region", name="CT1")).to_have_count(0)
    page.get_by_role("combobox", name="Station").select_option("")
    page.get_by_role("button", name="The day after").click()
    expect(page.get_by_role("region", name="CT1")).to_contain_text("Next, Nils")
    expect(page.get_by_role("region", name="MR7")).to_have_count(0)


def test_a_step_is_added_and_canceled(archive: Served, open_page: Open):
    page = open_page(archive, "/worklist?day=20300201")
    page.get_by_role("button", name="Add a step").click()
    dialog = page.get_by_role("dialog")
    for label, value in (
        ("Family name", "Added"),
        ("Given name", "Ada"),
        ("Patient ID", "ADD1"),
        ("Station (AE title)", "CT9"),
        ("What is to be done", "Head"),
    ):
        dialog.get_by_label(label).fill(value)
    dialog.get_by_label("Modality").select_option("CT")
    dialog.get_by_label("Birth date").fill("1980-04-12")
    dialog.get_by_role("button", name="Schedule").click()
    step = page.get_by_role("region", name="CT9").get_by_role("row").nth(1)
    expect(step).to_contain_text("Added, Ada")
    expect(step).to_contain_text("born 12 Apr 1980")
    expect(step).to_contain_text("scheduled")
    found = "/dicom-web/modality-scheduled-procedure-steps?PatientID=ADD1"
    assert len(archive.ask("GET", found).json) == 1  # modalities are told of it
    step.get_by_role("button", name="Cancel").click()
    expect(dialog).to_contain_text("Added, Ada")
    dialog.get_by_role("button", name="Cancel the step").click()
    expect(step).to_contain_text("discontinued")
    assert archive.ask("GET", found).json == []


def test_who_may_only_read_cannot_change_it(guarded: Served, open_page: Open):
    step = ("PatientName=Read^Only", "PatientID=RO1", "ScheduledStationAETitle=CT1")
    schedule(guarded, *step, "ScheduledProcedureStepStartDate=20300301")
    page = open_page(guarded, "/worklist?day=20300301")
    sign_in(page, "reader")
    expect(page.get_by_role("region", name="CT1")).to_contain_text("Read, Only")
    expect(page.get_by_role("button", name="Add a step")).to_have_count(0)
    expect(page.get_by_role("button", name="Cancel")).to_have_count(0)
