"""The page comes up in a browser, under its policy; what goes wrong in it is noticed."""

from collections.abc import Callable

import pytest
from playwright.sync_api import Error, Page

from tests.support.browser import Served


def test_the_page_comes_up(archive: Served, open_page: Callable[..., Page]):
    page = open_page(archive)
    page.get_by_role("main").wait_for()
    assert "minipacs" in page.title().lower()


def test_what_goes_wrong_is_noticed(archive: Served, open_page: Callable[..., Page]):
    page = open_page(archive)
    for script in (
        "console.error('told')",
        "setTimeout(() => { throw new Error('thrown') })",
        "fetch('http://elsewhere.example/').catch(() => 0)",
        "document.head.appendChild(Object.assign(document.createElement('script'), {textContent: 'window.ran = 1'}))",
    ):
        page.evaluate(f"() => {{ {script} }}")
    assert page.evaluate("window.ran") is None
    with pytest.raises(Error):
        page.goto("http://other.example/")
    for text in ("told", "thrown", "asked another host: http://other.example/", "Content Security Policy"):
        page.watch.await_fault(page, text)
        page.watch.expect(text)
