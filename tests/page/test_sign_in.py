"""Who may what: signing in and out, what is not shown, sessions that end in the middle of work."""

import zipfile
from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from tests.support.browser import Served
from tests.support.objects import ct
from tests.support.signing import sign_in

Open = Callable[..., Page]

UNAUTHORIZED = "status of 401"


def screens(page: Page) -> list[str]:
    return page.get_by_role("navigation", name="Screens").get_by_role("link").all_inner_texts()


def test_who_has_not_signed_in_sees_nothing(guarded: Served, open_page: Open):
    page = open_page(guarded)
    expect(page.get_by_role("heading", name="Sign in to see what is here")).to_be_visible()
    assert screens(page) == []


def test_a_wrong_passcode_is_said(guarded: Served, open_page: Open):
    page = open_page(guarded)
    page.watch.expect(UNAUTHORIZED)  # type: ignore[attr-defined]
    sign_in(page, "reader", "wrong")
    expect(page.get_by_role("alert")).to_contain_text("the name or the passcode is wrong")
    expect(page.get_by_role("dialog")).to_be_visible()


@pytest.mark.parametrize(
    ("name", "seen"),
    [
        ("reader", ["Studies", "Worklist"]),
        ("writer", ["Studies", "Upload", "Worklist"]),
        ("chief", ["Studies", "Upload", "Worklist", "Operations"]),
    ],
)
def test_what_one_may_not_do_is_not_shown(guarded: Served, open_page: Open, name: str, seen: list[str]):
    stored = ct(PatientID=name, PatientName=f"Seen^By {name}")
    guarded.store(stored)
    page = open_page(guarded, f"/study/{stored.StudyInstanceUID}")
    sign_in(page, name)
    expect(page.get_by_text(f"Seen, By {name}")).to_be_visible()
    assert screens(page) == seen
    expect(page.get_by_role("button", name="Delete", exact=True)).to_have_count(1 if name == "chief" else 0)
    page.goto(f"{guarded.url}#/operations")
    if name == "chief":
        expect(page.get_by_role("heading", name="Operations")).to_be_visible()
    else:
        expect(page.get_by_role("heading", name="You may not see this")).to_be_visible()


def test_signing_out_ends_the_session(guarded: Served, open_page: Open):
    page = open_page(guarded)
    sign_in(page, "reader")
    expect(page.get_by_role("searchbox")).to_be_visible()
    before = page.context.cookies()[0]
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("heading", name="Sign in to see what is here")).to_be_visible()
    cookie = f"{before['name']}={before['value']}"
    assert guarded.ask("GET", "/dicom-web/studies", Cookie=cookie).status == 401


def test_a_session_that_ends_loses_no_work(guarded: Served, open_page: Open):
    guarded.store(ct(PatientID="WORK1", PatientName="Work^Goes On"))
    page = open_page(guarded)
    page.watch.expect(UNAUTHORIZED)  # type: ignore[attr-defined]
    sign_in(page, "reader")
    page.get_by_role("searchbox").wait_for()
    page.context.clear_cookies()
    page.get_by_role("searchbox").press_sequentially("work")
    expect(page.get_by_role("dialog")).to_contain_text("Your session has ended")
    sign_in(page, "reader")
    rows = page.get_by_role("grid").get_by_role("row")
    expect(rows).to_have_count(1)
    expect(rows).to_contain_text("Work, Goes On")
    expect(page.get_by_role("searchbox")).to_have_value("work")


def test_a_download_asks_to_sign_in_again(guarded: Served, open_page: Open):
    stored = ct(PatientID="WORK2", PatientName="Down^Load")
    guarded.store(stored)
    page = open_page(guarded, f"/study/{stored.StudyInstanceUID}")
    page.watch.expect(UNAUTHORIZED)  # type: ignore[attr-defined]
    sign_in(page, "reader")
    button = page.get_by_role("link", name="Download", exact=True)
    button.wait_for()
    page.get_by_role("main").get_by_role("listitem").locator("img").wait_for()
    page.context.clear_cookies()  # when nothing else is asked for that would open the dialog
    button.click()
    expect(page.get_by_role("dialog")).to_contain_text("Your session has ended")
    with page.expect_download() as download:
        sign_in(page, "reader")
    assert zipfile.is_zipfile(download.value.path())


def test_another_user_begins_anew(guarded: Served, open_page: Open):
    guarded.store(ct(PatientID="OTHER1", PatientName="Other^Olaf"))
    page = open_page(guarded, "/studies?q=other1")
    page.watch.expect(UNAUTHORIZED)  # type: ignore[attr-defined]
    sign_in(page, "reader")
    page.get_by_role("grid").get_by_role("row").first.wait_for()
    page.evaluate("window.isTheSamePage = true")
    page.context.clear_cookies()
    page.get_by_role("button", name="Look again").click()
    expect(page.get_by_role("dialog")).to_contain_text("Your session has ended")
    sign_in(page, "writer")
    expect(page.get_by_role("banner")).to_contain_text("writer")
    assert page.evaluate("window.isTheSamePage") is None
