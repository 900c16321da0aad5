"""OHIF as an administrator installs it: what is taken of its file, what is refused, and how it is served."""

import base64
import gzip
import hashlib
import io
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from minipacs.errors import MinipacsError
from minipacs.web.access import Places
from minipacs.web.site import installing, ohif
from tests.support.server import run
from tests.support.web import Web

INLINE = 'window.PUBLIC_URL = "/"'
PAGE = f"""<!doctype html><html><head><link rel="icon" href="/assets/a.png"><script>{INLINE}</script>
<script src="/app-config.js"></script><script defer src="/app.bundle.0123456789abcdef.js"></script></head></html>"""
BUNDLE = b'__webpack_require__.p = "/";' + b"let x = 1;" * 100
FILES = {
    "package/LICENSE": b"MIT",
    "package/package.json": b"{}",
    "package/dist/index.html": PAGE.encode(),
    "package/dist/app.bundle.0123456789abcdef.js": BUNDLE,
    "package/dist/app.bundle.0123456789abcdef.js.map": b"map",
    "package/dist/app-config.js": b"window.config = {other: true}",
    "package/dist/init-service-worker.js": b"importScripts('https://elsewhere.example/x.js')",
    "package/dist/sw.js": b"x",
    "package/dist/style.css": b"src: url(/0123456789abcdef0123.woff2)",
    "package/dist/ort/big.wasm": b"\0asm",
    "package/dist/assets/a.png": b"PNG",
    "package/dist/.hidden": b"x",
}


def member(name: str, kind: bytes = tarfile.REGTYPE, size: int = 0, target: str = "") -> tarfile.TarInfo:
    found = tarfile.TarInfo(name)
    found.type, found.size, found.linkname = kind, size, target
    return found


@pytest.fixture
def packed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    def pack(*more: tarfile.TarInfo, files: dict[str, bytes] = FILES, is_known: bool = True) -> Path:
        path = tmp_path / "ohif.tgz"
        with tarfile.open(path, "w:gz") as out:
            for name, content in files.items():
                out.addfile(member(name, size=len(content)), io.BytesIO(content))
            for one in more:
                out.addfile(one, io.BytesIO(bytes(one.size)))
        if is_known:
            digest = base64.b64encode(hashlib.sha512(path.read_bytes()).digest()).decode()
            monkeypatch.setattr(installing, "KNOWN", {"9.9.9": f"sha512-{digest}"})
        return path

    return pack


@pytest.fixture
def storage(tmp_path: Path) -> Path:
    path = tmp_path / "archive"
    path.mkdir()
    return path


@pytest.fixture
def web(storage: Path) -> Iterator[Web]:
    served = Web(storage, ohif=ohif.installed(storage), places=Places("", ["127.0.0.1"]), anonymous=())
    yield served
    served.close()


def names(storage: Path) -> set[str]:
    place = installing.place_of(storage)
    return {path.relative_to(place).as_posix() for path in place.rglob("*") if path.is_file()}


def test_what_is_needed_is_installed_and_nothing_else(packed: Callable[..., Path], storage: Path):
    assert installing.install(packed(), storage) == "9.9.9"
    assert names(storage) == {
        "LICENSE",
        "index.html",
        "minipacs.json",
        "app.bundle.0123456789abcdef.js",
        "app.bundle.0123456789abcdef.js.gz",
        "app-config.js",
        "app-config.js.gz",
        "init-service-worker.js",
        "style.css",
        "assets/a.png",
    }


def test_it_is_served_below_its_path_also_behind_a_proxy(packed: Callable[..., Path], storage: Path, web: Web):
    assert web.ask("GET", "/ohif/").status == 404
    assert not web.ask("GET", "/api/v1/session").json["ohif"]
    installing.install(packed(), storage)
    assert web.ask("GET", "/api/v1/session").json["ohif"]
    for prefix, headers in (("", {}), ("/pacs", {"x_forwarded_prefix": "/pacs"})):
        for path in ("/ohif/", "/ohif/viewer?StudyInstanceUIDs=1.2", "/ohif/index.html"):
            page = web.ask("GET", path, **headers)
            assert (page.status, page.headers["content-type"]) == (200, "text/html; charset=utf-8")
            assert f'src="{prefix}/ohif/app-config.js"'.encode() in page.body
            assert f'href="{prefix}/ohif/assets/a.png"'.encode() in page.body
        assert web.ask("GET", "/ohif", **headers).headers["location"] == f"{prefix}/ohif/"
    again = web.ask("GET", "/ohif/", if_none_match=web.ask("GET", "/ohif/").headers["etag"])
    assert again.status == 304
    assert b'root + "/dicom-web"' in web.ask("GET", "/ohif/app-config.js").body


def test_its_own_scripts_may_run_and_no_others(packed: Callable[..., Path], storage: Path, web: Web):
    installing.install(packed(), storage)
    page = web.ask("GET", "/ohif/")
    (inline,) = installing._INLINE.findall(page.body)
    digest = base64.b64encode(hashlib.sha256(inline).digest()).decode()
    (scripts,) = (part for part in page.headers["content-security-policy"].split("; ") if part.startswith("script-src"))
    assert scripts == f"script-src 'self' 'wasm-unsafe-eval' 'sha256-{digest}'"
    assert b"elsewhere" not in web.ask("GET", "/ohif/init-service-worker.js").body


