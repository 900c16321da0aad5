import io
import struct
import warnings
import zlib
from typing import Any

import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.datadict import tag_for_keyword
from pydicom.dataset import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset

from minipacs.dicom.data_set.decode import MAX_IDENTIFIER_BYTES, MAX_NESTING, decode_data_set
from minipacs.dicom.data_set.encode import ResponseEncoder
from minipacs.dicom.tables.attributes import ATTRIBUTES, SPECIFIC_CHARACTER_SET
from minipacs.dicom.tables.transfer_syntaxes import (
    DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN,
    EXPLICIT_VR_BIG_ENDIAN,
    EXPLICIT_VR_LITTLE_ENDIAN,
    IMPLICIT_VR_LITTLE_ENDIAN,
    TRANSFER_SYNTAXES,
)
from minipacs.errors import Failure, Kind

IMPLICIT = TRANSFER_SYNTAXES[IMPLICIT_VR_LITTLE_ENDIAN]
EXPLICIT = TRANSFER_SYNTAXES[EXPLICIT_VR_LITTLE_ENDIAN]
BIG_ENDIAN = TRANSFER_SYNTAXES[EXPLICIT_VR_BIG_ENDIAN]
DEFLATED = TRANSFER_SYNTAXES[DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN]
SYNTAXES = (IMPLICIT, EXPLICIT, BIG_ENDIAN, DEFLATED)

PATIENT_NAME = 0x00100010
PATIENT_ID = 0x00100020
ROWS = 0x00280010
STEPS = 0x00400100
STEP_ID = 0x00400009
FIELDS = sorted((attribute.tag, attribute.vr) for attribute in ATTRIBUTES)


def encoded(dataset: Dataset, syntax: Any) -> bytes:
    stream = DicomBytesIO()
    stream.is_implicit_VR, stream.is_little_endian = syntax.implicit, not syntax.big_endian
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        write_dataset(stream, dataset)
    raw: bytes = stream.getvalue()
    if not syntax.deflated:
        return raw
    deflate = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return deflate.compress(raw) + deflate.flush()


def worklist_query() -> Dataset:
    dataset = Dataset()
    dataset.SpecificCharacterSet = "ISO_IR 100"
    dataset.PatientName = "Rüdiger^*"
    dataset.Rows = 512
    dataset.ReferencedStudySequence = []
    inner, step = Dataset(), Dataset()
    inner.CodeMeaning = "Käse"
    step.ScheduledProcedureStepID = "é1"
    step.ScheduledProtocolCodeSequence = [inner]
    dataset.ScheduledProcedureStepSequence = [step]
    return dataset


def refused(data: bytes, syntax: Any = EXPLICIT) -> Failure:
    with pytest.raises(Failure) as caught:
        decode_data_set(data, syntax)
    return caught.value


@pytest.mark.parametrize("syntax", SYNTAXES, ids=lambda syntax: syntax.name)
@pytest.mark.parametrize("undefined", [False, True])
def test_a_query_reads_the_same_in_every_transfer_syntax(syntax: Any, undefined: bool) -> None:
    dataset = worklist_query()
    for element in dataset.iterall():
        if element.VR == "SQ":
            element.is_undefined_length = undefined
            for item in element.value:
                item.is_undefined_length_sequence_item = undefined
    identifier = decode_data_set(memoryview(encoded(dataset, syntax)), syntax)
    assert identifier.charsets == ("ISO_IR 100",)
    assert identifier.text(PATIENT_NAME) == "Rüdiger^*"
    assert identifier.text(ROWS) == "512"
    assert identifier.text(PATIENT_ID) == ""
    assert identifier.text(STEPS) == ""
    assert identifier.items(0x00081110) == ()
    assert identifier.items(PATIENT_ID) == ()
    (step,) = identifier.items(STEPS)
    assert step.text(STEP_ID) == "é1"
    (code,) = step.items(0x00400008)
    assert code.text(0x00080104) == "Käse"


