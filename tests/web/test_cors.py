"""Pages of other sites: those that are listed may ask from within a browser, no others."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.web import Web

LISTED, OTHER = "https://viewer.example", "https://evil.example"


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Web]:
    served = Web(tmp_path_factory.mktemp("web") / "archive", origins=[LISTED])
    yield served
    served.close()


@pytest.mark.parametrize("path", ["/studies", "/studies/1.2.3"])
def test_a_page_that_is_listed_may_read_the_answer(web: Web, path: str):
    answer = web.get(path, origin=LISTED)
    assert answer.headers["access-control-allow-origin"] == LISTED
    assert "Origin" in answer.headers["vary"]
    assert "Warning" in answer.headers["access-control-expose-headers"]
    assert "access-control-allow-origin" not in web.get(path, origin=OTHER).headers


def test_a_browser_that_asks_first(web: Web):
    asked = {"access_control_request_method": "GET", "access_control_request_headers": "authorization, range"}
    answer = web.ask("OPTIONS", "/dicom-web/studies", origin=LISTED, **asked)
    assert answer.status == 200
    assert "authorization" in answer.headers["access-control-allow-headers"].lower()
    assert web.ask("OPTIONS", "/dicom-web/studies", origin=OTHER, **asked).status == 400


def test_where_no_page_is_listed_none_may(tmp_path: Path):
    served = Web(tmp_path / "archive")
    try:
        assert "access-control-allow-origin" not in served.get("/studies", origin=LISTED).headers
    finally:
        served.close()
