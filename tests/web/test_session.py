"""Signing in and out as the page does it, and what it is told of who it acts for."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from minipacs.net.identity import users
from tests.support.web import Web

IN_PAGE = {"x_minipacs_page": "1"}


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Web]:
    monkeypatch.setattr(users, "_LOG2_N", 4)
    web = Web(tmp_path / "archive", anonymous=())
    users.add(web.folder / "users", "anna", b"passcode", ["read", "store"])
    yield web
    web.close()


def sign_in(site: Web, passcode: str = "passcode") -> str:
    answer = site.ask("POST", "/api/v1/session", f'{{"name": "anna", "passcode": "{passcode}"}}', **IN_PAGE)
    assert answer.status == 200, answer.body
    assert answer.json["name"] == "anna"
    return answer.headers["set-cookie"].partition(";")[0]


def test_a_session_from_its_beginning_to_its_end(site: Web):
    before = site.ask("GET", "/api/v1/session")
    assert (before.status, before.json["name"], before.json["rights"]) == (200, "", [])
    assert before.json["can_sign_in"]
    assert site.get("/studies").status == 401
    cookie = sign_in(site)
    now = site.ask("GET", "/api/v1/session", cookie=cookie).json
    assert (now["name"], now["rights"], now["ae_title"]) == ("anna", ["store", "read"], "MINIPACS")
    assert site.get("/studies", cookie=cookie).status == 200
    after = site.ask("DELETE", "/api/v1/session", cookie=cookie)
    assert (after.status, after.json["name"]) == (200, "")
    assert "Max-Age=0" in after.headers["set-cookie"]
    assert site.get("/studies", cookie=cookie).status == 401


def test_a_wrong_passcode_opens_nothing(site: Web):
    answer = site.ask("POST", "/api/v1/session", '{"name": "anna", "passcode": "x"}', **IN_PAGE)
    assert answer.status == 401
    assert "set-cookie" not in answer.headers
    assert answer.json["details"] == "the name or the passcode is wrong"


@pytest.mark.parametrize("body", ["", "[]", "{", '{"name": 1}', '{"user": "anna"}', "[" * 100_000, "x" * 2_000_000])
def test_what_is_no_request_is_refused(site: Web, body: str):
    assert site.ask("POST", "/api/v1/session", body).status in (400, 413)


@pytest.mark.parametrize("name", ["", "x" * 65, "a\\nb", "\\ud800"])
def test_what_is_no_name_is_refused(site: Web, name: str):
    assert site.ask("POST", "/api/v1/session", f'{{"name": "{name}", "passcode": "passcode"}}').status == 400


def test_a_name_of_several_words_and_any_passcode(site: Web):
    users.add(site.folder / "users", "Anna B", b"passcode", ["read"])
    answer = site.ask("POST", "/api/v1/session", '{"name": "Anna B", "passcode": "passcode"}')
    cookie = answer.headers["set-cookie"].partition(";")[0]
    assert site.ask("GET", "/api/v1/session", cookie=cookie).json["name"] == "Anna B"
    answer = site.ask("POST", "/api/v1/session", '{"name": "Anna B", "passcode": "\\ud800"}')
    assert answer.status == 401


def test_a_page_of_another_site_signs_nobody_in_or_out(site: Web):
    other = {"origin": "http://evil.example", "sec_fetch_site": "cross-site"}
    assert site.ask("POST", "/api/v1/session", '{"name": "anna", "passcode": "passcode"}', **other).status == 403
    assert site.ask("DELETE", "/api/v1/session", **other).status == 403


@pytest.mark.parametrize(
    ("headers", "is_asked"),
    [
        ({}, True),
        (IN_PAGE, False),
        ({"sec_fetch_site": "same-origin", "sec_fetch_mode": "no-cors"}, False),
        ({"sec_fetch_site": "same-origin", "sec_fetch_mode": "navigate"}, True),
        ({"sec_fetch_site": "none", "sec_fetch_mode": "navigate"}, True),
    ],
)
def test_a_browser_asks_for_a_passcode_only_where_no_page_does(site: Web, headers: dict[str, str], is_asked: bool):
    answer = site.get("/studies", **headers)
    assert answer.status == 401
    assert answer.headers["www-authenticate"].startswith("Bearer")
    assert ("Basic" in answer.headers["www-authenticate"]) == is_asked


def test_a_session_that_is_over_is_told_as_one(site: Web):
    cookie = sign_in(site)
    (site.folder / "sessions").write_text("")
    answer = site.get("/studies", cookie=cookie, **IN_PAGE)
    assert (answer.status, answer.json["details"]) == (401, "this needs the right read: sign in")
    assert site.ask("GET", "/api/v1/session", cookie=cookie).json["name"] == ""