@pytest.mark.parametrize("syntax", SYNTAXES, ids=lambda syntax: syntax.name)
def test_truncation_at_each_offset_is_c001_or_ends_between_elements(syntax: Any) -> None:
    dataset = worklist_query()
    for element in dataset.iterall():
        if element.VR == "SQ":
            element.is_undefined_length = True
    data = encoded(dataset, syntax)
    whole = decode_data_set(data, syntax)
    for length in range(len(data)):
        try:
            identifier = decode_data_set(data[:length], syntax)
        except Failure:
            refused(data[:length], syntax)
        else:
            assert not syntax.deflated
            assert identifier.elements.items() < whole.elements.items()


@given(
    st.binary(max_size=200), st.sampled_from(SYNTAXES), st.lists(st.tuples(st.integers(0, 200), st.integers(0, 255)))
)
@settings(max_examples=400)
def test_any_bytes_are_read_or_c001(data: bytes, syntax: Any, flaws: list[tuple[int, int]]) -> None:
    if flaws:
        flawed = bytearray(encoded(worklist_query(), syntax))
        for offset, byte in flaws:
            flawed[offset % len(flawed)] = byte
        data = bytes(flawed)
    try:
        identifier = decode_data_set(data, syntax)
    except Failure:
        refused(data, syntax)
    else:
        for tag in identifier.elements:
            identifier.text(tag).encode()
            assert len(identifier.items(tag)) == len(identifier.elements[tag].items)


VALUES = {
    "UI": st.text(st.sampled_from("0123456789."), max_size=9),
    "US": st.integers(0, 0xFFFF).map(str) | st.just(""),
    **dict.fromkeys(("DA", "TM", "DT", "IS", "DS", "AS", "CS"), st.text(st.sampled_from("AZ09."), max_size=9)),
}
TEXT = st.text(st.sampled_from("Aéß山が한\\^="), max_size=12) | st.text(st.sampled_from("abc\\"), max_size=12)
SOME_FIELDS = FIELDS[::6]
ROW = st.tuples(*(VALUES.get(vr, TEXT) for _, vr in SOME_FIELDS))


@given(ROW, st.booleans(), st.sampled_from([(), ("ISO_IR 100",), ("ISO_IR 13",), ("", "ISO 2022 IR 87"), ("GB18030",)]))
def test_an_answer_reads_back_as_written_here_and_by_pydicom(
    row: tuple[str, ...], implicit: bool, charsets: tuple[str, ...]
) -> None:
    data = ResponseEncoder(SOME_FIELDS, charsets, implicit=implicit).encode(row)
    identifier = decode_data_set(data, IMPLICIT if implicit else EXPLICIT)
    assert tuple(identifier.text(tag) for tag, _ in SOME_FIELDS) == row
    if not "".join(row).isascii() or charsets:
        assert identifier.charsets
    assert identifier.charsets in ((), charsets, ("ISO_IR 192",))
    assert all(len(element.raw) % 2 == 0 for element in identifier.elements.values())
    dataset = pydicom.filereader.read_dataset(io.BytesIO(data), implicit, is_little_endian=True)
    assert list(dataset._dict) == list(identifier.elements)
    for tag, element in identifier.elements.items():
        assert (dataset.get_item(tag).value or b"") == element.raw or tag == SPECIFIC_CHARACTER_SET


DATASETS = st.dictionaries(
    st.sampled_from(["PatientID", "StudyDescription", "PatientComments", "StudyID", "InstitutionName"]),
    st.text(st.sampled_from("Aé1. "), min_size=1, max_size=9).map(str.strip),
)


