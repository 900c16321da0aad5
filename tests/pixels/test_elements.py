"""Headers, lengths, VRs and byte order, on data sets put together by hand."""

import struct
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minipacs.dicom.tables.transfer_syntaxes import (
    DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN,
    EXPLICIT_VR_BIG_ENDIAN,
    EXPLICIT_VR_LITTLE_ENDIAN,
    IMPLICIT_VR_LITTLE_ENDIAN,
)
from minipacs.pixels.elements import PIECE_BYTES, TranscodeError
from tests.support.elements import (
    SEQUENCE_END,
    as_file,
    convert,
    element,
    fragments,
    implicit,
    sequence,
    undefined_item,
)

EIGHT = bytes(range(1, 9))


def from_explicit(data_set: bytes, uid: str) -> bytes:
    return convert(as_file(data_set, EXPLICIT_VR_LITTLE_ENDIAN), uid)


def from_implicit(data_set: bytes, uid: str = EXPLICIT_VR_LITTLE_ENDIAN) -> bytes:
    return convert(as_file(data_set, IMPLICIT_VR_LITTLE_ENDIAN), uid)


@pytest.mark.parametrize(
    ("word_bytes", "vrs"),
    [
        (1, "AE AS CS DA DS DT IS LO LT OB PN SH ST TM UC UI UN UR UT XX"),
        (2, "AT OW SS US"),
        (4, "FL OF OL SL UL"),
        (8, "FD OD OV SV UV"),
    ],
)
def test_byte_order_of_each_vr(word_bytes: int, vrs: str) -> None:
    swapped = b"".join(EIGHT[at : at + word_bytes][::-1] for at in range(0, 8, word_bytes))
    for vr in vrs.split():
        big_endian = from_explicit(element(0x00091001, vr, EIGHT), EXPLICIT_VR_BIG_ENDIAN)
        assert big_endian == element(0x00091001, vr, swapped, ">")
        back = convert(as_file(big_endian, EXPLICIT_VR_BIG_ENDIAN), EXPLICIT_VR_LITTLE_ENDIAN)
        assert back == element(0x00091001, vr, EIGHT)


def test_a_value_that_is_no_whole_number_of_words_is_not_swapped() -> None:
    data_set = element(0x00091001, "FL", b"\1\2\3\4\5\6")
    assert from_explicit(data_set, EXPLICIT_VR_LITTLE_ENDIAN) == data_set
    with pytest.raises(TranscodeError, match="0009,1001"):
        from_explicit(data_set, EXPLICIT_VR_BIG_ENDIAN)


@pytest.mark.parametrize(
    ("tag", "value", "vr"),
    [
        (0x00100010, b"Doe^Jane", "PN"),
        (0x00091001, b"private ", "UN"),
        (0x00090010, b"creator ", "LO"),
        (0x00100ABC, b"unknown ", "UN"),
        (0x60003000, bytes(4), "OW"),
        (0x7FE00010, bytes(4), "OW"),
        (0x00283006, bytes(4), "OW"),
        (0x54001010, bytes(4), "OW"),
        (0x00280010, b"\1\2\3", "UN"),
        (0x00281050, b"1" * 0x10000, "UN"),
    ],
)
def test_vr_of_an_implicit_element(tag: int, value: bytes, vr: str) -> None:
    first = 0x00080060  # a file's data set is never as short as one such element
    explicit = from_implicit(implicit(first, b"CT") + implicit(tag, value))
    assert explicit == element(first, "CS", b"CT") + element(tag, vr, value)
    assert from_explicit(explicit, IMPLICIT_VR_LITTLE_ENDIAN) == implicit(first, b"CT") + implicit(tag, value)


@pytest.mark.parametrize(("representation", "vr"), [(0, "US"), (1, "SS"), (None, "US")])
def test_us_or_ss_goes_by_the_nearest_pixel_representation(representation: int | None, vr: str) -> None:
    own = b"" if representation is None else implicit(0x00280103, struct.pack("<H", representation))
    explicit = b"" if representation is None else element(0x00280103, "US", struct.pack("<H", representation))
    padding, lut = implicit(0x00280120, b"\x18\xfc"), implicit(0x00283002, bytes(6))
    data_set = own + padding + implicit(0x00283000, implicit(0xFFFEE000, lut))
    assert from_implicit(data_set) == (
        explicit + element(0x00280120, vr, b"\x18\xfc") + sequence(0x00283000, element(0x00283002, vr, bytes(6)))
    )


def test_sequences_in_every_form() -> None:
    inner = implicit(0x00080100, b"T-D1100 ")
    undefined = struct.pack("<HHI", 0x0008, 0x2218, 0xFFFFFFFF) + undefined_item(inner) + SEQUENCE_END
    defined = implicit(0x00082218, implicit(0xFFFEE000, inner))
    private = struct.pack("<HHI", 0x0009, 0x1002, 0xFFFFFFFF) + implicit(0xFFFEE000, inner) + SEQUENCE_END
    code = element(0x00080100, "SH", b"T-D1100 ")
    assert from_implicit(undefined) == from_implicit(defined) == sequence(0x00082218, code)
    assert from_implicit(private) == sequence(0x00091002, code)
    assert from_implicit(inner + implicit(0x00082218, b"")) == code + element(0x00082218, "SQ", b"")
    assert from_explicit(sequence(0x00082218, code), IMPLICIT_VR_LITTLE_ENDIAN) == undefined
    assert from_explicit(sequence(0x00082218), EXPLICIT_VR_LITTLE_ENDIAN) == sequence(0x00082218)


