"""A stored data set as the DICOM JSON Model (PS3.18 F.2), read from its file without what is bulky.

All text is Unicode, whatever it is stored in. Nothing in a data set makes this fail but a broken structure: a number
that is none stays the text that it is, and what JSON cannot say at all is bulk data.
"""

import json
import math
import struct
from base64 import b64encode
from collections.abc import Callable, Sequence
from decimal import Decimal, InvalidOperation
from typing import Any, BinaryIO

from minipacs.dicom.data_set.values import Values, vr_of
from minipacs.dicom.tables.attributes import SPECIFIC_CHARACTER_SET
from minipacs.dicom.tables.transfer_syntaxes import TransferSyntax
from minipacs.dicom.tables.value_representations import NUMBER_FORMATS, SINGLE_VALUED_VRS, TEXT_VRS
from minipacs.dicom.text import charset
from minipacs.pixels.elements import ElementReader, Event, Kind, swap_words

MAX_INLINE_BYTES = 1024
"""Binary values up to this size stand in the document; longer ones are bulk data."""

MAX_TEXT_BYTES = 65536
"""Texts and lists of numbers up to this size do."""

MAX_EXACT_INTEGER = (1 << 53) - 1
"""What a reader that knows only doubles takes without loss."""

Model = dict[str, Any]
BulkDataUri = Callable[[str], str]
"""Gives the URI of the element at a path: tags and numbers of items from 1, with slashes between them."""

_BINARY = frozenset({"OB", "OD", "OF", "OL", "OV", "OW", "UN"})
_STRINGS = TEXT_VRS | {"AE", "AS", "CS", "DA", "DT", "TM", "UI", "UR"}
_AS_THEY_ARE = _STRINGS - {"PN"}
_VRS = _STRINGS | _BINARY | NUMBER_FORMATS.keys() | {"AT", "DS", "IS"}
_ANY_PIXEL_DATA = frozenset({0x7FE00008, 0x7FE00009, 0x7FE00010})
_NOT_OF_DATA_SETS = frozenset({0x0000, 0x0002, 0x0004, 0x0006})
"""Groups of commands, File Meta and directories (PS3.18 F.2.2)."""
_NAME_GROUPS = ("Alphabetic", "Ideographic", "Phonetic")


class _Level:
    """One data set on the way down: its document, its character sets, and where it stands."""

    def __init__(self, path: str, charsets: Sequence[str]) -> None:
        self.document: Model = {}
        self.path = path
        self.charsets = charsets


def read_model(
    file: BinaryIO, transfer_syntax: TransferSyntax, bulk_data_uri: BulkDataUri, default_charset: str = ""
) -> Model:
    """Read the data set that starts where `file` stands; `default_charset` is assumed if it names none.

    Raises TranscodeError if it is malformed.
    """
    reader = ElementReader(file, transfer_syntax)
    level = top = _Level("", charset.terms(default_charset))
    above: list[tuple[_Level, list[Model]]] = []
    for event in reader.walk():
        match event.kind:
            case Kind.SEQUENCE:
                items: list[Model] = []
                level.document[f"{event.tag:08X}"] = {"vr": "SQ", "Value": items}
                above.append((level, items))
            case Kind.ITEM:
                outer, items = above[-1]
                tag = next(reversed(outer.document))
                level = _Level(f"{outer.path}{tag}/{len(items) + 1}/", outer.charsets)
                items.append(level.document)
            case Kind.ITEM_END:
                level = above[-1][0]
            case Kind.SEQUENCE_END:
                level, items = above.pop()
                if not items:
                    del level.document[next(reversed(level.document))]["Value"]
            case Kind.FRAGMENTS:
                for _ in reader.fragments():
                    pass
                level.document[f"{event.tag:08X}"] = {"vr": "OB", **_bulk(event.tag, level, bulk_data_uri)}
            case Kind.ELEMENT:
                _add(reader, event, level, bulk_data_uri)
    return dict(sorted(top.document.items()))


