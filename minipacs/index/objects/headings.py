"""One object sorted into rows: its attributes by level, and the heading that its parents can be made of again."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import NamedTuple

from minipacs.dicom.data_set.amendments import Amendment, apply
from minipacs.dicom.matching import temporal
from minipacs.dicom.tables.attributes import BY_KEYWORD, Level
from minipacs.dicom.tables.keys import KeyTable
from minipacs.dicom.text.person_name import fold, groups
from minipacs.dicom.text.storable import storable
from minipacs.index.objects.models import LEVEL_COLUMNS, PERSON
from minipacs.index.objects.rare import RareRows, rare_rows

DIGEST_BYTES = 16


class HeadingText(NamedTuple):
    """What an object says of its patient, study and series; see `models.Heading`."""

    digest: bytes
    keywords: tuple[str, ...]
    texts: tuple[str, ...]
    received_texts: tuple[str, ...] = ()
    amendments: str = ""

    @property
    def document(self) -> str:
        """Return it as it is kept: most objects have a heading that is kept already."""
        return _document(self.keywords, self.texts)

    @property
    def received(self) -> str:
        """Return what the objects bear themselves, if that was amended, else ""."""
        return _document(self.keywords, self.received_texts) if self.amendments else ""


def _document(keywords: Sequence[str], texts: Sequence[str]) -> str:
    found = {keyword: text for keyword, text in zip(keywords, texts, strict=True) if text}
    return json.dumps(found, separators=(",", ":"))


@dataclass(frozen=True, slots=True)
class ObjectRows:
    """The attributes of one object by level: those with a column in the order of LEVEL_COLUMNS, and the others."""

    columns: Mapping[Level, tuple[str, ...]]
    rare: RareRows
    heading: HeadingText

    def __getitem__(self, level: Level) -> tuple[str, ...]:
        return self.columns[level]

    @property
    def path(self) -> tuple[str, str, str, str]:
        """Return what decides under which rows it stands: Study UID, Patient ID, its issuer, Series UID."""
        return (
            value_of(self, "StudyInstanceUID"),
            value_of(self, "PatientID"),
            value_of(self, "IssuerOfPatientID"),
            value_of(self, "SeriesInstanceUID"),
        )

    @property
    def person(self) -> tuple[str, ...]:
        """Return the values of PERSON in the form in which equal ones are equal."""
        return compared_person([value_of(self, keyword) for keyword in PERSON])


def object_rows(
    received: Mapping[str, str], keys: KeyTable, amendments: Sequence[tuple[str, Amendment]] = ()
) -> ObjectRows:
    """Sort the values of an object, by keyword, into rows: as they are after amendments, given with their ids."""
    values, applied = apply(received, amendments)
    columns = {level: LEVEL_COLUMNS[level].attributes(values) for level in _LEVELS_READ}
    columns["PATIENT"] = columns["STUDY"][-len(LEVEL_COLUMNS["PATIENT"].keywords) :]
    texts = tuple([values.get(keyword, "") for keyword in keys.above])
    before = tuple([received.get(keyword, "") for keyword in keys.above]) if applied else ()
    whole = repr((texts, before, applied) if applied else texts)
    digest = blake2b(whole.encode(), digest_size=DIGEST_BYTES).digest()
    heading = HeadingText(digest, keys.above, texts, before, ",".join(applied))
    return ObjectRows(columns, rare_rows(values, keys), heading)


_LEVELS_READ: tuple[Level, ...] = ("STUDY", "SERIES", "IMAGE")
"""A study has all that its patient has, and in the same order, at its end."""


def rows_above(document: str, keys: KeyTable) -> ObjectRows:
    """Sort the document of a heading into the rows above instances."""
    return object_rows(json.loads(document), keys)


_PLACES = {
    keyword: (level, i) for level, columns in LEVEL_COLUMNS.items() for i, keyword in enumerate(columns.keywords)
}


def value_of(objects: ObjectRows, keyword: str) -> str:
    """Pick one attribute."""
    level, i = _PLACES[keyword]
    return objects[level][i]


def person_of_document(document: str) -> list[str]:
    """Pick the values of PERSON from a heading."""
    values = json.loads(document)
    return [storable(values.get(keyword, "")) for keyword in PERSON]


def compared_person(values: Sequence[str]) -> tuple[str, ...]:
    """Give values of PERSON in the form in which equal ones are equal."""
    return tuple(_compared(BY_KEYWORD[k].vr, text) for k, text in zip(PERSON, values, strict=True))


def _compared(vr: str, text: str) -> str:
    """Names are compared by their first group that is there, whatever their case, accents and padding."""
    if vr == "PN":
        return next(filter(None, groups(fold(text).split("\\")[0])), "")
    return temporal.date(text) if vr == "DA" else text


def join_sorted(values: Sequence[str]) -> str:
    """Join values, sorted, each once, leaving out empty ones."""
    return "\\".join(sorted({value for value in values if value}))
