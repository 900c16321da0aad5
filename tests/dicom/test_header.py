import random
import struct
import tracemalloc
import zlib
from contextlib import suppress
from functools import lru_cache
from itertools import pairwise
from pathlib import Path

import pydicom
import pydicom.data
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minipacs.dicom.data_set import inflater
from minipacs.dicom.data_set.header import MAX_SEQUENCE_DEPTH, MAX_VALUE_BYTES, Header, HeaderScanner
from minipacs.dicom.data_set.part10 import parse_file_meta
from minipacs.dicom.tables.attributes import ATTRIBUTES, BY_KEYWORD
from minipacs.dicom.tables.keys import KeyTable, extended_key
from minipacs.dicom.tables.transfer_syntaxes import (
    DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN,
    EXPLICIT_VR_BIG_ENDIAN,
    EXPLICIT_VR_LITTLE_ENDIAN,
    IMPLICIT_VR_LITTLE_ENDIAN,
    TRANSFER_SYNTAXES,
    TransferSyntax,
)
from minipacs.errors import DataSetError, Failure, Kind

IMPLICIT = TRANSFER_SYNTAXES[IMPLICIT_VR_LITTLE_ENDIAN]
EXPLICIT = TRANSFER_SYNTAXES[EXPLICIT_VR_LITTLE_ENDIAN]
BIG_ENDIAN = TRANSFER_SYNTAXES[EXPLICIT_VR_BIG_ENDIAN]
DEFLATED = TRANSFER_SYNTAXES[DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN]
RLE = TRANSFER_SYNTAXES["1.2.840.10008.1.2.5"]
NATIVE = (IMPLICIT, EXPLICIT, BIG_ENDIAN)

UNDEFINED = 0xFFFFFFFF
LONG_VRS = ("OB", "OW", "OF", "OD", "SQ", "UC", "UN", "UR", "UT", "ZZ")
STORED_KEYWORDS = [attribute.keyword for attribute in ATTRIBUTES if not attribute.computed]
PIXEL_DATA = 0x7FE00010
PRIVATE = 0x00091010
SEQUENCE = 0x00081115
INSTANCE_UID = 0x00080018
PATIENT_ID = 0x00100020
STUDY_ID = 0x00200010


def element(tag: int, vr: str, value: bytes, syntax: TransferSyntax = EXPLICIT, length: int | None = None) -> bytes:
    order = ">" if syntax.big_endian else "<"
    length = len(value) if length is None else length
    head = struct.pack(order + "HH", tag >> 16, tag & 0xFFFF)
    if syntax.implicit:
        return head + struct.pack(order + "I", length) + value
    if vr in LONG_VRS:
        return head + vr.encode() + struct.pack(order + "HI", 0, length) + value
    return head + vr.encode() + struct.pack(order + "H", length) + value


def mark(tag: int, length: int = 0, syntax: TransferSyntax = EXPLICIT) -> bytes:
    return struct.pack(">HHI" if syntax.big_endian else "<HHI", tag >> 16, tag & 0xFFFF, length)


def item(content: bytes, syntax: TransferSyntax = EXPLICIT) -> bytes:
    return mark(0xFFFEE000, len(content), syntax) + content


def open_item(content: bytes, syntax: TransferSyntax = EXPLICIT) -> bytes:
    return mark(0xFFFEE000, UNDEFINED, syntax) + content + mark(0xFFFEE00D, 0, syntax)


def open_sequence(*items: bytes, tag: int = SEQUENCE, vr: str = "SQ", syntax: TransferSyntax = EXPLICIT) -> bytes:
    return element(tag, vr, b"".join(items), syntax, UNDEFINED) + mark(0xFFFEE0DD, 0, syntax)


def fragments(*values: bytes, tag: int = PIXEL_DATA, vr: str = "OB") -> bytes:
    return open_sequence(*(item(value) for value in values), tag=tag, vr=vr)


