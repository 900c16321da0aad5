"""Puts the viewer OHIF below the storage folder, and takes it away: what npm has as @ohif/app, made to be at /ohif/.

The archive file is unpacked into a folder of its own; a link changes over to it when all of it is there. Nothing of it
is run here. What is in it and not needed stays out: an inference engine for one tool, source maps, the service worker.
"""

import base64
import gzip
import hashlib
import json
import os
import re
import secrets
import shutil
import tarfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from minipacs.durable import sync_folder
from minipacs.errors import MinipacsError, system_words
from minipacs.web.folder import COMPRESSED, SQUEEZABLE

KNOWN = {
    "3.12.10": "sha512-0kuF66Mq9c9dMD++bUsTjMrJpXJwaZhz9B4uS244DawAjSkTwIYFU93pxPuRUQixaRi7QAHlF3Fe1qudBlZrmA==",
    "3.13.2": "sha512-WZdxmpmG7rqFgW9ZJLcbgr3XCtLi1KDNPoMaeY5PPe6j4G4fjEjjkycZM6C6Zk2F87BKxFfpq+jd5xXZB9E8EA==",
}
"""Versions that were seen to work, the latest last, with the digests that npm gives for their files."""
PACKAGE = "@ohif/app"

MAX_FILES = 5_000
MAX_FILE_BYTES = 128 * 1024 * 1024
MAX_BYTES = 1024 * 1024 * 1024
"""Of what is unpacked, what stays out included."""
READ_BYTES = 1 << 20
SQUEEZE_LEVEL = 6

FACTS = "minipacs.json"
"""The file that says which version it is, and the hashes of the scripts in its page."""
INDEX = "index.html"
ROOT = "/minipacs-ohif-root/"
"""Stands in the page for the path at which it is served, which a proxy may change."""

_KEPT = re.compile(r"package/(?:dist/(?P<part>[A-Za-z0-9._@+/-]+)|(?P<licence>LICENSE))")
_LEFT_OUT = re.compile(r"(?:ort/.*|.*\.map|_headers|_redirects|serve\.json|sw\.js|google\.js|app-config\.js)")
_EMPTY = {"init-service-worker.js": b"// there is no service worker here\n"}
_BASE = 'self.location.pathname.replace(/\\/ohif\\/.*/,"/ohif/")'
"""In a page, and in its workers: the path below which all of it lies."""
_INLINE = re.compile(rb"<script>(.*?)</script>", re.DOTALL)
_CONFIG = """\
const root = window.location.pathname.replace(/\\/ohif\\/.*/, "");
window.config = {
  name: "minipacs",
  routerBasename: root + "/ohif",
  extensions: [],
  modes: [],
  customizationService: {},
  showStudyList: true,
  maxNumberOfWebWorkers: 3,
  showWarningMessageForCrossOrigin: false,
  showCPUFallbackMessage: true,
  showLoadingIndicator: true,
  strictZSpacingForVolumeViewport: true,
  groupEnabledModesFirst: true,
  investigationalUseDialog: { option: "never" },
  defaultDataSourceName: "minipacs",
  dataSources: [
    {
      namespace: "@ohif/extension-default.dataSourcesModule.dicomweb",
      sourceName: "minipacs",
      configuration: {
        friendlyName: "minipacs",
        name: "minipacs",
        wadoUriRoot: root + "/dicom-web",
        qidoRoot: root + "/dicom-web",
        wadoRoot: root + "/dicom-web",
        qidoSupportsIncludeField: true,
        supportsReject: false,
        supportsFuzzyMatching: true,
        supportsWildcard: true,
        imageRendering: "wadors",
        thumbnailRendering: "wadors",
        enableStudyLazyLoad: true,
        singlepart: "bulkdata,video,pdf",
        bulkDataURI: { enabled: true },
      },
    },
  ],
};
"""


def place_of(storage: Path) -> Path:
    """Return where the viewer is, in an archive with this storage folder: a link to the folder of a version."""
    return storage / "viewer" / "ohif"


def install(file: Path, storage: Path, *, untested: bool = False) -> str:
    """Install what npm has as @ohif/app in the place of what is there; give the version.

    Raises MinipacsError for a file that is no version known to work, unless `untested`, or that is not what it should
    be; nothing is changed then.
    """
    integrity = _integrity(file)
    version = next((version for version, known in KNOWN.items() if known == integrity), "")
    if not version and not untested:
        raise MinipacsError(f"{file} is none of {PACKAGE} {', '.join(KNOWN)}, which are known to work")
    place = place_of(storage)
    fresh = place.with_name(f"ohif-{secrets.token_hex(8)}")
    try:
        fresh.mkdir(parents=True)
        _unpack(file, fresh)
        _adapt(fresh, version or "untested", integrity)
        _squeeze(fresh)
        _put_in_place(fresh, place)
    except (OSError, EOFError, tarfile.TarError) as error:
        words = system_words(error) if isinstance(error, OSError) else str(error)
        raise MinipacsError(f"{file} cannot be installed: {words}") from error
    finally:
        _sweep(place)
    return version or "untested"


