"""Signing in as a person does."""

from playwright.sync_api import Page

PASSCODE = "correct horse"
"""Of the users of `guarded` archives."""


def sign_in(page: Page, name: str, passcode: str = PASSCODE) -> None:
    """Fill in the dialog, which is opened if it is not there yet."""
    dialog = page.get_by_role("dialog", name="Sign in")
    if not dialog.is_visible():
        page.get_by_role("banner").get_by_role("button", name="Sign in").click()
    dialog.get_by_label("Name").fill(name)
    dialog.get_by_label("Passcode").fill(passcode)
    dialog.get_by_role("button", name="Sign in").click()
    if passcode == PASSCODE:
        dialog.wait_for(state="detached")
