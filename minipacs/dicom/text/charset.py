"""Text of data elements to Unicode and back, by Specific Character Set (PS3.3 C.12.1.1.2, PS3.5 6.1).

Reading never fails: what cannot be understood becomes U+FFFD, and terms nobody defined read like Latin-1. Writing is
strict: `encode` gives None for what does not fit. Both share one table of code elements, so that each is the inverse
of the other.
"""

import itertools
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

from minipacs.dicom.tables.attributes import SPECIFIC_CHARACTER_SET
from minipacs.dicom.tables.value_representations import SINGLE_VALUED_VRS, TEXT_VRS
from minipacs.errors import Failure, Kind

UTF_8 = ("ISO_IR 192",)
"""The character set that holds every text."""

_LEADING_SPACES_KEPT = SINGLE_VALUED_VRS | {"PN", "UC"}
_REPLACEMENT = "\ufffd"
_ESC = 0x1B
_MAX_REPERTOIRES = 64

MAX_TERMS = 16
"""Terms of one Specific Character Set that are looked at; no code extension scheme makes use of as many."""


@dataclass(frozen=True, eq=False)
class _CodeElement:
    """A set of characters that an escape sequence puts in place as G0 (bytes 00-7F) or G1 (bytes 80-FF).

    `codec` is Python's for ASCII and this G1 together, if it has one.
    """

    escape: bytes
    width: int
    first: int
    last: int
    read: Callable[[bytes], str]
    codec: str = ""

    @property
    def is_g1(self) -> bool:
        return self.first >= 0x80

    @cached_property
    def chars(self) -> dict[bytes, str]:
        """Every code of the set, with its character."""
        table = {}
        for code in map(bytes, itertools.product(range(self.first, self.last + 1), repeat=self.width)):
            try:
                char = self.read(code)
            except UnicodeDecodeError:
                continue
            if len(char) == 1:
                table[code] = char
        return table

    @cached_property
    def codes(self) -> dict[str, bytes]:
        return {char: code for code, char in self.chars.items()}


def _latin(final: bytes, codec: str) -> _CodeElement:
    return _CodeElement(b"\x1b-" + final, 1, 0xA0, 0xFF, lambda code: code.decode(codec), codec)


def _high(code: bytes) -> bytes:
    return bytes(byte | 0x80 for byte in code)


def _read_gb2312(code: bytes) -> str:
    """Python's gb2312 turns the interpunct of foreign names into a Japanese one; its gbk, a superset, does not."""
    code.decode("gb2312")
    return code.decode("gbk")


_ROMAJI_TERMS = frozenset({"ISO_IR 13", "ISO 2022 IR 13"})
_ROMAJI_CHARS = {b"\\": "¥", b"~": "‾", b"\x1b": ""}

_ASCII = _CodeElement(b"\x1b(B", 1, 0x00, 0x7F, lambda code: "" if code[0] == _ESC else code.decode("ascii"))
_ROMAJI = _CodeElement(b"\x1b(J", 1, 0x00, 0x7F, lambda code: _ROMAJI_CHARS.get(code, code.decode("ascii")))
_KATAKANA = _CodeElement(b"\x1b)I", 1, 0xA1, 0xDF, lambda code: code.decode("shift_jis"))
_LATIN_1 = _latin(b"A", "iso8859_1")
_JIS_X_0208 = _CodeElement(b"\x1b$B", 2, 0x21, 0x7E, lambda code: _high(code).decode("euc_jp"))
_JIS_X_0212 = _CodeElement(
    b"\x1b$(D", 2, 0x21, 0x7E, lambda code: (b"\x8f" + _high(code)).decode("euc_jp").replace("~", "～")
)
_KS_X_1001 = _CodeElement(b"\x1b$)C", 2, 0xA1, 0xFE, lambda code: code.decode("euc_kr"))
_GB_2312 = _CodeElement(b"\x1b$)A", 2, 0xA1, 0xFE, _read_gb2312)

_TERMS: dict[str, tuple[_CodeElement, ...]] = {
    "": (_ASCII,),
    "6": (_ASCII,),
    "13": (_ROMAJI, _KATAKANA),
    "58": (_GB_2312,),
    "87": (_JIS_X_0208,),
    "100": (_ASCII, _LATIN_1),
    "101": (_ASCII, _latin(b"B", "iso8859_2")),
    "109": (_ASCII, _latin(b"C", "iso8859_3")),
    "110": (_ASCII, _latin(b"D", "iso8859_4")),
    "126": (_ASCII, _latin(b"F", "iso8859_7")),
    "127": (_ASCII, _latin(b"G", "iso8859_6")),
    "138": (_ASCII, _latin(b"H", "iso8859_8")),
    "144": (_ASCII, _latin(b"L", "iso8859_5")),
    "148": (_ASCII, _latin(b"M", "iso8859_9")),
    "149": (_KS_X_1001,),
    "159": (_JIS_X_0212,),
    "166": (_ASCII, _latin(b"T", "tis_620")),
    "203": (_ASCII, _latin(b"b", "iso8859_15")),
}
"""ISO registration number to code elements, G0 before G1 (PS3.3 Tables C.12-2 to C.12-4)."""