def uid(tag: int, value: str, syntax: TransferSyntax = EXPLICIT) -> bytes:
    raw = value.encode()
    return element(tag, "UI", raw + b"\0" * (len(raw) % 2), syntax)


def scan(data: bytes, syntax: TransferSyntax = EXPLICIT, cuts: list[int] | None = None) -> Header:
    scanner = HeaderScanner(syntax)
    buffer = bytearray(max(1, len(data)))
    edges = [0, *sorted(cuts or []), len(data)]
    for start, stop in pairwise(edges):
        chunk = memoryview(buffer)[: stop - start]
        chunk[:] = data[start:stop]
        scanner.feed(chunk)
        chunk[:] = b"\xee" * len(chunk)  # the caller reads the next fragment into the same memory
    return scanner.finish()


def facts(found: Header) -> tuple[object, ...]:
    return (
        {keyword: found.get(keyword) for keyword in STORED_KEYWORDS},
        found.charsets,
        found.has_pixel_data,
        found.fragments,
    )


def stripped(text: str) -> str:
    return "\\".join(value.strip(" \0") for value in text.split("\\"))


@lru_cache
def shipped() -> dict[str, tuple[bytes, TransferSyntax]]:
    """Data set of every file in the pydicom package that has File Meta Information, by name."""
    found = {}
    for path in sorted(Path(pydicom.data.__file__).parent.rglob("*")):
        if path.is_file():
            raw = path.read_bytes()
            with suppress(DataSetError):
                meta = parse_file_meta(raw)
                key = str(path.relative_to(Path(pydicom.data.__file__).parent))
                found[key] = raw[meta.data_set_offset :], TRANSFER_SYNTAXES[meta.transfer_syntax_uid]
    return found


INVALID = {
    "test_files/MR_truncated.dcm": "data set ends inside (7FE0,0010)",
    "test_files/rtplan_truncated.dcm": "data set ends inside (300A,00B0)",
    "test_files/SC_rgb_jpeg.dcm": "data set ends inside (4544,4952)",  # implicit VR under an explicit syntax
}
VALID = sorted(shipped().keys() - INVALID.keys())
SMALL = [name for name in VALID if len(shipped()[name][0]) <= 12_000]


def as_read_by_pydicom(name: str) -> dict[str, str]:
    ds = pydicom.dcmread(Path(pydicom.data.__file__).parent / name)
    ds.decode()
    return {keyword: _text(ds.get(keyword), BY_KEYWORD[keyword].vr) for keyword in STORED_KEYWORDS}


def _text(value: object, vr: str) -> str:
    if value is None:
        return ""
    if isinstance(value, pydicom.multival.MultiValue | list):
        return "\\".join(_text(single, vr) for single in value)
    return str(value if vr == "PN" else getattr(value, "original_string", value))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", VALID)
def test_scan_equals_reading_of_pydicom(name: str) -> None:
    data, syntax = shipped()[name]
    found = scan(data, syntax)
    for keyword, value in as_read_by_pydicom(name).items():
        ours = stripped(found.get(keyword))
        assert (ours.rstrip("=") if BY_KEYWORD[keyword].vr == "PN" else ours) == stripped(value), keyword


@pytest.mark.parametrize("name", SMALL)
def test_byte_by_byte_scan_equals_whole(name: str) -> None:
    data, syntax = shipped()[name]
    assert facts(scan(data, syntax, list(range(1, len(data))))) == facts(scan(data, syntax))


@given(st.sampled_from(VALID), st.data())
def test_scan_at_any_split_equals_whole(name: str, draw: st.DataObject) -> None:
    data, syntax = shipped()[name]
    cuts = draw.draw(st.lists(st.integers(0, min(len(data), 100_000)), max_size=40))
    assert facts(scan(data, syntax, cuts)) == facts(scan(data, syntax))


@pytest.mark.parametrize("name", sorted(INVALID))
def test_s8_truncated_data_set_is_c000(name: str) -> None:
    with pytest.raises(DataSetError) as caught:
        scan(*shipped()[name])
    assert caught.value.kind is Kind.UNREADABLE
    assert caught.value.args == (INVALID[name],)


