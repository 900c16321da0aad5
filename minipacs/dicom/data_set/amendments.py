"""Amendments: what is to be read otherwise than it was stored, beside objects that never change (PS3.3 C.12.1.1.9).

A document says what it amends, as that was called then, and the new values; or which other document it revokes. It is
about studies or parts of them, or about a patient with all objects that there are and that will come: a merge. What an
object says in the end follows from what it bears and from the documents alone, in the order of their times: so they can
be applied again whenever rows are lost.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from typing import Any, Literal, NamedTuple

from minipacs.dicom.tables.attributes import ATTRIBUTES, Attribute

Reason = Literal["CORRECT", "COERCE"]
"""Reason for the Attribute Modification (0400,0565): it was wrong, or was brought into line with something else."""

MAX_CHARS = 10240
"""Of a new value, several joined by backslashes."""

AMENDABLE: Mapping[str, Attribute] = {
    a.keyword: a
    for a in ATTRIBUTES
    if a.level != "IMAGE" and not a.computed and a.vr != "UI" and a.keyword != "TimezoneOffsetFromUTC"
}
"""What may be amended: keys of patients, studies and series, save UIDs, and what times of an object mean."""

NEVER_EMPTY = frozenset({"Modality"})
"""Of these, what has to have a value (type 1)."""


class Identity(NamedTuple):
    """What tells a patient from others; objects without an issuer are a patient of their own."""

    patient_id: str
    issuer: str = ""

    def __str__(self) -> str:
        return f"{self.patient_id}^^^{self.issuer}" if self.issuer else self.patient_id


class Part(NamedTuple):
    """What is amended: a study of a patient, one series of it, or without a study all of the patient."""

    study_instance_uid: str
    patient_id: str
    issuer: str
    series_instance_uid: str = ""

    def holds(self, values: Mapping[str, str]) -> bool:
        """Tell whether an object with these values, by keyword, is of this part."""
        return (
            self.study_instance_uid in ("", values.get("StudyInstanceUID", ""))
            and values.get("PatientID", "") == self.patient_id
            and values.get("IssuerOfPatientID", "") == self.issuer
            and self.series_instance_uid in ("", values.get("SeriesInstanceUID", ""))
        )


@dataclass(frozen=True, slots=True)
class Amendment:
    """One document. `values` are new texts by keyword, "" for none; `at` is in seconds since 1970.

    `revokes` is the id of another, which then counts no more; such a document has no values.
    """

    at: float
    by: str
    parts: tuple[Part, ...] = ()
    values: Mapping[str, str] | None = None
    reason: Reason = "CORRECT"
    source: str = ""
    revokes: str = ""

    def encode(self) -> bytes:
        """Write the document; equal ones have equal bytes."""
        document = {
            "at": self.at,
            "by": self.by,
            "parts": [list(part) for part in self.parts],
            "values": dict(sorted((self.values or {}).items())),
            "reason": self.reason,
            "source": self.source,
            "revokes": self.revokes,
        }
        return json.dumps(document, separators=(",", ":"), sort_keys=True).encode() + b"\n"

    @property
    def id(self) -> str:
        """Return what it is known by: the SHA-256 of the document, in hexadecimal."""
        return sha256(self.encode()).hexdigest()

    @property
    def studies(self) -> tuple[str, ...]:
        """Return the Study Instance UIDs that it is about."""
        return tuple(dict.fromkeys(part.study_instance_uid for part in self.parts if part.study_instance_uid))

    @property
    def merged(self) -> tuple[Identity, ...]:
        """Return the patients that it merges into another, none if it merges nobody."""
        return tuple(Identity(part.patient_id, part.issuer) for part in self.parts if not part.study_instance_uid)

    def holds(self, values: Mapping[str, str]) -> bool:
        """Tell whether it amends an object with these values."""
        return any(part.holds(values) for part in self.parts)


def check(keyword: str, text: str) -> None:
    """Raise ValueError, with the reason, for what may not be amended or not be so (PS3.5 6.2)."""
    attribute = AMENDABLE.get(keyword)
    if attribute is None:
        raise ValueError("cannot be amended: only keys of patients, studies and series can, save UIDs and sequences")
    if not text and keyword in NEVER_EMPTY:
        raise ValueError("must have a value")
    form = _FORMS[attribute.vr]
    if len(text) > MAX_CHARS:
        raise ValueError(f"may have {MAX_CHARS} characters")
    for value in text.split("\\") if attribute.multi else [text]:
        if "\\" in value and attribute.vr != "LT":
            raise ValueError("has one value: no backslash")
        if not form.pattern.fullmatch(value) or any(len(part) > form.max_chars for part in value.split("=")):
            raise ValueError(f"is of VR {attribute.vr}: {form.words}")
        if attribute.vr == "DA" and value:
            _check_date(value)
    allowed = _DEFINED.get(keyword)
    if allowed and text and text not in allowed:
        raise ValueError("is one of " + ", ".join(allowed))


def _check_date(value: str) -> None:
    try:
        datetime.strptime(value, "%Y%m%d")
    except ValueError:
        raise ValueError("there is no such date") from None


class _Form(NamedTuple):
    """How a value of a VR looks."""

    pattern: re.Pattern[str]
    max_chars: int
    words: str


_GROUP = r"[^\x00-\x1f\x7f=]*"
_PLAIN = r"[^\x00-\x1f\x7f]*"
_FORMS: Mapping[str, _Form] = {
    "AS": _Form(re.compile(r"(\d{3}[DWMY])?", re.ASCII), 4, "such as 042Y"),
    "CS": _Form(re.compile(r"[A-Z0-9_ ]*"), 16, "16 capital letters, digits, blanks and underscores"),
    "DA": _Form(re.compile(r"(\d{8})?", re.ASCII), 8, "a date such as 19700131"),
    "DS": _Form(re.compile(r"([+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?)?", re.ASCII), 16, "a decimal number"),
    "IS": _Form(re.compile(r"([+-]?\d+)?", re.ASCII), 12, "a whole number"),
    "LO": _Form(re.compile(_PLAIN), 64, "64 characters"),
    "LT": _Form(re.compile(r"[^\x00-\x08\x0b\x0e-\x1f\x7f]*"), 10240, "10240 characters"),
    "PN": _Form(
        re.compile(r"([^\x00-\x1f\x7f=]*)(=[^\x00-\x1f\x7f=]*){0,2}"),
        64,
        "up to three groups of 64 characters, joined by =",
    ),
    "SH": _Form(re.compile(_PLAIN), 16, "16 characters"),
    "TM": _Form(re.compile(r"(([01]\d|2[0-3])([0-5]\d([0-5]\d(\.\d{1,6})?)?)?)?", re.ASCII), 13, "such as 101500"),
}
_DEFINED: Mapping[str, tuple[str, ...]] = {"PatientSex": ("M", "F", "O"), "Laterality": ("R", "L")}


def decode(document: bytes) -> Amendment:
    """Read a document. Raises ValueError for what is none."""
    found = json.loads(document)
    try:
        reason = {"CORRECT": "CORRECT", "COERCE": "COERCE"}[found["reason"]]
        amendment = Amendment(
            at=float(found["at"]),
            by=_text(found["by"]),
            parts=tuple(Part(*map(_text, part)) for part in found["parts"]),
            values={_text(keyword): _text(value) for keyword, value in found["values"].items()},
            reason=reason,  # type: ignore[arg-type]  # one of the two
            source=_text(found["source"]),
            revokes=_text(found["revokes"]),
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError("no amendment") from error
    if amendment.values and not amendment.values.keys() <= AMENDABLE.keys():
        raise ValueError("an amendment of what may not be amended")
    if any(not whose.patient_id for whose in amendment.merged):
        raise ValueError("an amendment of all that has no Patient ID")
    return amendment


def apply(
    values: Mapping[str, str], amendments: Sequence[tuple[str, Amendment]]
) -> tuple[Mapping[str, str], tuple[str, ...]]:
    """Give what an object with these values says after amendments, in their order, and the ids of those it is of."""
    applied: list[str] = []
    for amendment_id, amendment in amendments:
        if amendment.holds(values):
            values = {**values, **(amendment.values or {})}
            applied.append(amendment_id)
    return values, tuple(applied)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError("no text")
    return value
