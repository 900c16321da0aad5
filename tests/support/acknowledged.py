"""Clients that know what they were answered, and when, so that it can be asked for after a crash."""

import io
import json
import os
import random
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from hashlib import sha256
from pathlib import Path

from pydicom.uid import generate_uid
from pynetdicom import AE, build_role

from minipacs.dicom.data_set.part10 import file_meta
from minipacs.dicom.tables.transfer_syntaxes import EXPLICIT_VR_LITTLE_ENDIAN
from minipacs.pixels.transcode import fingerprint
from tests.support.modality import BEGUN, dataset, request
from tests.support.objects import ct, encode
from tests.support.sender import Sender
from tests.support.server import MINIPACS

SHARE_REPLACED = 0.15
MPPS = "1.2.840.10008.3.1.2.3.3"
COMMITMENT, WELL_KNOWN = "1.2.840.10008.1.20.1", "1.2.840.10008.1.20.1.1"
CLI_TIMEOUT_S = 30
CT = "1.2.840.10008.5.1.4.1.1.2"
RECEIVED = "user.minipacs.received"


class Acknowledged:
    """What was answered with success, by kind and name, with when; and what each sender had under way.

    `versions` holds for each SOP Instance UID the data sets that were acknowledged, in their order.
    """

    def __init__(self) -> None:
        self.versions: dict[str, list[tuple[float, bytes]]] = {}
        self.under_way: dict[str, bytes] = {}
        self.deleted: dict[str, float] = {}
        self.deleting: set[str] = set()
        self.rows: dict[str, dict[str, float]] = {"worklist": {}, "steps": {}, "commitments": {}}

    @property
    def stored(self) -> dict[str, bytes]:
        """Return the data set that was acknowledged last, by SOP Instance UID."""
        return {uid: versions[-1][1] for uid, versions in self.versions.items()}

    def send(self, port: int, title: str, seed: int, is_over: Callable[[], bool] = lambda: False) -> None:
        """Store and replace objects until the connection breaks, or it is over."""
        chance = random.Random(seed)
        known = []
        try:
            with Sender(port, calling=title.encode()) as sender:
                while not is_over():
                    if known and chance.random() < SHARE_REPLACED:
                        ds = chance.choice(known)
                        ds.PatientName = f"Again^{chance.random()}"
                    else:
                        ds = ct(rows=chance.choice((16, 64, 256)), PatientID=f"P{chance.randrange(9)}")
                        known.append(ds)
                    data = encode(ds)
                    self.under_way[title] = data
                    status = sender.store(ds).status
                    if status:
                        raise SystemExit(f"refused with {status:04X}")
                    self.versions.setdefault(ds.SOPInstanceUID, []).append((time.monotonic(), data))
        except (OSError, EOFError):
            pass

    def send_one(self, port: int) -> None:
        """Store one object."""
        answered = len(self.versions)
        self.send(port, "LAST", 0, lambda: len(self.versions) > answered)

    def remove(self, port: int, config: Path, is_over: Callable[[], bool] = lambda: False) -> None:
        """Store objects and delete each by command, until the daemon is gone, or it is over."""
        try:
            with Sender(port, calling=b"REMOVER") as sender:
                while not is_over():
                    ds = ct(PatientID="REMOVED")
                    sender.store(ds)
                    self.deleting.add(ds.SOPInstanceUID)
                    if _command("delete", "--config", config, "--yes", f"SOPInstanceUID={ds.SOPInstanceUID}"):
                        self.deleted[ds.SOPInstanceUID] = time.monotonic()
        except (OSError, EOFError):
            pass

    def schedule(self, config: Path, is_over: Callable[[], bool]) -> None:
        """Put items into the worklist by command, until it is over or the disk is gone."""
        number = 0
        while not is_over():
            number += 1
            name = f"A{number}"
            path = config.parent / "request.json"
            try:
                path.write_text(json.dumps(request(AccessionNumber=name, step={"ScheduledProcedureStepID": name})))
            except OSError:
                return
            if _command("worklist", "import", "--config", config, path):
                self.rows["worklist"][name] = time.monotonic()

    def perform(self, port: int, is_over: Callable[[], bool] = lambda: False) -> None:
        """Create performed procedure steps and ask for commitments until the connection breaks, or it is over."""
        ae = AE("CT1")
        ae.add_requested_context(MPPS)
        ae.add_requested_context(COMMITMENT)
        ae.dimse_timeout = ae.acse_timeout = 5
        roles = [build_role(COMMITMENT, scu_role=True, scp_role=False)]
        association = ae.associate("127.0.0.1", port, ae_title="MINIPACS", ext_neg=roles)
        while association.is_established and not is_over():
            uid, transaction = generate_uid(), generate_uid()
            reference = {"ReferencedSOPClassUID": CT, "ReferencedSOPInstanceUID": "1.2.3"}
            asked = {"TransactionUID": transaction, "ReferencedSOPSequence": [reference]}
            for kind, name, call in (
                ("steps", uid, lambda uid=uid: association.send_n_create(dataset(BEGUN), MPPS, uid)),
                (
                    "commitments",
                    transaction,
                    lambda asked=asked: association.send_n_action(dataset(asked), 1, COMMITMENT, WELL_KNOWN),
                ),
            ):
                try:
                    status, _ = call()
                except (RuntimeError, ValueError, OSError):
                    return
                if status and status.Status == 0:
                    self.rows[kind][name] = time.monotonic()

    def perform_one(self, port: int) -> None:
        """Create one performed procedure step, and ask for one commitment."""
        answered = len(self.rows["commitments"])
        self.perform(port, lambda: len(self.rows["commitments"]) > answered)

    def missing(self, data: Path, before: float = float("inf"), excused_s: float = 0) -> Iterator[str]:
        """Say what was acknowledged before a time and is not in a storage folder as it was.

        What came in the last `excused_s` may be as before that, too.
        """
        found, under_way = by_uid(data), tuple(self.under_way.values())
        for uid, versions in self.versions.items():
            due = [at for at, (when, _) in enumerate(versions) if when < before - excused_s]
            allowed = [content for _, content in versions[due[-1] if due else 0 :]]
            digest, availability = found.get(uid, ("", "no row"))
            if availability != "ONLINE":
                if due:
                    yield f"{uid}: {availability}"
            elif not _is_one_of(data / "objects" / digest[:2] / f"{digest}.dcm", (*allowed, *under_way)):
                yield f"{uid}: not the last one acknowledged"
        yield from self._missing_versions(data, before - excused_s)
        for uid, when in self.deleted.items():
            if when < before - excused_s and uid in found:
                yield f"{uid}: deleted, and there again"
        yield from self._missing_rows(data, before - excused_s)

    def _missing_versions(self, data: Path, before: float) -> Iterator[str]:
        """Say what was replaced and lies neither under its name nor in quarantine, in one form or another."""
        there = {digest for path in data.glob("*/**/*.dcm") for digest in (path.stem, _received_as(path))}
        for uid, versions in self.versions.items():
            for when, content in versions:
                digest = sha256(file_meta(CT, uid, EXPLICIT_VR_LITTLE_ENDIAN) + content).hexdigest()
                if when < before and digest not in there:
                    yield f"{uid}: a version that was acknowledged is nowhere"

    def _missing_rows(self, data: Path, before: float) -> Iterator[str]:
        with closing(sqlite3.connect(f"file:{data}/index.db?mode=ro", uri=True)) as index:
            there = {
                "worklist": "SELECT accession_number FROM workliststep",
                "steps": "SELECT sop_instance_uid FROM procedurestep",
                "commitments": "SELECT transaction_uid FROM commitment",
            }
            for kind, statement in there.items():
                names = {row[0] for row in index.execute(statement)}
                lost = [name for name, when in self.rows[kind].items() if when < before and name not in names]
                if lost:
                    yield f"{len(lost)} of {len(self.rows[kind])} {kind} are lost"