def sample(syntax: TransferSyntax) -> tuple[list[bytes], bytes]:
    """Give the top-level elements of a small object in which every construct occurs, and the object."""
    nested = open_sequence(open_item(uid(INSTANCE_UID, "9.9", syntax), syntax), item(b"", syntax), syntax=syntax)
    parts = [
        element(0x00080005, "CS", b"ISO_IR 100", syntax),
        uid(INSTANCE_UID, "1.2.3", syntax),
        open_sequence(open_item(nested, syntax), item(uid(STUDY_ID, "8.8", syntax), syntax), syntax=syntax),
        element(PRIVATE, "UT", b"private " * 3, syntax),
        element(0x00100010, "PN", b"J\xe9r\xf4me", syntax),
        element(PATIENT_ID, "LO", b"", syntax),
        element(0x00280010, "US", struct.pack(">H" if syntax.big_endian else "<H", 512), syntax),
        fragments(b"", b"one.", b"two.") if syntax.encapsulated else element(PIXEL_DATA, "OW", b"pixels", syntax),
        element(0xFFFCFFFC, "OB", b"\0\0", syntax),
    ]
    return parts, b"".join(parts)


@pytest.mark.parametrize("syntax", [*NATIVE, RLE], ids=lambda syntax: syntax.name)
def test_s8_truncation_anywhere_but_between_elements_is_c000(syntax: TransferSyntax) -> None:
    parts, whole = sample(syntax)
    boundaries = {sum(map(len, parts[:count])) for count in range(len(parts) + 1)}
    for size in range(len(whole)):
        for cuts in ([], list(range(1, size))):
            if size in boundaries:
                scan(whole[:size], syntax, cuts)
            else:
                with pytest.raises(DataSetError, match="data set ends inside") as caught:
                    scan(whole[:size], syntax, cuts)
                assert caught.value.kind is Kind.UNREADABLE


def test_s8_truncated_deflated_data_set_is_c000() -> None:
    raw = deflate(sample(EXPLICIT)[1])
    for size in range(len(raw)):
        with pytest.raises(DataSetError, match="ends inside"):
            scan(raw[:size], DEFLATED)


@pytest.mark.parametrize("syntax", [*NATIVE, RLE], ids=lambda syntax: syntax.name)
def test_values_and_structure_of_a_small_object(syntax: TransferSyntax) -> None:
    found = scan(sample(syntax)[1], syntax)
    assert found.get("SOPInstanceUID") == "1.2.3"
    assert found.get("PatientName") == "Jérôme"
    assert found.get("Rows") == "512"
    assert found.get("PatientID") == ""
    assert found.get("StudyID") == ""
    assert found.charsets == ("ISO_IR 100",)
    assert found.has_pixel_data
    assert found.fragments == (2 if syntax.encapsulated else None)


@given(st.sampled_from([*NATIVE, RLE]), st.data())
def test_damage_is_found_or_passes_but_nothing_else(syntax: TransferSyntax, draw: st.DataObject) -> None:
    raw = bytearray(sample(syntax)[1])
    for index in draw.draw(st.lists(st.integers(0, len(raw) - 1), min_size=1, max_size=6)):
        raw[index] = draw.draw(st.integers(0, 255))
    cuts = draw.draw(st.lists(st.integers(0, len(raw)), max_size=5))
    with suppress(Failure):
        facts(scan(bytes(raw), syntax, cuts))


@given(st.sampled_from(SMALL), st.integers(0, 2**32))
def test_damaged_files_are_refused_or_pass_but_nothing_else(name: str, seed: int) -> None:
    data, syntax = shipped()[name]
    chance = random.Random(seed)
    raw = bytearray(data)
    for _ in range(chance.randint(1, 8)):
        raw[chance.randrange(len(raw))] = chance.randrange(256)
    with suppress(Failure):
        facts(scan(bytes(raw), syntax))