@given(st.lists(DATASETS, min_size=1, max_size=5), st.sampled_from(SYNTAXES), st.booleans())
def test_random_data_sets_read_as_pydicom_wrote_them(rows: list[dict[str, str]], syntax: Any, undefined: bool) -> None:
    dataset = Dataset()
    for row in rows:
        outer, dataset = dataset, Dataset()
        dataset.SpecificCharacterSet = "ISO_IR 192"
        for keyword, text in row.items():
            setattr(dataset, keyword, text)
        if outer:
            dataset.RequestAttributesSequence = [outer]
            dataset["RequestAttributesSequence"].is_undefined_length = undefined
    identifier = decode_data_set(encoded(dataset, syntax), syntax)
    for row in reversed(rows):
        for keyword, text in row.items():
            assert identifier.text(tag_for_keyword(keyword) or 0) == text
        assert len(identifier.elements) == len(row) + 1 + (row is not rows[0])
        if row is not rows[0]:
            (identifier,) = identifier.items(0x00400275)


def explicit(tag: int, vr: str, value: bytes) -> bytes:
    return struct.pack("<HH2sH", tag >> 16, tag & 0xFFFF, vr.encode(), len(value)) + value


def implicit(tag: int, value: bytes, length: int | None = None) -> bytes:
    return struct.pack("<HHI", tag >> 16, tag & 0xFFFF, len(value) if length is None else length) + value


def test_b6_group_lengths_are_dropped_and_retired_private_unknown_elements_kept() -> None:
    data = (
        implicit(0x00080000, b"\x10\0\0\0")
        + implicit(0x00080001, b"\0\0\0\0")
        + implicit(0x00091001, b"private")
        + implicit(PATIENT_ID, b"P1")
        + implicit(0x77777776, b"\xff")
    )
    identifier = decode_data_set(data, IMPLICIT)
    assert list(identifier.elements) == [0x00080001, 0x00091001, PATIENT_ID, 0x77777776]
    assert identifier.elements[0x00091001].vr == "UN"
    assert identifier.elements[0x00091001].raw == b"private"
    assert identifier.text(PATIENT_ID) == "P1"


def test_f17_an_empty_character_set_is_an_absent_one() -> None:
    for value in b"", b"  ", b"\\ ":
        identifier = decode_data_set(explicit(SPECIFIC_CHARACTER_SET, "CS", value), EXPLICIT)
        assert identifier.charsets == ()


def test_w6_the_callers_character_set_holds_where_none_is_named() -> None:
    name = explicit(PATIENT_NAME, "PN", b"\xc4\xe9")
    greek = ("ISO_IR 126",)
    assert decode_data_set(name, EXPLICIT, greek).text(PATIENT_NAME) == "Δι"
    empty = explicit(SPECIFIC_CHARACTER_SET, "CS", b"")
    assert decode_data_set(empty + name, EXPLICIT, greek).text(PATIENT_NAME) == "Δι"
    latin = explicit(SPECIFIC_CHARACTER_SET, "CS", b"ISO_IR 100")
    assert decode_data_set(latin + name, EXPLICIT, greek).text(PATIENT_NAME) == "Äé"


def test_an_item_may_name_its_own_character_set() -> None:
    step = implicit(SPECIFIC_CHARACTER_SET, b"ISO_IR 126") + implicit(STEP_ID, b"\xc4 ")
    data = implicit(SPECIFIC_CHARACTER_SET, b"ISO_IR 100")
    data += implicit(STEPS, implicit(0xFFFEE000, step) + implicit(0xFFFEE000, implicit(STEP_ID, b"\xc4 ")))
    first, second = decode_data_set(data, IMPLICIT).items(STEPS)
    assert (first.text(STEP_ID), second.text(STEP_ID)) == ("Δ", "Ä")


@pytest.mark.parametrize("length", [None, 0xFFFFFFFF])
def test_an_unknown_character_set_is_refused_also_in_an_item(length: int | None) -> None:
    named = implicit(SPECIFIC_CHARACTER_SET, b"KLINGON ")
    failure = refused(named, IMPLICIT)
    assert (failure.kind, failure.tags) == (Kind.UNKNOWN_CHARSET, (SPECIFIC_CHARACTER_SET,))
    end = b"" if length is None else implicit(0xFFFEE00D, b"")
    item = implicit(0xFFFEE000, named + end, length)
    failure = refused(implicit(STEPS, item), IMPLICIT)
    assert (failure.kind, failure.tags) == (Kind.UNKNOWN_CHARSET, (SPECIFIC_CHARACTER_SET,))


