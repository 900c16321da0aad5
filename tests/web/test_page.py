"""The page: what is served of it, to whom, and with which headers. What it does in a browser is in tests/page."""

import gzip
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from minipacs.web.folder import Folder
from minipacs.web.site.page import POLICY
from tests.support.web import Web

SCRIPT = b"console.log(1);\n" * 100


@pytest.fixture
def built(tmp_path: Path) -> Path:
    folder = tmp_path / "dist"
    (folder / "assets").mkdir(parents=True)
    (folder / "index.html").write_text("<!doctype html><title>minipacs</title>")
    (folder / "assets/main-1a2b3c4d.js").write_bytes(SCRIPT)
    (folder / "assets/main-1a2b3c4d.js.gz").write_bytes(gzip.compress(SCRIPT))
    (folder / "assets/codec.wasm").write_bytes(b"\0asm")
    (folder / ".sources").write_text("x")
    (tmp_path / "secret.js").write_text("secret")
    (folder / "assets/link.js").symlink_to(tmp_path / "secret.js")
    return folder


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., Web]]:
    opened: list[Web] = []

    def serve_(page: Folder | None, **settings: object) -> Web:
        opened.append(Web(tmp_path / f"archive{len(opened)}", page=page, **settings))
        return opened[-1]

    yield serve_
    for web in opened:
        web.close()


def folder_of(path: Path) -> Folder:
    return Folder(path, re.compile("^assets/"))


def test_the_page_needs_no_credentials_and_what_it_asks_for_does(serve: Callable[..., Web], built: Path):
    web = serve(folder_of(built), anonymous=())
    answer = web.ask("GET", "/")
    assert (answer.status, answer.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert answer.headers["cache-control"] == "no-cache"
    assert answer.headers["content-security-policy"] == POLICY
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert web.get("/studies").status == 401


def test_no_script_but_our_own_may_run():
    directives = dict(part.split(" ", 1) for part in POLICY.split("; "))
    assert directives["script-src"] == "'self' 'wasm-unsafe-eval'"
    assert directives["object-src"] == "'none'"
    assert directives["frame-ancestors"] == "'self'"


def test_parts_are_kept_by_browsers_and_squeezed(serve: Callable[..., Web], built: Path):
    web = serve(folder_of(built))
    path = "/assets/main-1a2b3c4d.js"
    plain = web.ask("GET", path)
    assert (plain.body, plain.headers["content-type"]) == (SCRIPT, "text/javascript; charset=utf-8")
    assert plain.headers["cache-control"] == "public, max-age=31536000, immutable"
    squeezed = web.ask("GET", path, accept_encoding="br, gzip")
    assert (squeezed.headers["content-encoding"], gzip.decompress(squeezed.body)) == ("gzip", SCRIPT)
    assert squeezed.headers["etag"] != plain.headers["etag"]
    assert "Accept-Encoding" in squeezed.headers["vary"]
    for answer, accepted in ((plain, "identity"), (squeezed, "gzip")):
        again = web.ask("GET", path, accept_encoding=accepted, if_none_match=answer.headers["etag"])
        assert (again.status, again.body) == (304, b"")
    head = web.ask("HEAD", path)
    assert (head.status, head.body, head.headers["content-length"]) == (200, b"", str(len(SCRIPT)))
    assert web.ask("GET", "/assets/codec.wasm").headers["content-type"] == "application/wasm"


@pytest.mark.parametrize(
    "path",
    [
        "/assets/link.js",
        "/assets/main-1a2b3c4d.js.gz",
        "/assets/..%2f..%2fsecret.js",
        "/assets/../index.html",
        "/assets/%2e%2e/%2e%2e/secret.js",
        "/assets/",
        "/assets",
        "/.sources",
        "/index.html",
        "/assets/main-1a2b3c4d.js%00",
        "//etc/passwd",
    ],
)
def test_nothing_else_is_served(serve: Callable[..., Web], built: Path, path: str):
    answer = serve(folder_of(built)).ask("GET", path)
    assert answer.status == 404
    assert answer.json["details"]


def test_where_none_was_built_it_says_how_to_get_it(serve: Callable[..., Web], tmp_path: Path):
    answer = serve(folder_of(tmp_path / "nowhere")).ask("GET", "/")
    assert (answer.status, answer.headers["content-type"]) == (404, "text/plain; charset=utf-8")
    assert b"./tools/run" in answer.body


def test_it_can_be_turned_off(serve: Callable[..., Web]):
    web = serve(None)
    for path in ("/", "/assets/x.js"):
        answer = web.ask("GET", path)
        assert (answer.status, answer.json["details"]) == (404, "there is no page here: web.page is false")


def test_a_page_that_is_built_anew_is_served_at_once(serve: Callable[..., Web], built: Path):
    web = serve(folder_of(built))
    before = web.ask("GET", "/")
    fresh = built.parent / "fresh"
    fresh.mkdir()
    (fresh / "index.html").write_text("<title>new</title>")
    built.rename(built.parent / "old")
    fresh.rename(built)
    after = web.ask("GET", "/", if_none_match=before.headers["etag"])
    assert (after.status, after.body) == (200, b"<title>new</title>")
    assert web.ask("GET", "/assets/codec.wasm").status == 404