@given(st.sampled_from([*NATIVE, RLE, DEFLATED]), st.binary(max_size=300))
def test_any_bytes_are_refused_or_pass_but_nothing_else(syntax: TransferSyntax, raw: bytes) -> None:
    with suppress(Failure):
        facts(scan(raw, syntax))


def test_s12_four_gib_of_pixels_pass_in_bounded_memory() -> None:
    scanner = HeaderScanner(EXPLICIT)
    chunk, count = bytes(1 << 20), 4095
    tracemalloc.start()
    try:
        scanner.feed(uid(INSTANCE_UID, "1.2") + element(PIXEL_DATA, "OW", b"", length=count << 20))
        for _ in range(count):
            scanner.feed(chunk)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert scanner.finish().get("SOPInstanceUID") == "1.2"
    assert peak < 1 << 16


def test_lengths_that_lie_take_no_memory() -> None:
    scanner = HeaderScanner(IMPLICIT)
    tracemalloc.start()
    try:
        scanner.feed(element(PATIENT_ID, "LO", b"", IMPLICIT, 0xFFFFFFF0))
        for _ in range(64):
            scanner.feed(b"x" * (1 << 20))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 3 << 20
    with pytest.raises(DataSetError, match=r"data set ends inside \(0010,0020\)"):
        scanner.finish()


@pytest.mark.parametrize("size", [MAX_VALUE_BYTES, MAX_VALUE_BYTES + 2, 3 * MAX_VALUE_BYTES])
def test_long_values_are_cut(size: int) -> None:
    raw = element(0x00104000, "LT", b"x" * size, IMPLICIT) + element(STUDY_ID, "SH", b"after ", IMPLICIT)
    for cuts in ([], [MAX_VALUE_BYTES], [4, 5, 6]):
        found = scan(raw, IMPLICIT, cuts)
        assert found.get("PatientComments") == "x" * min(size, MAX_VALUE_BYTES)
        assert found.get("StudyID") == "after"


@pytest.mark.parametrize("syntax", [*NATIVE, DEFLATED, RLE], ids=lambda syntax: syntax.name)
def test_s12_empty_pixel_data_is_accepted(syntax: TransferSyntax) -> None:
    inner = EXPLICIT if syntax.deflated else syntax
    raw = uid(INSTANCE_UID, "1.2", inner) + element(PIXEL_DATA, "OW", b"", inner)
    found = scan(deflate(raw) if syntax.deflated else raw, syntax)
    assert found.get("SOPInstanceUID") == "1.2"
    assert not found.has_pixel_data
    assert found.fragments is None


@pytest.mark.parametrize("tag", [PIXEL_DATA, 0x7FE00008, 0x7FE00009])
@pytest.mark.parametrize("syntax", NATIVE, ids=lambda syntax: syntax.name)
def test_fragments_in_a_native_syntax_are_c005(syntax: TransferSyntax, tag: int) -> None:
    with pytest.raises(DataSetError) as caught:
        scan(element(tag, "OB", b"", syntax, UNDEFINED), syntax)
    assert caught.value.kind is Kind.WRONG_ENCODING
    assert caught.value.tags == (tag,)


def test_native_pixel_data_in_an_encapsulated_syntax_is_c005() -> None:
    with pytest.raises(DataSetError) as caught:
        scan(element(PIXEL_DATA, "OW", b"12"), RLE)
    assert caught.value.kind is Kind.WRONG_ENCODING


@pytest.mark.parametrize("raw", [fragments(), fragments(b""), fragments(b"\0\0\0\0")])
def test_an_encapsulated_object_without_fragments_is_c005(raw: bytes) -> None:
    with pytest.raises(DataSetError, match="no fragments") as caught:
        scan(raw, RLE)
    assert caught.value.kind is Kind.WRONG_ENCODING