def _add(reader: ElementReader, event: Event, level: _Level, bulk_data_uri: BulkDataUri) -> None:
    """Add one element to its data set, unless it is a group length or of the groups that are no part of it."""
    if not event.tag & 0xFFFF or event.tag >> 16 in _NOT_OF_DATA_SETS:
        return
    vr = event.vr.decode("latin-1")
    if vr != "SQ" and vr not in _VRS:
        vr = "UN"
    found: Model = {"vr": vr}
    level.document[f"{event.tag:08X}"] = found
    if not event.length:
        return
    is_binary = vr in _BINARY
    if event.tag in _ANY_PIXEL_DATA or event.length > (MAX_INLINE_BYTES if is_binary else MAX_TEXT_BYTES):
        found |= _bulk(event.tag, level, bulk_data_uri)
        return
    raw = reader.read(event.length) if event.value is None else event.value
    if event.big_endian:
        raw = swap_words(raw, event.vr, event.tag)
    if is_binary:
        found["InlineBinary"] = b64encode(raw).decode("ascii")
    elif vr in NUMBER_FORMATS:
        numbers = _binary_numbers(raw, vr)
        found |= _bulk(event.tag, level, bulk_data_uri) if numbers is None else {"Value": numbers}
    elif vr == "AT":
        found["Value"] = [
            f"{group:04X}{element:04X}" for group, element in struct.iter_unpack("<HH", raw[: len(raw) & ~3])
        ]
    elif event.tag == SPECIFIC_CHARACTER_SET:
        level.charsets = charset.terms(raw.decode("ascii", "replace"))
        found["Value"] = list(charset.UTF_8)
    else:
        values = _texts(charset.decode(raw, level.charsets, vr), vr)
        if values:
            found["Value"] = values


def _bulk(tag: int, level: _Level, bulk_data_uri: BulkDataUri) -> Model:
    return {"BulkDataURI": bulk_data_uri(f"{level.path}{tag:08X}")}


def _binary_numbers(raw: bytes, vr: str) -> list[Any] | None:
    """Give the numbers of a value in little endian; None if JSON has no way to write one of them."""
    letter = NUMBER_FORMATS[vr]
    size = struct.calcsize("=" + letter)
    numbers = [number for (number,) in struct.iter_unpack("<" + letter, raw[: len(raw) // size * size])]
    if letter in "fd":
        return numbers if all(map(math.isfinite, numbers)) else None
    return [number if abs(number) <= MAX_EXACT_INTEGER else str(number) for number in numbers]


def values_of_text(text: str, vr: str) -> Model:
    """Give what stands beside the VR for a value as the index has it: text, numbers in decimal."""
    if vr in NUMBER_FORMATS:
        values = [_decimal(one) if vr in ("FL", "FD") else _integer(one) for one in text.split("\\") if one]
    elif vr == "AT":
        values = [value for value in text.split("\\") if value]
    else:
        values = _texts(text, vr)
    return {"Value": values} if values else {}


write: Callable[[object], str] = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode
"""Writes JSON; numbers that it has no word for are an error."""


def written_element(text: str, vr: str) -> str:
    """Write an element of such a value: most are one string, which needs no more than its quotes."""
    if not text:
        return f'{{"vr":"{vr}"}}'
    if vr in _AS_THEY_ARE and "\\" not in text:
        return f'{{"vr":"{vr}","Value":[{json.encoder.encode_basestring(text)}]}}'
    return write({"vr": vr, **values_of_text(text, vr)})


def values_of_items(items: Sequence[Values], picked: frozenset[int] | None = None) -> Model:
    """Give the same for the items of a sequence; of each only the attributes `picked`, if any are."""
    found = [model_of_values({tag: v for tag, v in item.items() if not picked or tag in picked}) for item in items]
    return {"Value": found} if found else {}


def model_of_values(values: Values) -> Model:
    """Give a small data set."""
    found: Model = {}
    for tag, value in sorted(values.items()):
        vr = "SQ" if not isinstance(value, str) else vr_of(tag)
        found[f"{tag:08X}"] = {
            "vr": vr,
            **(values_of_text(value, vr) if isinstance(value, str) else values_of_items(value)),
        }
    return found


def _texts(text: str, vr: str) -> list[Any]:
    if not text:
        return []
    values = [text] if vr in SINGLE_VALUED_VRS else text.split("\\")
    if vr == "PN":
        return [_name(value) for value in values]
    if vr == "DS":
        return [_decimal(value) for value in values]
    if vr == "IS":
        return [_integer(value) for value in values]
    return [value or None for value in values]


def _name(value: str) -> dict[str, str] | None:
    """Sort the component groups of a name; extra ones are no part of it (PS3.5 6.2.1)."""
    groups = zip(_NAME_GROUPS, value.split("="), strict=False)
    return {name: group for name, group in groups if group} or None


def _integer(value: str) -> int | str | None:
    try:
        number = int(value)
    except ValueError:
        return value or None
    return number if abs(number) <= MAX_EXACT_INTEGER and value.isascii() and "_" not in value else value


def _decimal(value: str) -> float | str | None:
    """Give a number if a double holds all of its digits, else the text (F.2.3)."""
    try:
        number = float(value)
        is_exact = math.isfinite(number) and Decimal(repr(number)) == Decimal(value)
    except (ValueError, InvalidOperation):
        return value or None
    return number if is_exact and "_" not in value else value
