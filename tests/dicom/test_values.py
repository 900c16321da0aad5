"""Small data sets as values: to bytes and JSON, and back."""

import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom import dcmread

from minipacs.dicom.data_set.decode import decode_data_set
from minipacs.dicom.data_set.json_values import by_keyword, dumps, loads, parse
from minipacs.dicom.data_set.values import Values, encode, read
from minipacs.dicom.tables.transfer_syntaxes import (
    EXPLICIT_VR_LITTLE_ENDIAN,
    IMPLICIT_VR_LITTLE_ENDIAN,
    TRANSFER_SYNTAXES,
)
from tests.support.elements import as_file
from tests.support.modality import dataset, request

NAME, PATIENT_ID, PREGNANCY, STUDY_UID, CODES = 0x00100010, 0x00100020, 0x001021C0, 0x0020000D, 0x00321064
SYNTAXES = (EXPLICIT_VR_LITTLE_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN)

letters = st.text(st.characters(categories=["L", "N"]), max_size=20)
flat = st.fixed_dictionaries(
    {},
    optional={
        NAME: letters,
        PATIENT_ID: letters,
        PREGNANCY: st.integers(0, 0xFFFF).map(str),
        STUDY_UID: st.sampled_from(["", "1.2.3", "2.25.1"]),
    },
)
values = st.recursive(
    flat, lambda inner: st.builds(lambda top, items: {**top, CODES: tuple(items)}, flat, st.lists(inner, max_size=3))
)


@given(values, st.sampled_from(SYNTAXES), st.sampled_from([(), ("ISO_IR 100",), ("ISO_IR 192",)]))
def test_what_is_encoded_is_read_again(made: Values, syntax: str, charsets: tuple[str, ...]):
    data = encode(made, charsets, implicit=syntax == IMPLICIT_VR_LITTLE_ENDIAN)
    assert read(decode_data_set(data, TRANSFER_SYNTAXES[syntax])) == (made, ())


@given(values)
def test_json_keeps_values(made: Values):
    assert loads(dumps(made)) == made
    assert parse(json.loads(json.dumps(by_keyword(made)))) == made


@pytest.mark.parametrize("syntax", SYNTAXES)
def test_pydicom_reads_what_is_encoded(syntax: str):
    made = parse(request(PatientName="山田^太郎", PregnancyStatus=4))
    data = encode(made, (), implicit=syntax == IMPLICIT_VR_LITTLE_ENDIAN)
    found = dcmread(io.BytesIO(as_file(data, syntax)))
    assert found.SpecificCharacterSet == "ISO_IR 192"
    assert found.PatientName == "山田^太郎"
    assert found.PregnancyStatus == 4
    assert found.ScheduledProcedureStepSequence[0].Modality == "CT"


def test_the_dicom_json_model_gives_the_same_as_keywords():
    made = request(PatientName="Yamada^T=山田^太郎", PregnancyStatus=4, OtherPatientIDs=["A", "B"])
    assert parse(dataset(made).to_json_dict()) == parse(made)


@pytest.mark.parametrize("name", ["0010_020", "+0100020", " 0010020", "0x100020", "No Keyword"])
def test_what_only_looks_like_a_tag_is_none(name: str):
    """Numbers of Python's own are no tags: what was meant is not known."""
    with pytest.raises(ValueError, match="no keyword or tag"):
        parse({name: "P1"})


def test_private_elements_and_binary_ones_are_told():
    data = b"\x09\x00\x01\x10LO\x02\x00X \x10\x00\x20\x00LO\x02\x00P1\x42\x00\x11\x00OB\x00\x00\x02\x00\x00\x00ab"
    found = read(decode_data_set(data, TRANSFER_SYNTAXES[EXPLICIT_VR_LITTLE_ENDIAN]))
    assert found == ({PATIENT_ID: "P1"}, (0x00091001, 0x00420011))