def test_the_last_of_two_elements_counts() -> None:
    data = explicit(PATIENT_ID, "LO", b"P1") + explicit(PATIENT_ID, "LO", b"P2")
    assert decode_data_set(data, EXPLICIT).text(PATIENT_ID) == "P2"


def test_an_element_sent_as_un_reads_by_the_dictionary() -> None:
    assert decode_data_set(struct.pack("<HH4sI", 0x10, 0x20, b"UN\0\0", 2) + b"P1", EXPLICIT).text(PATIENT_ID) == "P1"
    steps = implicit(0xFFFEE000, implicit(STEP_ID, b"S1"))
    head = struct.pack("<HH4sI", 0x40, 0x100, b"UN\0\0", len(steps))
    assert decode_data_set(head + steps, EXPLICIT).items(STEPS)[0].text(STEP_ID) == "S1"
    head = struct.pack(">HH4sI", 0x40, 0x100, b"UN\0\0", 0xFFFFFFFF)
    data = head + steps + implicit(0xFFFEE0DD, b"")
    assert decode_data_set(data, BIG_ENDIAN).items(STEPS)[0].text(STEP_ID) == "S1"


def test_f23_a_value_of_impossible_length_is_an_empty_key() -> None:
    data = explicit(ROWS, "US", b"\1") + explicit(PATIENT_ID, "LO", b"odd")
    identifier = decode_data_set(data, EXPLICIT)
    assert identifier.text(ROWS) == ""
    assert identifier.text(PATIENT_ID) == "odd"


def test_f14_an_empty_sequence_differs_from_an_empty_item() -> None:
    assert decode_data_set(implicit(STEPS, b""), IMPLICIT).items(STEPS) == ()
    (item,) = decode_data_set(implicit(STEPS, implicit(0xFFFEE000, b"")), IMPLICIT).items(STEPS)
    assert not item.elements


ITEM, ITEM_END, SEQUENCE_END = (implicit(tag, b"") for tag in (0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD))


@pytest.mark.parametrize(
    "data",
    [
        ITEM,
        ITEM_END,
        SEQUENCE_END,
        implicit(STEPS, implicit(PATIENT_ID, b"")),
        implicit(STEPS, SEQUENCE_END),
        implicit(STEPS, implicit(0xFFFEE000, b"", 8)) + bytes(8),
        implicit(STEPS, ITEM, 0xFFFFFFFF),
        implicit(STEPS, implicit(0xFFFEE000, b"", 0xFFFFFFFF) + SEQUENCE_END, 0xFFFFFFFF),
        implicit(STEPS, implicit(0xFFFEE000, b"", 0xFFFFFFFF)),
        implicit(STEPS, b"", 9),
        implicit(PATIENT_ID, b"", 0xFFFFFFFF),
    ],
)
def test_broken_structure_is_c001(data: bytes) -> None:
    refused(data, IMPLICIT)


@pytest.mark.parametrize(
    "data",
    [
        struct.pack("<HH4sI", 0x10, 0x20, b"OB\0\0", 0xFFFFFFFF),
        struct.pack("<HH4sI", 0x10, 0x20, b"??\0\0", 0),
        struct.pack("<HH4sI", 0x10, 0x20, b"lo\0\0", 0),
        struct.pack("<HH4sI", 0x10, 0x20, b"\0\0\0\0", 0),
    ],
)
def test_broken_value_representation_is_c001(data: bytes) -> None:
    refused(data)


def test_deep_nesting_is_c001() -> None:
    def nested(depth: int) -> bytes:
        data = b""
        for _ in range(depth):
            data = implicit(STEPS, implicit(0xFFFEE000, data))
        return data

    assert decode_data_set(nested(MAX_NESTING), IMPLICIT).items(STEPS)
    refused(nested(MAX_NESTING + 1), IMPLICIT)
    refused(nested(5000), IMPLICIT)