def test_its_parts_are_squeezed_and_kept(packed: Callable[..., Path], storage: Path, web: Web):
    installing.install(packed(), storage)
    part = web.ask("GET", "/ohif/app.bundle.0123456789abcdef.js", accept_encoding="gzip")
    assert part.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert gzip.decompress(part.body).startswith(b"__webpack_require__.p = self.location.pathname.replace(")
    assert web.ask("GET", "/ohif/style.css").body == b"src: url(0123456789abcdef0123.woff2)"
    assert web.ask("GET", "/ohif/style.css").headers["cache-control"] == "no-cache"
    for path in ("missing.js", "minipacs.json", "../tokens", "%2e%2e/archive.id", "assets/../../ohif/x.js"):
        assert web.ask("GET", f"/ohif/{path}").status == 404, path


@pytest.mark.parametrize(
    "bad",
    [
        member("package/dist/link.js", tarfile.SYMTYPE, target="/etc/passwd"),
        member("package/dist/link.js", tarfile.LNKTYPE, target="package/LICENSE"),
        member("package/dist/../../../evil.js", size=1),
        member("/package/dist/evil.js", size=1),
        member("package/dist/pipe", tarfile.FIFOTYPE),
        member("package/dist/device", tarfile.CHRTYPE),
        member("package/dist/index.html", size=1),
    ],
)
def test_a_file_with_what_does_not_belong_there_changes_nothing(
    packed: Callable[..., Path], storage: Path, bad: tarfile.TarInfo
):
    installing.install(packed(), storage)
    before = installing.place_of(storage).readlink()
    with pytest.raises(MinipacsError):
        installing.install(packed(bad), storage)
    assert installing.place_of(storage).readlink() == before
    assert {path.name for path in installing.place_of(storage).parent.iterdir()} == {"ohif", str(before)}
    assert not (storage.parent / "evil.js").exists()


@pytest.mark.parametrize(("limit", "value"), [("MAX_FILES", 3), ("MAX_FILE_BYTES", 100), ("MAX_BYTES", 500)])
def test_a_file_that_is_too_large_is_refused(
    packed: Callable[..., Path], storage: Path, monkeypatch: pytest.MonkeyPatch, limit: str, value: int
):
    monkeypatch.setattr(installing, limit, value)
    with pytest.raises(MinipacsError, match="holds more than"):
        installing.install(packed(), storage)
    assert not list(installing.place_of(storage).parent.iterdir())


def test_what_is_no_such_file_is_refused(packed: Callable[..., Path], storage: Path, tmp_path: Path):
    with pytest.raises(MinipacsError, match="none of @ohif/app"):
        installing.install(packed(is_known=False), storage)
    with pytest.raises(MinipacsError, match="no package/dist/index"):
        installing.install(packed(files={"package/dist/x.js": b"x"}), storage)
    whole = packed().read_bytes()
    for content in (b"no archive", whole[: len(whole) // 2], b""):
        broken = tmp_path / "broken.tgz"
        broken.write_bytes(content)
        with pytest.raises(MinipacsError):
            installing.install(broken, storage, untested=True)
    assert not list(installing.place_of(storage).parent.iterdir())


def test_a_new_version_takes_the_place_of_the_old(packed: Callable[..., Path], storage: Path, web: Web):
    installing.install(packed(), storage)
    changed = {**FILES, "package/dist/new.js": b"new"}
    installing.install(packed(files=changed), storage)
    assert web.ask("GET", "/ohif/new.js").body == b"new"
    assert len(list(installing.place_of(storage).parent.iterdir())) == 2
    assert installing.remove(storage)
    assert web.ask("GET", "/ohif/").status == 404
    assert not installing.remove(storage)
    assert not list(installing.place_of(storage).parent.iterdir())


def test_the_commands(packed: Callable[..., Path], tmp_path: Path):
    config = tmp_path / "minipacs.toml"
    config.write_text('[storage]\npath = "data"\n')
    file = packed()
    done = run("viewer", "install", "--config", config, file, check=False)
    assert (done.returncode, "there is no archive" in done.stderr) == (1, True)
    (tmp_path / "data").mkdir()
    assert run("viewer", "install", "--config", config, file).stdout == "OHIF 9.9.9 is at /ohif/\n"
    assert run("viewer", "remove", "--config", config).stdout == "removed\n"
    assert run("viewer", "remove", "--config", config).stdout == "there is none\n"
    assert run("viewer", "install", "--config", config, check=False).returncode == 2
    assert run("viewer", "install", "--config", config, "--npm", file, check=False).returncode == 2
    other = packed(is_known=False, files={**FILES, "package/dist/y.js": b"y"})
    done = run("viewer", "install", "--config", config, other, check=False)
    assert (done.returncode, "9.9.9" in done.stderr) == (1, True)
    assert run("viewer", "install", "--config", config, "--untested", other).stdout == "OHIF untested is at /ohif/\n"