def remove(storage: Path) -> bool:
    """Remove the viewer; false if there was none. Raises MinipacsError."""
    place = place_of(storage)
    was_there = place.is_symlink()
    try:
        place.unlink(missing_ok=True)
        _sweep(place)
    except OSError as error:
        raise MinipacsError(f"cannot remove {place}: {system_words(error)}") from error
    return was_there


def _integrity(file: Path) -> str:
    """Return the digest of a file as npm writes it. Raises MinipacsError."""
    try:
        with open(file, "rb") as stream:
            digest = hashlib.file_digest(stream, "sha512").digest()
    except OSError as error:
        raise MinipacsError(f"{file} cannot be read: {system_words(error)}") from error
    return f"sha512-{base64.b64encode(digest).decode()}"


def _unpack(file: Path, folder: Path) -> None:
    """Write the files that are needed. Raises MinipacsError for what does not belong into such a file."""
    left = MAX_BYTES
    with tarfile.open(file, "r:gz") as packed:
        for number, member in enumerate(packed):
            left -= member.size
            if number >= MAX_FILES or member.size > MAX_FILE_BYTES or left < 0:
                raise MinipacsError(f"{file} holds more than {MAX_FILES} files or {MAX_BYTES} bytes")
            name = _name(member)
            stream = packed.extractfile(member) if name else None
            if stream is not None:
                _write(folder / name, iter(partial(stream.read, READ_BYTES), b""))


def _name(member: tarfile.TarInfo) -> str:
    """Return where a member goes, "" for nowhere. Raises MinipacsError for links, and for paths that lead elsewhere."""
    if member.isdir():
        return ""
    parts = member.name.split("/")
    if not member.isreg() or member.name.startswith("/") or ".." in parts:
        raise MinipacsError(f"it holds {member.name[:100]!r}, which is no file of a package")
    found = _KEPT.fullmatch(member.name)
    if found is None or any(part.startswith(".") for part in parts):
        return ""
    name = found["part"] or found["licence"]
    return "" if _LEFT_OUT.fullmatch(name) else name


def _write(path: Path, pieces: Iterator[bytes]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "xb") as out:
        for piece in pieces:
            out.write(piece)
        out.flush()
        os.fsync(out.fileno())


def _adapt(folder: Path, version: str, integrity: str) -> None:
    """Have it find itself at /ohif/ below any prefix, and our DICOMweb beside it. Raises MinipacsError."""
    if not (folder / INDEX).is_file():
        raise MinipacsError(f"it holds no package/dist/{INDEX}")
    for path in folder.rglob("*.js"):
        _change(path, lambda text: re.sub(rb'(__webpack_require__\.p ?= ?)"/"', rb"\g<1>" + _BASE.encode(), text))
    for path in folder.glob("*.css"):
        _change(path, lambda text: text.replace(b"url(/", b"url("))
    _change(folder / INDEX, _index)
    for name, content in {**_EMPTY, "app-config.js": _CONFIG.encode()}.items():
        (folder / name).unlink(missing_ok=True)
        _write(folder / name, iter([content]))
    scripts = [
        f"'sha256-{base64.b64encode(hashlib.sha256(script).digest()).decode()}'"
        for script in _INLINE.findall((folder / INDEX).read_bytes())
    ]
    _write(folder / FACTS, iter([json.dumps({"version": version, "file": integrity, "scripts": scripts}).encode()]))


def _index(text: bytes) -> bytes:
    text = re.sub(rb'((?:href|src|content)=")/(?!/)', rb"\g<1>" + ROOT.encode(), text)
    return re.sub(rb"""window\.PUBLIC_URL ?= ?['"]/['"]""", b"window.PUBLIC_URL=" + _BASE.encode(), text)


def _change(path: Path, change: Callable[[bytes], bytes]) -> None:
    before = path.read_bytes()
    after = change(before)
    if after != before:
        path.unlink()
        _write(path, iter([after]))


def _squeeze(folder: Path) -> None:
    """Write a compressed copy beside each file that has something of it, but the page, which is changed as it goes."""
    for path in [path for path in folder.rglob("*") if path.suffix in SQUEEZABLE and path.name not in (INDEX, FACTS)]:
        content = path.read_bytes()
        squeezed = gzip.compress(content, SQUEEZE_LEVEL, mtime=0)
        if len(squeezed) < len(content):
            _write(path.with_name(path.name + COMPRESSED), iter([squeezed]))


def _put_in_place(fresh: Path, place: Path) -> None:
    link = fresh.with_name(fresh.name + ".link")
    link.symlink_to(fresh.name)
    link.rename(place)
    sync_folder(place.parent)


def _sweep(place: Path) -> None:
    """Remove folders of other versions, and what was left half-done."""
    current = os.readlink(place) if place.is_symlink() else ""
    for path in place.parent.glob("ohif-*"):
        if path.is_symlink():
            path.unlink()
        elif path.name != current:
            shutil.rmtree(path)
