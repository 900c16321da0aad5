"""What becomes of a field of HL7 in DICOM: one function for each kind of value (IHE RAD TF-2 4.4, Appendix B).

Each is given the field, with its components numbered from the one that the mapping names, and returns text, or items of
a sequence; "" and () say that there is nothing.
"""

import re
from collections.abc import Callable
from typing import TypeAlias

from minipacs.dicom.data_set.values import MutableValues, Values
from minipacs.dicom.tables.dictionary import tag_named
from minipacs.dicom.tables.uids import is_uid
from minipacs.hl7.faults import DATA_TYPE, Refused
from minipacs.hl7.segments import Field

Value: TypeAlias = "str | tuple[Values, ...]"
Convert: TypeAlias = Callable[[Field], Value]

MAX_NAME_GROUP_LENGTH = 64
MAX_ITEMS = 20
"""Of one sequence."""

_SEXES = {"M": "M", "F": "F", "O": "O", "A": "O", "N": "O"}
_PRIORITIES = {"S": "STAT", "A": "HIGH", "P": "HIGH", "C": "HIGH", "R": "ROUTINE", "T": "MEDIUM"}
_GROUPS = ("A", "I", "P")
"""Name Representation Code: alphabetic, ideographic, phonetic (HL7 table 0465)."""
_CONTROL = re.compile(r"[\x00-\x1f\x7f]+")
_DATE = re.compile(r"(\d{4})(\d{2})(\d{2})")
_TIMESTAMP = re.compile(r"(\d{8})(\d{2}(?:\d{2}(?:\d{2}(?:\.\d{1,6})?)?)?)?\d*(?:[+-]\d{4})?")
_KINDS_OF_ENTITY = {"ISO": "ISO", "UUID": "UUID", "DNS": "DNS", "URI": "URI", "X400": "X400", "X500": "X500"}


def _plain(text: str) -> str:
    """Let a text be one value of one line: a backslash would separate values."""
    return _CONTROL.sub(" ", text).replace("\\", "_").strip()


def words(max_length: int = 64) -> Convert:
    """Make a function for text that may be cut."""
    return lambda field: _plain(field.text())[:max_length].rstrip()


def identifier(max_length: int) -> Convert:
    """Make a function for what names something: it is never cut. Raises Refused."""

    def convert(field: Field) -> str:
        found = field.text()
        if len(found) > max_length or found != _plain(found):
            raise Refused(DATA_TYPE, f"an identifier may have {max_length} characters, none of them a backslash")
        return found

    return convert


def lines(field: Field) -> str:
    """Keep line ends: for comments."""
    return field.text().replace("\\", "_")[:10240]


def uid(field: Field) -> str:
    """Take a UID. Raises Refused."""
    found = field.text()
    if found and not is_uid(found):
        raise Refused(DATA_TYPE, "a malformed UID")
    return found


def person(field: Field) -> str:
    """Make a name of one person: family^given^middle^prefix^suffix degree."""
    family, given, middle, suffix, prefix, degree = (_name_part(field.text(number)) for number in range(1, 7))
    name = "^".join([family, given, middle, prefix, f"{suffix} {degree}".strip()]).rstrip("^")
    if len(name) > MAX_NAME_GROUP_LENGTH:
        raise Refused(DATA_TYPE, f"a name may have {MAX_NAME_GROUP_LENGTH} characters")
    return name


def performer(field: Field) -> str:
    """Make a name of an NDL, whose first component holds a person: number, family, given, middle, suffix, prefix."""
    family, given, middle, suffix, prefix, degree = (_name_part(field.text(1, number)) for number in range(2, 8))
    return "^".join([family, given, middle, prefix, f"{suffix} {degree}".strip()]).rstrip("^")[:MAX_NAME_GROUP_LENGTH]


def patient_name(field: Field) -> str:
    """Make a patient's name of its representations: alphabetic, ideographic, phonetic."""
    groups: dict[str, str] = {}
    for name in field.repetitions():
        groups.setdefault(name.text(8) or "A", person(name))
    return "=".join(groups.get(code, "") for code in _GROUPS).rstrip("=")