def test_icons_may_be_native_or_encapsulated_in_an_encapsulated_syntax() -> None:
    native, encapsulated = element(PIXEL_DATA, "OW", b"icon"), fragments(b"", b"icon")
    icons = open_sequence(open_item(native), open_item(encapsulated), open_item(fragments(b"")), tag=0x00880200)
    found = scan(icons + fragments(b"", b"1", b"2", b"3"), RLE)
    assert found.fragments == 3
    assert not scan(icons, RLE).has_pixel_data


def test_float_pixel_data_are_pixel_data() -> None:
    assert scan(element(0x7FE00008, "OF", b"\0\0\0\0")).has_pixel_data
    assert scan(element(0x7FE00009, "OD", bytes(8), BIG_ENDIAN), BIG_ENDIAN).has_pixel_data
    assert scan(element(0x7FE00008, "OF", b"\0\0\0\0"), RLE).has_pixel_data


@pytest.mark.parametrize(
    "damaged",
    [
        item(b"") + mark(0xFFFEE000, UNDEFINED),
        item(b"") + item(b"12") + uid(INSTANCE_UID, "1.2"),
        item(b"") + mark(0xFFFEE00D),
        bytes(8),
    ],
)
def test_s8_malformed_fragments_are_c000(damaged: bytes) -> None:
    with pytest.raises(DataSetError, match=r"no item where one must be in \(7FE0,0010\)") as caught:
        scan(element(PIXEL_DATA, "OB", damaged, length=UNDEFINED), RLE)
    assert caught.value.kind is Kind.UNREADABLE


@pytest.mark.parametrize("size", [1, 7, 8, 12, 16, 23])
def test_s8_truncated_fragments_are_c000_and_named(size: int) -> None:
    content = (item(b"") + item(b"fragment"))[:size]
    with pytest.raises(DataSetError, match=r"data set ends inside \(7FE0,0010\)") as caught:
        scan(element(PIXEL_DATA, "OB", content, length=UNDEFINED), RLE)
    assert caught.value.tags == (PIXEL_DATA,)


def test_private_fragments_follow_the_transfer_syntax() -> None:
    raw = fragments(b"", b"data", tag=PRIVATE) + uid(0x0020000D, "1.2")
    found = scan(raw, RLE)
    assert found.get("StudyInstanceUID") == "1.2"
    assert found.fragments is None
    with pytest.raises(DataSetError) as caught:
        scan(raw)
    assert caught.value.kind is Kind.UNREADABLE


def test_undefined_length_of_text_is_c000() -> None:
    with pytest.raises(DataSetError, match="undefined length, but no sequence") as caught:
        scan(element(PRIVATE, "UT", b"", length=UNDEFINED))
    assert caught.value.kind is Kind.UNREADABLE


@pytest.mark.parametrize("syntax", [EXPLICIT, BIG_ENDIAN], ids=lambda syntax: syntax.name)
def test_unknown_vr_of_undefined_length_is_an_implicit_sequence(syntax: TransferSyntax) -> None:
    inner = open_sequence(open_item(uid(INSTANCE_UID, "9.9", IMPLICIT), IMPLICIT), syntax=IMPLICIT)
    content = open_item(inner + element(PATIENT_ID, "LO", b"inside", IMPLICIT)) + mark(0xFFFEE0DD)
    raw = element(PRIVATE, "UN", content, syntax, UNDEFINED) + uid(0x0020000D, "1.2", syntax)
    found = scan(raw, syntax)
    assert found.get("StudyInstanceUID") == "1.2"
    assert found.get("PatientID") == ""


def test_nothing_inside_sequences_is_taken_for_the_object() -> None:
    inside = uid(INSTANCE_UID, "9.9") + element(PIXEL_DATA, "OW", b"12")
    for content in (item(inside), open_item(inside)):
        found = scan(open_sequence(content) + element(SEQUENCE, "SQ", item(inside)))
        assert found.get("SOPInstanceUID") == ""
        assert not found.has_pixel_data


def nest(depth: int) -> bytes:
    raw = b""
    for _ in range(depth):
        raw = open_sequence(open_item(raw))
    return raw