def test_size_is_limited_also_when_inflated() -> None:
    data = implicit(PATIENT_ID, bytes(MAX_IDENTIFIER_BYTES - 8))
    assert len(decode_data_set(data, IMPLICIT).elements) == 1
    refused(data + b"\0", IMPLICIT)
    deflate = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    refused(deflate.compress(bytes(MAX_IDENTIFIER_BYTES * 4)) + deflate.flush(), DEFLATED)
    refused(b"\xff" * 9, DEFLATED)
    refused(b"", DEFLATED)


def test_f13_a_thousand_uids_in_one_key() -> None:
    uids = "\\".join(f"2.25.192461097544172057884741607938273{n:06}" for n in range(1000))
    data = implicit(0x0020000D, uids.encode() + b"\0")
    assert decode_data_set(data, IMPLICIT).text(0x0020000D) == uids


def test_f18_an_answer_names_its_character_set_when_needed() -> None:
    fields = [(PATIENT_NAME, "PN")]

    def named(value: str, charsets: tuple[str, ...]) -> tuple[str, ...]:
        data = ResponseEncoder(fields, charsets, implicit=True).encode([value])
        identifier = decode_data_set(data, IMPLICIT)
        assert identifier.text(PATIENT_NAME) == value
        return identifier.charsets

    assert named("Doe", ()) == ()
    assert named("Doe", ("ISO_IR 100",)) == ("ISO_IR 100",)
    assert named("Rüdiger", ("ISO_IR 100",)) == ("ISO_IR 100",)
    assert named("山", ("ISO_IR 100",)) == ("ISO_IR 192",)
    assert named("Rüdiger", ()) == ("ISO_IR 192",)
    assert named("山", ("", "ISO 2022 IR 87")) == ("", "ISO 2022 IR 87")


def test_answers_are_padded_packed_and_in_order() -> None:
    encoder = ResponseEncoder([(0x0020000D, "UI"), (0x00200010, "SH"), (ROWS, "US")], (), implicit=False)
    assert encoder.encode(["1.2", "A", "512\\1"]) == (
        b"\x20\0\x0d\0UI\x04\x001.2\0" + b"\x20\0\x10\0SH\x02\0A " + b"\x28\0\x10\0US\x04\0\0\x02\1\0"
    )
    assert encoder.encode(["", "", "70000"]).endswith(b"US\0\0")
    assert encoder.encode(["", "", "wide"]).endswith(b"US\0\0")


def test_f24_text_beyond_a_length_of_16_bits_goes_out_as_un() -> None:
    encoder = ResponseEncoder([(PATIENT_ID, "LO"), (0x00104000, "LT"), (0x0040A160, "UT")], (), implicit=False)
    values = ["x" * 65534, "y" * 65535, "z" * 70000]
    identifier = decode_data_set(encoder.encode(values), EXPLICIT)
    assert [identifier.text(tag) for tag in (PATIENT_ID, 0x00104000, 0x0040A160)] == values
    assert b"\x10\0\x00\x40UN\0\0" in encoder.encode(values)


@pytest.mark.parametrize(
    "elements", [[(PATIENT_ID, "LO"), (PATIENT_NAME, "PN")], [(PATIENT_ID, "LO")] * 2, [(SPECIFIC_CHARACTER_SET, "CS")]]
)
def test_elements_of_an_answer_have_to_ascend(elements: list[tuple[int, str]]) -> None:
    with pytest.raises(ValueError, match="ascend"):
        ResponseEncoder(elements, (), implicit=True)


def test_an_answer_needs_a_value_for_each_element() -> None:
    with pytest.raises(ValueError, match="shorter"):
        ResponseEncoder([(PATIENT_ID, "LO"), (ROWS, "US")], (), implicit=True).encode(["P1"])