_STAND_ALONE = {"192": "utf_8", "GB18030": "gb18030", "GBK": "gbk"}
"""Character sets without code extensions (PS3.3 Table C.12-5)."""

_SPELLING = re.compile(r"(?:ISO[ _-]?(?:2022[ _-]?)?(?:IR[ _-]?)?(\d+|GBK)|(GBK|GB18030))?", re.ASCII)
_BY_ESCAPE = {element.escape: element for row in _TERMS.values() for element in row} | {b"\x1b$@": _JIS_X_0208}
_ESCAPE = re.compile(b"(" + b"|".join(map(re.escape, _BY_ESCAPE)) + b")")

# The characters before which the first character set is active again (PS3.5 6.1.2.5.3).
_CONTROLS = "".join(chr(code) for code in range(0x20) if code != _ESC)
_DELIMITERS = {"PN": _CONTROLS + "\\^=", **dict.fromkeys(SINGLE_VALUED_VRS, _CONTROLS)}
_OTHER_DELIMITERS = _CONTROLS + "\\"


def _run_up_to(delimiters: str) -> re.Pattern[bytes]:
    return re.compile(b"[^" + re.escape(delimiters.encode("ascii")) + b"]*")


_NARROW_RUNS = {vr: _run_up_to(delimiters) for vr, delimiters in _DELIMITERS.items()}
_NARROW_RUN = _run_up_to(_OTHER_DELIMITERS)
_WIDE_RUN = re.compile(rb"(?:[\x21-\x7e]{2}|[\x20\x80-\xff])*")
_UNITS = {
    (wide_g0, wide_g1): re.compile(
        (rb"[\x21-\x7e]{2}|" if wide_g0 else b"") + (rb"[\xa1-\xfe]{2}|" if wide_g1 else b"") + b".", re.DOTALL
    )
    for wide_g0 in (False, True)
    for wide_g1 in (False, True)
}


@dataclass(frozen=True, slots=True)
class _Repertoire:
    """What the terms of one Specific Character Set amount to.

    `codec` reads values without escape sequences ("" if none of Python's does); `stand_alone` ones have no others.
    `read_g1` also serves peers that omit the designation; `g1` is what the first term designates, None if nothing.
    """

    codec: str
    g0: _CodeElement
    g1: _CodeElement | None
    read_g1: _CodeElement
    elements: tuple[_CodeElement, ...]
    stand_alone: bool = False


def _number(term: str) -> str:
    """Give the key of a term in `_TERMS` or `_STAND_ALONE`; "?" or another that is in neither if nobody defined it."""
    match = _SPELLING.fullmatch(term)
    return match[1] or match[2] or "" if match else "?"


@lru_cache(_MAX_REPERTOIRES)
def _repertoire(charsets: tuple[str, ...]) -> _Repertoire:
    numbers = [_number(term) for term in charsets]
    for number in numbers:
        if number in _STAND_ALONE:
            return _Repertoire(_STAND_ALONE[number], _ASCII, None, _LATIN_1, (), stand_alone=True)
    first = _TERMS.get(numbers[0] if numbers else "", (_ASCII,))
    g0 = first[0] if first[0].width == 1 and not first[0].is_g1 else _ASCII
    g1 = next((element for element in first if element.is_g1 and element.width == 1), None)
    elements = tuple(dict.fromkeys((g0, *(element for number in numbers for element in _TERMS.get(number, ())))))
    read_g1 = g1 or next((element for element in elements if element.is_g1), _LATIN_1)
    codec = read_g1.codec if g0 is _ASCII else ""
    return _Repertoire(codec, g0, g1, read_g1, elements)


def terms(value: str) -> tuple[str, ...]:
    """Split the value of (0008,0005) into its terms, in the standard's spelling where the slip is plain.

    A value without any term gives an empty tuple, as if the element were absent. A term that allows no others stands
    alone. Unknown terms are kept as they are.
    """
    parts = [part.strip(" \0").upper() for part in value.split("\\", MAX_TERMS)[:MAX_TERMS]]
    if not any(parts):
        return ()
    extended = len(parts) > 1
    spelled = []
    for part in parts:
        number = _number(part)
        if number in _STAND_ALONE:
            return ("ISO_IR 192",) if number == "192" else (number,)
        known = part and number in _TERMS
        prefix = "ISO 2022 IR " if extended or "2022" in part else "ISO_IR "
        spelled.append(prefix + number if known else part)
    return tuple(spelled)


def unknown(charsets: Iterable[str]) -> tuple[str, ...]:
    """List the terms that the standard does not define."""
    return tuple(term for term in charsets if _number(term) not in _TERMS.keys() | _STAND_ALONE.keys())


def check(charsets: Iterable[str]) -> None:
    """Refuse an identifier whose character set is unknown.

    Raises Failure UNKNOWN_CHARSET with (0008,0005).
    """
    if unknown(charsets):
        raise Failure(Kind.UNKNOWN_CHARSET, "Specific Character Set is not supported", (SPECIFIC_CHARACTER_SET,))