def test_nesting_has_a_limit() -> None:
    scan(nest(MAX_SEQUENCE_DEPTH))
    with pytest.raises(DataSetError, match="nested deeper than 64"):
        scan(nest(MAX_SEQUENCE_DEPTH + 1))


@pytest.mark.parametrize(
    "raw",
    [
        open_sequence(uid(INSTANCE_UID, "1.2")),
        element(SEQUENCE, "SQ", mark(0xFFFEE000, UNDEFINED) + mark(0xFFFEE0DD), length=UNDEFINED),
        element(SEQUENCE, "SQ", mark(0xFFFEE000, UNDEFINED) + item(b""), length=UNDEFINED),
        item(b""),
    ],
)
def test_s8_misplaced_items_and_delimiters_are_c000(raw: bytes) -> None:
    with pytest.raises(DataSetError, match="must be") as caught:
        scan(raw)
    assert caught.value.kind is Kind.UNREADABLE


def test_stray_delimiters_between_elements_are_passed_over() -> None:
    raw = element(SEQUENCE, "SQ", b"") + mark(0xFFFEE0DD) + mark(0xFFFEE00D) + uid(0x0020000D, "1.2")
    assert scan(raw).get("StudyInstanceUID") == "1.2"


def test_length_forms_of_vrs_nobody_defined() -> None:
    upper = element(PRIVATE, "ZZ", b"x" * 70_000)
    for vr in ("  ", "\0\0", "??", "us"):
        lower = element(PRIVATE + 1, vr, b"12")
        assert scan(upper + lower + uid(0x0020000D, "1.2")).get("StudyInstanceUID") == "1.2"


def test_groups_2_and_0_retired_lengths_and_any_order_are_tolerated() -> None:
    raw = (
        element(0x00020010, "UI", b"1.2.840.10008.1.2\0")
        + element(0x00000002, "UI", b"1.2\0")
        + element(0x00100000, "UL", b"\0\0\0\0")
        + uid(0x0020000D, "1.2")
        + uid(INSTANCE_UID, "1.3")
        + uid(INSTANCE_UID, "1.4")
    )
    found = scan(raw)
    assert (found.get("StudyInstanceUID"), found.get("SOPInstanceUID")) == ("1.2", "1.4")


def test_s14_uids_are_found_as_sent_without_padding() -> None:
    raw = uid(INSTANCE_UID, "1.02.3 ") + element(0x0020000D, "UI", b"1.2\0")
    found = scan(raw)
    assert found.get("SOPInstanceUID") == "1.02.3"
    assert found.get("StudyInstanceUID") == "1.2"


def test_s13_an_unknown_character_set_is_no_fault() -> None:
    found = scan(element(0x00080005, "CS", b"KLINGON ") + element(0x00100010, "PN", b"Ko\xe9l^a"))
    assert found.charsets == ("KLINGON",)
    assert found.get("PatientName") == "Koél^a"


def test_values_are_read_by_the_vr_sent_or_else_the_dictionary() -> None:
    raw = (
        element(0x00200013, "UL", struct.pack("<I", 70_000))  # Instance Number, IS by the dictionary
        + element(0x00280010, "IS", b"512 ")  # Rows, US by the dictionary
        + element(0x00280011, "UN", struct.pack("<H", 256))
        + element(PATIENT_ID, "UN", b"id ")
        + element(0x00280100, "US", b"\1\2\3")
    )
    found = scan(raw)
    assert found.get("InstanceNumber") == "70000"
    assert found.get("Rows") == "512"
    assert found.get("Columns") == "256"
    assert found.get("PatientID") == "id"
    assert found.get("BitsAllocated") == ""


def test_several_values_are_joined_by_backslashes_without_padding() -> None:
    raw = element(0x00080008, "CS", rb"ORIGINAL \ PRIMARY\AXIAL ") + element(0x00280002, "US", b"\1\0\2\0")
    found = scan(raw)
    assert found.get("ImageType") == r"ORIGINAL\PRIMARY\AXIAL"
    assert found.get("SamplesPerPixel") == r"1\2"