def _name_part(text: str) -> str:
    return re.sub(r"[\^=]", " ", _plain(text)).strip()


def date(field: Field) -> str:
    """Take the day of a time stamp; one that says no day is none."""
    found = _DATE.match(field.text())
    return found[0] if found and "01" <= found[2] <= "12" and "01" <= found[3] <= "31" else ""


def start_date(field: Field) -> str:
    """Take the day of a time stamp. Raises Refused."""
    return _timestamp(field)[0]


def start_time(field: Field) -> str:
    """Take the time of a time stamp, midnight if it says none; its zone is dropped. Raises Refused."""
    day, time = _timestamp(field)
    return time or ("000000" if day else "")


def _timestamp(field: Field) -> tuple[str, str]:
    text = field.text()
    found = _TIMESTAMP.fullmatch(text)
    if text and not found:
        raise Refused(DATA_TYPE, "a time stamp must be YYYYMMDD[HH[MM[SS]]]")
    return (found[1], found[2] or "") if found else ("", "")


def sex(field: Field) -> str:
    """Take a sex; what DICOM has no code for is left empty."""
    return _SEXES.get(field.text().upper(), "")


def priority(field: Field) -> str:
    """Take a priority."""
    return _PRIORITIES.get(field.text()[:1].upper(), "")


def pregnancy(field: Field) -> str:
    """Take B6, pregnant, of the ambulatory statuses (HL7 table 0009)."""
    return "3" if any(status.text() == "B6" for status in field.repetitions()) else ""


def location(field: Field) -> str:
    """Join point of care, room and bed."""
    return "^".join(_plain(field.text(number)) for number in (1, 2, 3)).rstrip("^")[:64]


def address(field: Field) -> str:
    """Join the lines of an address."""
    parts = (_plain(field.text(number)) for number in range(1, 7))
    return ", ".join(filter(None, parts))[:64]


def titles(field: Field) -> str:
    """Take AE titles, each a repetition. Raises Refused."""
    found = [title for title in map(identifier(16), field.repetitions()) if title]
    return "\\".join(map(str, found))


def many(field: Field) -> str:
    """Take short texts, each a repetition."""
    return "\\".join(filter(None, (str(words(16)(each)) for each in field.repetitions())))


def code(field: Field) -> tuple[Values, ...]:
    """Make an item of a code: all of value, meaning and scheme, or none."""
    value, meaning, scheme = (_plain(field.text(number)) for number in (1, 2, 3))
    if not (value and meaning and scheme) or len(value) > 16 or len(scheme) > 16:
        return ()
    return ({_CODE_VALUE: value, _CODING_SCHEME: scheme, _CODE_MEANING: meaning[:64]},)


def issuer(field: Field) -> tuple[Values, ...]:
    """Make an item of whoever gives numbers out: a namespace, or a universal identifier with its type."""
    return _issuer(field.text(1), field.text(2), field.text(3))


def issuer_within(field: Field) -> tuple[Values, ...]:
    """Make the same of an assigning authority, whose parts are subcomponents."""
    return _issuer(field.text(1, 1), field.text(1, 2), field.text(1, 3))


def _issuer(namespace: str, universal: str, kind: str) -> tuple[Values, ...]:
    found: MutableValues = {}
    if namespace:
        found[_LOCAL_ENTITY] = _plain(namespace)
    if universal and kind in _KINDS_OF_ENTITY:
        found |= {_UNIVERSAL_ENTITY: _plain(universal), _UNIVERSAL_TYPE: _KINDS_OF_ENTITY[kind]}
    return (found,) if found else ()


_CODE_VALUE, _CODING_SCHEME, _CODE_MEANING = map(tag_named, ("CodeValue", "CodingSchemeDesignator", "CodeMeaning"))
_LOCAL_ENTITY, _UNIVERSAL_ENTITY, _UNIVERSAL_TYPE = map(
    tag_named, ("LocalNamespaceEntityID", "UniversalEntityID", "UniversalEntityIDType")
)
