"""Extended keys, as the configuration names them (PS3.4 C.2.2.1.3)."""

import pytest

from minipacs.dicom.tables.keys import KeyTable, extended_key


@pytest.mark.parametrize(
    ("text", "keyword", "tag", "vr", "level", "multi", "creator"),
    [
        ("ScanOptions", "ScanOptions", 0x00180022, "CS", "IMAGE", True, ""),
        ("00180022", "ScanOptions", 0x00180022, "CS", "IMAGE", True, ""),
        ("SERIES:ScanOptions", "ScanOptions", 0x00180022, "CS", "SERIES", True, ""),
        ("ResponsiblePerson", "ResponsiblePerson", 0x00102297, "PN", "PATIENT", False, ""),
        ("CurrentPatientLocation", "CurrentPatientLocation", 0x00380300, "LO", "STUDY", False, ""),
        ('0019,"GEMS_ACQU_01",02', '0019,"GEMS_ACQU_01",02', 0x00190002, "SL", "IMAGE", False, "GEMS_ACQU_01"),
        ('STUDY:0029,"UNHEARD OF",1f', '0029,"UNHEARD OF",1F', 0x0029001F, "LO", "STUDY", False, "UNHEARD OF"),
        ("00181999", "00181999", 0x00181999, "LO", "IMAGE", False, ""),
    ],
)
def test_a_key_is_named_by_keyword_tag_or_creator(text, keyword, tag, vr, level, multi, creator):
    found = extended_key(text)
    assert (found.keyword, found.tag, found.vr, found.level, found.multi, found.creator, found.column) == (
        *(keyword, tag, vr, level, multi, creator),
        "",
    )


@pytest.mark.parametrize(
    "text",
    [
        *("", "NoSuchKeyword", "PatientID", "RequestAttributesSequence", "SpecificCharacterSet", "PixelData"),
        *("00100000", "00190002", "00020010", "7FE00010", "FFFEE000", "ROOM:ScanOptions", ":ScanOptions"),
        *('0018,"ACME",10', '0019,"",10', '0019,"A\\B",10', '0019,"ACME",1', "0018002"),
    ],
)
def test_what_is_no_key_is_refused(text: str):
    with pytest.raises(ValueError, match=r"\w"):
        extended_key(text)


def test_a_table_finds_private_keys_in_every_block():
    key = extended_key('0019,"ACME",02')
    table = KeyTable([key])
    assert table.private(0x00191002, "ACME") is table.private(0x0019FF02, "ACME") is key
    assert table.private(0x00191002, "OTHER") is None
    assert table.private(0x00191003, "ACME") is None
    assert {0x00190010, 0x001900FF, 0x00191002, 0x0019FF02} <= table.tags
    assert key.tag not in table.by_tag
    assert table.rare[-1] is key
