"""Items of sequences as the index keeps them, and as keys ask for them (PS3.4 C.2.2.2.6)."""

from hypothesis import given
from hypothesis import strategies as st

from minipacs.dicom.data_set import items
from minipacs.dicom.data_set.decode import DataSet, Element
from minipacs.dicom.data_set.header import HeaderScanner
from minipacs.dicom.data_set.values import Values, encode
from minipacs.dicom.tables.keys import STANDARD_KEYS
from minipacs.dicom.tables.transfer_syntaxes import (
    EXPLICIT_VR_LITTLE_ENDIAN,
    IMPLICIT_VR_LITTLE_ENDIAN,
    TRANSFER_SYNTAXES,
)

REQUEST, STEP_ID, DESCRIPTION, PROTOCOL, CODE = 0x00400275, 0x00400009, 0x00321060, 0x00400008, 0x00080100

ITEM: st.SearchStrategy[Values] = st.fixed_dictionaries(
    {},
    optional={
        STEP_ID: st.text("ABC1", min_size=1, max_size=8),
        DESCRIPTION: st.text("aé王", min_size=1, max_size=8),
        PROTOCOL: st.lists(st.just({CODE: "C1"}), min_size=1, max_size=2).map(tuple),
    },
)


@given(st.lists(ITEM.filter(bool), min_size=1, max_size=3).map(tuple), st.booleans(), st.integers(1, 20))
def test_the_header_scan_keeps_the_items_of_sequence_keys(asked: tuple[Values, ...], implicit: bool, step: int):
    data = encode({REQUEST: asked}, ("ISO_IR 192",), implicit=implicit)
    scanner = HeaderScanner(
        TRANSFER_SYNTAXES[IMPLICIT_VR_LITTLE_ENDIAN if implicit else EXPLICIT_VR_LITTLE_ENDIAN], STANDARD_KEYS.tags
    )
    for i in range(0, len(data), step):
        scanner.feed(data[i : i + step])
    text = scanner.finish().values()["RequestAttributesSequence"]
    assert items.from_text(text) == asked


def test_items_that_hold_nothing_are_no_text():
    assert items.to_text(REQUEST, []) == ""
    assert items.to_text(REQUEST, [DataSet({})]) == ""
    assert items.from_text("") == ()


def test_a_sequence_that_cannot_be_read_has_no_items():
    assert items.stored(REQUEST, b"\xfe\xff\0\xe0\xff\0\0\0AB", implicit=True, big_endian=False, charsets=()) == ""


def test_what_a_key_asks_for_is_picked_of_every_item():
    found = items.from_text(items.to_text(REQUEST, [_item(b"S1"), _item(b"S2", b"why")]))
    assert items.pick(found, ()) == found
    assert items.pick(found, ({},)) == found
    assert items.pick(found, ({DESCRIPTION: ""},)) == ({DESCRIPTION: ""}, {DESCRIPTION: "why"})
    assert items.pick(found, ({PROTOCOL: ({CODE: ""},)},)) == ({PROTOCOL: ()}, {PROTOCOL: ()})


def _item(step: bytes, description: bytes = b"") -> DataSet:
    elements = {STEP_ID: Element("SH", step)}
    return DataSet(elements | ({DESCRIPTION: Element("LO", description)} if description else {}))