def test_only_wanted_values_are_kept() -> None:
    scanner = HeaderScanner(EXPLICIT, frozenset({PATIENT_ID}))
    scanner.feed(uid(INSTANCE_UID, "1.2") + element(PATIENT_ID, "LO", b"P1"))
    found = scanner.finish()
    assert (found.get("PatientID"), found.get("SOPInstanceUID")) == ("P1", "")


def test_an_odd_data_set_may_end_in_one_nul() -> None:
    odd = element(PATIENT_ID, "LO", b"odd")
    assert scan(odd + b"\0").get("PatientID") == "odd"
    for raw in (odd + b" ", odd + b"\0\0", element(PATIENT_ID, "LO", b"even") + b"\0"):
        with pytest.raises(DataSetError, match="data set ends inside an element"):
            scan(raw)


def deflate(raw: bytes) -> bytes:
    stream = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return stream.compress(raw) + stream.flush()


@pytest.mark.parametrize("trailer", [b"", b"\0", b"checksum", b"checksum\0"])
def test_a_deflated_data_set_may_have_a_short_trailer(trailer: bytes) -> None:
    raw = deflate(sample(EXPLICIT)[1]) + trailer
    for cuts in ([], list(range(1, len(raw)))):
        assert scan(raw, DEFLATED, cuts).get("SOPInstanceUID") == "1.2.3"


def test_a_deflated_data_set_that_goes_on_is_refused() -> None:
    with pytest.raises(DataSetError, match="goes on after the end"):
        scan(deflate(sample(EXPLICIT)[1]) + b"ten  bytes", DEFLATED)


def test_a_deflated_data_set_is_inflated_in_pieces() -> None:
    raw = deflate(uid(INSTANCE_UID, "1.2") + element(PIXEL_DATA, "OW", bytes(1 << 26)))
    tracemalloc.start()
    try:
        found = scan(raw, DEFLATED)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert found.has_pixel_data
    assert peak < 2 << 20


def test_a_deflated_data_set_has_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inflater, "MAX_INFLATED_BYTES", 1 << 20)
    scan(deflate(element(PRIVATE, "OB", bytes((1 << 20) - 12))), DEFLATED)
    with pytest.raises(DataSetError, match="inflates to more than"):
        scan(deflate(element(PRIVATE, "OB", bytes(1 << 20))), DEFLATED)


def test_a_deflated_data_set_has_no_more_elements_than_its_size_is_worth() -> None:
    bomb = deflate(element(PRIVATE, "LO", b"") * (8 << 20 >> 3))
    assert len(bomb) < 20_000
    with pytest.raises(DataSetError, match="too many elements for its size"):
        scan(bomb, DEFLATED)


def test_functional_groups_of_many_frames_may_be_deflated() -> None:
    position = "".join(f"{at / 7:.6f}\\{at / 3:.6f}\\{-at / 11:.6f}|" for at in range(20_000)).split("|")
    elements = b"".join(element(0x00200032, "DS", each.ljust(34).encode()) * 12 for each in position)
    raw = deflate(uid(INSTANCE_UID, "1.2") + elements)
    assert len(elements) > 20 * len(raw)
    assert scan(raw, DEFLATED).get("SOPInstanceUID") == "1.2"


def test_bytes_that_are_not_deflated_are_refused() -> None:
    with pytest.raises(DataSetError, match="cannot be inflated"):
        scan(b"\xff" * 100, DEFLATED)


def test_what_is_wanted_is_sorted_once_for_all_objects() -> None:
    keys = KeyTable([extended_key(f'0009,"CREATOR {n}",01') for n in range(100)])
    scanners = [HeaderScanner(TRANSFER_SYNTAXES[EXPLICIT_VR_LITTLE_ENDIAN], keys.tags) for _ in range(3)]
    assert len({id(scanner._notable) for scanner in scanners}) == 1