def _command(*words: object) -> bool:
    """Run a command; tells whether it did what it was asked."""
    command = [*MINIPACS, *map(str, words)]
    return subprocess.run(command, capture_output=True, timeout=CLI_TIMEOUT_S, check=False).returncode == 0


def _received_as(path: Path) -> str:
    """Return the digest of what a compressed file was made of, "" of another."""
    try:
        return os.getxattr(path, RECEIVED).decode()
    except OSError:
        return ""


def _is_one_of(path: Path, data_sets: tuple[bytes, ...]) -> bool:
    """Tell whether a file says one of these data sets, perhaps compressed."""
    raw = path.read_bytes()
    if raw.endswith(data_sets):
        return True
    meta = file_meta("1.2", "1.2.3", EXPLICIT_VR_LITTLE_ENDIAN)
    said = fingerprint(io.BytesIO(raw))
    return any(fingerprint(io.BytesIO(meta + data)) == said for data in data_sets)


def by_uid(data: Path) -> dict[str, tuple[str, str]]:
    """Read digest and availability of each instance by its SOP Instance UID."""
    with closing(sqlite3.connect(f"file:{data}/index.db?mode=ro", uri=True)) as index:
        return {uid: row for uid, *row in index.execute("SELECT sop_instance_uid, digest, availability FROM instance")}
