"""What the index is told of a stored file, and what it answers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Literal, NamedTuple

from minipacs.dicom.data_set.amendments import Amendment
from minipacs.dicom.tables.attributes import UNIQUE_KEY
from minipacs.dicom.tables.keys import KeyTable
from minipacs.errors import Failure, Kind
from minipacs.index.objects.headings import ObjectRows, object_rows, value_of

Duplicates = Literal["replace", "keep", "reject"]


class Outcome(Enum):
    """What became of a record."""

    ADDED = "added"
    SAME = "same"
    REPLACED = "replaced"
    KEPT = "kept"
    REJECTED = "rejected"


class Placed(NamedTuple):
    """The answer to `add`.

    `displaced_digest` is the file that gave way: the old one if REPLACED, the new one if KEPT, the new one, too, if
    SAME and the row's file is a compressed form of it; else "". `moved` tells that the record names another study,
    series or patient than those its SOP Instance UID was found under.
    """

    outcome: Outcome
    displaced_digest: str = ""
    moved: bool = False


@dataclass(frozen=True, slots=True)
class InstanceRecord:
    """One stored file, as the index is told of it.

    `values` are Unicode text by keyword, several values joined by backslashes, "" or missing if absent. `digest` is
    the hexadecimal SHA-256 of the whole file, `received_at` is in seconds since 1970. `received_digest` is that of a
    row that is made anew.
    """

    values: Mapping[str, str]
    sop_class_uid: str
    sop_instance_uid: str
    transfer_syntax_uid: str
    digest: str
    size_bytes: int
    received_at: float
    source: str
    received_digest: str = ""

    def object_rows(self, keys: KeyTable, amendments: Sequence[tuple[str, Amendment]] = ()) -> ObjectRows:
        """Sort the values, amended, into rows. Raises Failure MISSING with the tag if a UID is missing."""
        uids = {"SOPClassUID": self.sop_class_uid, "SOPInstanceUID": self.sop_instance_uid}
        objects = object_rows({**self.values, **uids}, keys, amendments)
        for level in ("STUDY", "SERIES", "IMAGE"):
            key = UNIQUE_KEY[level]
            if not value_of(objects, key.keyword):
                raise Failure(Kind.MISSING, f"{key.keyword} missing", (key.tag,))
        return objects


class Form(NamedTuple):
    """What an instance is stored as: its file, and the one indexed attribute that depends on its transfer syntax."""

    digest: str
    size_bytes: int
    transfer_syntax_uid: str
    photometric_interpretation: str
