"""Documents of metadata that are kept: stored files never change, and viewers ask for each series before they draw."""

import io
import json
import secrets
import threading
from collections import OrderedDict

from minipacs.archive.archive import Archive
from minipacs.archive.reader import PEEK_BYTES, ObjectUnreadable
from minipacs.dicom.tables.transfer_syntaxes import TRANSFER_SYNTAXES
from minipacs.index import StoredInstance
from minipacs.pixels.elements import TranscodeError
from minipacs.web.representations.json_model import read_model

MAX_KEPT_BYTES = 64 * 1024 * 1024
"""Of one process."""
READ_BYTES = 64 * 1024

AVAILABLE_TRANSFER_SYNTAX_UID = "00083002"

ROOT = secrets.token_hex(16).encode()
"""What stands for the root of the service in what is kept: clients reach the archive under several names."""


class MetadataCache:
    """Documents of instances by the digests of their files and by what amends them; safe to use from any thread."""

    def __init__(self, archive: Archive, max_bytes: int = MAX_KEPT_BYTES) -> None:
        self._archive = archive
        self._max_bytes = max_bytes
        self._lock = threading.Lock()
        self._kept: OrderedDict[str, bytes] = OrderedDict()
        self._kept_bytes = 0

    def get(self, instance: StoredInstance, path: str) -> bytes:
        """Return the document of an instance, which lies at `path` below the root. Raises ObjectUnreadable."""
        key = f"{instance.digest} {instance.amendments}"
        with self._lock:
            found = self._kept.get(key)
            if found is not None:
                self._kept.move_to_end(key)
                return found
        made = self._make(instance, path)
        with self._lock:
            if key not in self._kept:
                self._kept[key] = made
                self._kept_bytes += len(made)
            while self._kept_bytes > self._max_bytes:
                _, dropped = self._kept.popitem(last=False)
                self._kept_bytes -= len(dropped)
        return made

    def _make(self, instance: StoredInstance, path: str) -> bytes:
        archive = self._archive
        instance, data_set = archive.reader.open_stored(instance, memoryview(bytearray(PEEK_BYTES)))
        syntax = TRANSFER_SYNTAXES[instance.transfer_syntax_uid]
        with data_set:
            try:
                file = io.BufferedReader(data_set.stream(), READ_BYTES)
                model = read_model(file, syntax, lambda element: f"{ROOT.decode()}{path}/bulkdata/{element}")
            except TranscodeError as error:
                raise ObjectUnreadable(f"data set cannot be decoded: {error}") from error
        model[AVAILABLE_TRANSFER_SYNTAX_UID] = {"vr": "UI", "Value": [syntax.uid]}
        ordered = dict(sorted(model.items()))
        return json.dumps(ordered, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode(
            "utf-8", "replace"
        )
