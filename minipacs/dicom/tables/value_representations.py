"""Value representations: length fields, text rules and binary numbers (PS3.5 6.2, 7.1.2)."""

import struct

_SHORT_STRINGS = frozenset({"AE", "AS", "CS", "DA", "DS", "DT", "IS", "LO", "LT", "PN", "SH", "ST", "TM", "UI"})

SHORT_VRS = _SHORT_STRINGS | {"AT", "FD", "FL", "SL", "SS", "UL", "US"}
"""VRs with a 16 bit length in explicit encoding; all others, also those still to be defined, have one of 32 bits."""

MAX_SHORT_LENGTH = 0xFFFE
"""The most even one that their 16 bits can tell."""

SHORT_VR_CODES = frozenset(vr.encode() for vr in SHORT_VRS)
"""The same, as they are written."""

TEXT_VRS = frozenset({"LO", "LT", "PN", "SH", "ST", "UC", "UT"})
"""VRs that Specific Character Set governs (PS3.5 6.1.2.2)."""

SINGLE_VALUED_VRS = frozenset({"LT", "ST", "UR", "UT"})
"""Text VRs where a backslash is a plain character."""

NUMBER_FORMATS = {"US": "H", "SS": "h", "UL": "I", "SL": "i", "UV": "Q", "SV": "q", "FL": "f", "FD": "d"}
"""VRs of binary numbers, with the letter of the `struct` module for one of them."""


def read_numbers(raw: bytes, vr: str, *, big_endian: bool = False) -> str:
    """Give binary numbers as decimal text, joined by backslashes; "" if their length is impossible."""
    letter = NUMBER_FORMATS[vr]
    count, rest = divmod(len(raw), struct.calcsize("=" + letter))
    if rest:
        return ""
    return "\\".join(map(str, struct.unpack(f"{'>' if big_endian else '<'}{count}{letter}", raw)))


def pack_numbers(text: str, vr: str) -> bytes:
    """Give decimal text, joined by backslashes, as little endian numbers; nothing if one of them cannot be held."""
    letter = NUMBER_FORMATS[vr]
    kind = float if letter in "fd" else int
    try:
        numbers = [kind(value) for value in text.split("\\")]
        return struct.pack(f"<{len(numbers)}{letter}", *numbers)
    except (ValueError, OverflowError, struct.error):
        return b""