def decode(raw: bytes, charsets: Sequence[str], vr: str) -> str:
    """Read a value; several values stay joined by backslashes.

    Padding is stripped from each value: trailing spaces, NULs, and leading spaces where the VR gives them no meaning.
    A backslash in the result separates values (save in `SINGLE_VALUED_VRS`): one inside a character of two bytes does
    not show up as such. `charsets` come from `terms`, none for the default repertoire. Never raises.
    Source: PS3.5 6.1.2.5, 6.2.
    """
    if vr not in TEXT_VRS:
        text = raw.decode("ascii", "replace")
    elif raw.isascii() and b"\x1b" not in raw and not (charsets and charsets[0] in _ROMAJI_TERMS):
        text = raw.decode("ascii")
    else:
        text = _decode_text(raw, _repertoire(tuple(charsets)), vr)
    if "\0" in text:
        text = text.replace("\0", "")
    if vr in _LEADING_SPACES_KEPT:
        if "\\" in text and vr not in SINGLE_VALUED_VRS:
            return "\\".join([value.rstrip(" ") for value in text.split("\\")])
        return text.rstrip(" ")
    if "\\" in text:
        return "\\".join([value.strip(" ") for value in text.split("\\")])
    return text.strip(" ")


def _decode_text(raw: bytes, repertoire: _Repertoire, vr: str) -> str:
    if repertoire.codec and (repertoire.stand_alone or b"\x1b" not in raw):
        return raw.decode(repertoire.codec, "replace")
    narrow_run = _NARROW_RUNS.get(vr, _NARROW_RUN)
    g0, g1 = repertoire.g0, repertoire.read_g1
    out: list[str] = []
    for part in _ESCAPE.split(raw):
        if element := _BY_ESCAPE.get(part):
            g0, g1 = (g0, element) if element.is_g1 else (element, g1)
            continue
        position = 0
        while position < len(part):
            pattern = narrow_run if g0.width == 1 else _WIDE_RUN
            end = pattern.match(part, position).end()  # type: ignore[union-attr]  # both match nothing, too
            if end > position:
                out += _read_run(part[position:end], g0, g1)
            elif g0.width == 1:
                end += 1
                out.append(chr(part[position]))
            if end < len(part):
                g0, g1 = repertoire.g0, repertoire.read_g1
            position = end
    return "".join(out)


def _read_run(run: bytes, g0: _CodeElement, g1: _CodeElement) -> list[str]:
    low, high = g0.chars, g1.chars
    units = _UNITS[g0.width == 2, g1.width == 2].findall(run)
    return [low.get(unit) or high.get(unit) or (" " if unit == b" " else _REPLACEMENT) for unit in units]


def encode(text: str, charsets: Sequence[str], vr: str) -> bytes | None:
    """Write a value, unpadded; None if a character has no code in the character set.

    Escape sequences appear only where a code element changes; before each delimiter and at the end the first
    character set is active again. VRs that Specific Character Set does not govern are ASCII, `?` for all else.
    Source: PS3.5 6.1.2.5.3.
    """
    if vr not in TEXT_VRS:
        return text.encode("ascii", "replace")
    repertoire = _repertoire(tuple(charsets))
    if text.isascii() and repertoire.g0 is _ASCII:
        return text.encode("ascii")
    if not repertoire.stand_alone:
        return _encode_extended(text, repertoire, vr)
    try:
        return text.encode(repertoire.codec)
    except UnicodeEncodeError:
        return None


def _encode_extended(text: str, repertoire: _Repertoire, vr: str) -> bytes | None:
    is_delimiter = _DELIMITERS.get(vr, _OTHER_DELIMITERS)
    separator = b"" if vr in SINGLE_VALUED_VRS else b"\\"
    home = g0, g1 = repertoire.g0, repertoire.g1
    out = bytearray()
    for char in text:
        if char in is_delimiter:
            out += _return_escapes(home, g0, g1)
            g0, g1 = home
            out.append(ord(char))
            continue
        for element in (g0, g1, *repertoire.elements):
            # The yen sign of ISO_IR 13 has the code of the backslash.
            if element and (code := element.codes.get(char, separator)) != separator:
                break
        else:
            return None
        if element is not g0 and element is not g1:
            out += element.escape
            g0, g1 = (g0, element) if element.is_g1 else (element, g1)
        out += code
    out += _return_escapes(home, g0, g1)
    return bytes(out)


def _return_escapes(home: tuple[_CodeElement, _CodeElement | None], g0: _CodeElement, g1: _CodeElement | None) -> bytes:
    home_g0, home_g1 = home
    escapes = b"" if g0 is home_g0 else home_g0.escape
    return escapes + (home_g1.escape if home_g1 and g1 is not home_g1 else b"")


def choose(values: Iterable[tuple[str, str]], requested: Sequence[str]) -> tuple[str, ...]:
    """Pick the character set of a response: the request's if every value fits, else ISO_IR 192.

    `values` are pairs of VR and text. An empty result means that none needs to be named: all is ASCII and the
    request named none. Source: PS3.4 C.2.2.2.
    """
    fits = all(encode(text, requested, vr) is not None for vr, text in values if vr in TEXT_VRS)
    return tuple(requested) if fits else UTF_8
