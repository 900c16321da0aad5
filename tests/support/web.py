"""The archive over HTTP in this process: a real server on a real socket, without a daemon around it."""

import http.client
import json
import socket
import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pydicom
from pydicom.dataset import Dataset

from minipacs.archive.archive import Archive
from minipacs.archive.ingest import StoragePolicy
from minipacs.audit.audit import Audit
from minipacs.audit.message import Source
from minipacs.dicom.data_set.part10 import parse_file_meta
from minipacs.net.identity.tokens import Tokens
from minipacs.net.identity.users import Users
from minipacs.web.access import Places, WebAccess
from minipacs.web.app import make_app
from minipacs.web.auditing import Trail
from minipacs.web.environment import Environment
from minipacs.web.representations.metadata_cache import MetadataCache
from minipacs.web.server import WebServer
from tests.support.storing import put, put_bytes

ALL_RIGHTS = ("read", "store", "delete", "admin")


@dataclass
class Answer:
    """What a request got."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def ask(port: int, method: str, path: str, body: Any = None, **headers: str) -> Answer:
    """Make one request; underscores in names of header fields stand for hyphens."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        fields = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, path, body, fields)
        response = connection.getresponse()
        return Answer(response.status, {k.lower(): v for k, v in response.getheaders()}, response.read())
    finally:
        connection.close()


class Web:
    """A server for one archive; `anonymous` rights without credentials."""

    def __init__(
        self,
        folder: Path,
        anonymous: Sequence[str] = ALL_RIGHTS,
        origins: Sequence[str] = (),
        policy: StoragePolicy | None = None,
        archive: Archive | None = None,
        audit: Audit | None = None,
        **settings: Any,
    ) -> None:
        self.folder = folder
        self.archive = archive or Archive.open(folder, policy or StoragePolicy())
        self._ended = threading.Condition()
        self.requests: list[tuple[Any, ...]] = []
        access = WebAccess(
            Users(folder / "users"),
            Tokens(folder / "tokens"),
            folder / "sessions",
            anonymous,
            origins,  # type: ignore[arg-type]
        )
        trail = Trail(audit or Audit(None, Source("MINIPACS")), self.archive.index)
        environment = Environment(self.archive, "MINIPACS", access, Places("", []), trail, MetadataCache(self.archive))
        environment = replace(environment, **settings)
        listener = socket.create_server(("127.0.0.1", 0))
        self.host, self.port = listener.getsockname()
        self.service = f"http://{self.host}:{self.port}/dicom-web"
        self._server = WebServer(make_app(environment, self._note), [listener], 5)
        self._thread = threading.Thread(target=self._server.run_until_left)
        self._thread.start()

    def store(self, *datasets: Dataset, syntax: str = "1.2.840.10008.1.2.1") -> None:
        for ds in datasets:
            put(self.archive, ds, syntax)

    def store_file(self, path: Path) -> Dataset:
        """Store a file as it is; give what it holds."""
        ds = pydicom.dcmread(path)
        raw = path.read_bytes()
        meta = parse_file_meta(raw)
        data = raw[meta.data_set_offset :]
        put_bytes(self.archive, data, ds.SOPClassUID, ds.SOPInstanceUID, meta.transfer_syntax_uid, piece_bytes=1 << 20)
        return ds

    def wait_for_requests(self, count: int) -> None:
        """Return when so many requests have ended."""
        with self._ended:
            assert self._ended.wait_for(lambda: len(self.requests) >= count, 20)

    def _note(self, *what: Any) -> None:
        with self._ended:
            self.requests.append(what)
            self._ended.notify_all()

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> Answer:
        return ask(self.port, method, path, body, **headers)

    def get(self, path: str, **headers: str) -> Answer:
        return self.ask("GET", f"/dicom-web{path}", **headers)

    def close(self) -> None:
        self._server.leave()
        self._thread.join(20)
        self.archive.close()
        assert not self._thread.is_alive()
