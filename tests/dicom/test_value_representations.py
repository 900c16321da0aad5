import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.valuerep import EXPLICIT_VR_LENGTH_16

from minipacs.dicom.tables.value_representations import NUMBER_FORMATS, SHORT_VRS, pack_numbers, read_numbers


def test_short_vrs_are_those_of_pydicom() -> None:
    assert {str(vr) for vr in EXPLICIT_VR_LENGTH_16} == SHORT_VRS


@pytest.mark.parametrize(("vr", "letter"), NUMBER_FORMATS.items())
@given(data=st.data())
def test_numbers_survive_as_text(vr: str, letter: str, data: st.DataObject) -> None:
    size = struct.calcsize("=" + letter)
    raw = data.draw(st.binary(min_size=size, max_size=size)) * data.draw(st.integers(1, 3))
    text = read_numbers(raw, vr)
    assert text.count("\\") == len(raw) // size - 1
    if "nan" not in text:
        assert pack_numbers(text, vr) == raw
        assert (
            read_numbers(b"".join(raw[i : i + size][::-1] for i in range(0, len(raw), size)), vr, big_endian=True)
            == text
        )


@pytest.mark.parametrize(("raw", "vr"), [(b"", "US"), (b"\1", "US"), (b"\1\2\3", "UL"), (b"1234567", "FD")])
def test_an_impossible_length_reads_as_nothing(raw: bytes, vr: str) -> None:
    assert read_numbers(raw, vr) == ""


@pytest.mark.parametrize(
    ("text", "vr"), [("", "US"), ("x", "UL"), ("-1", "US"), ("65536", "US"), ("1e99", "FL"), ("1\\", "SS")]
)
def test_what_a_vr_cannot_hold_is_packed_as_nothing(text: str, vr: str) -> None:
    assert pack_numbers(text, vr) == b""