def test_un_of_undefined_length_is_an_implicit_sequence() -> None:
    inner = implicit(0x00280010, b"\2\1") + implicit(0x00091001, EIGHT)
    data_set = sequence(0x00091002, inner, vr="UN") + element(0x00280011, "US", b"\2\1")
    assert from_explicit(data_set, EXPLICIT_VR_LITTLE_ENDIAN) == (
        sequence(0x00091002, element(0x00280010, "US", b"\2\1") + element(0x00091001, "UN", EIGHT))
        + element(0x00280011, "US", b"\2\1")
    )
    big_endian = from_explicit(data_set, EXPLICIT_VR_BIG_ENDIAN)
    assert element(0x00280010, "US", b"\1\2", ">") + element(0x00091001, "UN", EIGHT, ">") in big_endian


def test_un_of_defined_length_stays_as_it_is() -> None:
    data_set = element(0x00091002, "UN", implicit(0xFFFEE000, implicit(0x00280010, b"\2\1")))
    big_endian = from_explicit(data_set, EXPLICIT_VR_BIG_ENDIAN)
    assert big_endian[-len(data_set) + 12 :] == data_set[12:]


def test_group_lengths_and_length_to_end_are_left_out() -> None:
    kept = element(0x00080060, "CS", b"CT")
    lengths = element(0x00080000, "UL", bytes(4)), element(0x00080001, "UL", bytes(4))
    data_set = b"".join(lengths) + kept + sequence(0x00082218, lengths[0] + kept)
    assert from_explicit(data_set, EXPLICIT_VR_LITTLE_ENDIAN) == kept + sequence(0x00082218, kept)


@pytest.mark.parametrize(
    ("bits", "vr", "written"), [(16, "OB", "OW"), (16, "OW", "OW"), (8, "OB", "OB"), (8, "OW", "OW")]
)
def test_pixel_data_of_more_than_8_bits_is_words_whatever_its_vr(bits: int, vr: str, written: str) -> None:
    data_set = element(0x00280100, "US", struct.pack("<H", bits)) + element(0x7FE00010, vr, b"\1\2\3\4")
    pixels = b"\1\2\3\4" if written == "OB" else b"\2\1\4\3"
    assert from_explicit(data_set, EXPLICIT_VR_BIG_ENDIAN).endswith(element(0x7FE00010, written, pixels, ">"))


def test_large_values_pass_in_pieces_through_every_syntax() -> None:
    value = bytes(range(256)) * (PIECE_BYTES // 100)
    data_set = element(0x00091001, "OV", value) + element(0x00091002, "OW", value[:-2])
    for uid in (EXPLICIT_VR_BIG_ENDIAN, DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN):
        there = from_explicit(data_set, uid)
        assert len(there) % 2 == 0
        assert convert(as_file(there, uid), EXPLICIT_VR_LITTLE_ENDIAN) == data_set


@given(st.binary(max_size=40).map(lambda value: value * 1000))
def test_deflated_data_sets_inflate_to_the_same(value: bytes) -> None:
    data_set = element(0x00091001, "OB", value)
    deflated = from_explicit(data_set, DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN)
    assert zlib.decompress(deflated, -zlib.MAX_WBITS) == data_set
    back = convert(as_file(deflated, DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN), EXPLICIT_VR_LITTLE_ENDIAN)
    assert back == data_set


def test_a_padding_byte_and_stray_delimiters_at_the_top_are_dropped() -> None:
    odd = element(0x00091001, "OB", b"\1\2\3")
    assert from_explicit(odd + b"\0", EXPLICIT_VR_LITTLE_ENDIAN) == odd
    assert from_explicit(SEQUENCE_END + odd, EXPLICIT_VR_LITTLE_ENDIAN) == odd


CODE = element(0x00080100, "SH", b"T-D1100 ")


@pytest.mark.parametrize(
    "data_set",
    [
        CODE[:-1],
        CODE[:5],
        sequence(0x00082218, CODE)[:-8],
        element(0x00082218, "SQ", implicit(0xFFFEE000, CODE)[:-1]),
        element(0x00082218, "SQ", implicit(0xFFFEE000, CODE) + b"\0\0"),
        element(0x00082218, "SQ", CODE),
        undefined_item(CODE),
        sequence(0x00100020, CODE, vr="UT"),
        fragments(b"12"),
        b"".join(sequence(0x00082218)[:12] + undefined_item(b"")[:8] for _ in range(70)),
    ],
    ids=[
        "value cut",
        "header cut",
        "no delimiter",
        "element beyond its item",
        "bytes after the last item",
        "no item",
        "item at the top",
        "undefined length of text",
        "fragments in a native syntax",
        "too deep",
    ],
)
def test_malformed_data_sets_are_refused(data_set: bytes) -> None:
    with pytest.raises(TranscodeError):
        from_explicit(data_set, IMPLICIT_VR_LITTLE_ENDIAN)


@pytest.mark.parametrize("cut", [1, 8])
def test_a_deflated_stream_that_is_cut_is_refused(cut: int) -> None:
    deflated = zlib.compress(CODE * 100, wbits=-zlib.MAX_WBITS)[:-cut]
    with pytest.raises(TranscodeError, match="deflated"):
        convert(as_file(deflated, DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN), IMPLICIT_VR_LITTLE_ENDIAN)


def test_what_is_no_dicom_file_is_refused() -> None:
    for file in (b"", b"\0" * 132, as_file(CODE, "1.2.3"), as_file(CODE, EXPLICIT_VR_LITTLE_ENDIAN)[:200]):
        with pytest.raises(TranscodeError):
            convert(file, IMPLICIT_VR_LITTLE_ENDIAN)
    with pytest.raises(TranscodeError):
        from_explicit(CODE, "1.2.840.10008.1.2.4.90")
