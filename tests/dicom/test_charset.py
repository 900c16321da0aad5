import warnings

import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.data import get_charset_files

from minipacs.dicom.tables.attributes import SPECIFIC_CHARACTER_SET
from minipacs.dicom.text import charset
from minipacs.dicom.text.charset import choose, decode, encode, terms
from minipacs.errors import Failure, Kind

ANNEXES = {
    "H.3.1": (
        ("", "ISO 2022 IR 87"),
        b"Yamada^Tarou=\x1b$B;3ED\x1b(B^\x1b$BB@O:\x1b(B=\x1b$B$d$^$@\x1b(B^\x1b$B$?$m$&\x1b(B",
        "Yamada^Tarou=山田^太郎=やまだ^たろう",
    ),
    "H.3.2": (
        ("ISO 2022 IR 13", "ISO 2022 IR 87"),
        b"\xd4\xcf\xc0\xde^\xc0\xdb\xb3=\x1b$B;3ED\x1b(J^\x1b$BB@O:\x1b(J=\x1b$B$d$^$@\x1b(J^\x1b$B$?$m$&\x1b(J",
        "ﾔﾏﾀﾞ^ﾀﾛｳ=山田^太郎=やまだ^たろう",
    ),
    "I.2": (
        ("", "ISO 2022 IR 149"),
        b"Hong^Gildong=\x1b$)C\xfb\xf3^\x1b$)C\xd1\xce\xd4\xd7=\x1b$)C\xc8\xab^\x1b$)C\xb1\xe6\xb5\xbf",
        "Hong^Gildong=洪^吉洞=홍^길동",
    ),
    "J.1": (
        ("ISO_IR 192",),
        b"Wang^XiaoDong=\xe7\x8e\x8b^\xe5\xb0\x8f\xe6\x9d\xb1=",
        "Wang^XiaoDong=王^小東=",
    ),
    "J.3": (("GB18030",), b"Wang^XiaoDong=\xcd\xf5^\xd0\xa1\xb6\xab=", "Wang^XiaoDong=王^小东="),
    "J.3 as GBK": (("GBK",), b"Wang^XiaoDong=\xcd\xf5^\xd0\xa1\xb6\xab=", "Wang^XiaoDong=王^小东="),
    "K.2": (
        ("", "ISO 2022 IR 58"),
        b"Zhang^XiaoDong=\x1b$)A\xd5\xc5^\x1b$)A\xd0\xa1\xb6\xab=",
        "Zhang^XiaoDong=张^小东=",
    ),
}

F18_SAMPLES = {
    "ISO_IR 100": "Äneas^Rüdiger",
    "ISO_IR 101": "Wałęsa^Dvořák",
    "ISO_IR 109": "Ħal^Ġorġ",
    "ISO_IR 110": "Bērziņš^Jānis",
    "ISO_IR 126": "Διονυσιος",
    "ISO_IR 127": "قباني^لنزار",
    "ISO_IR 138": "שרון^דבורה",
    "ISO_IR 144": "Люкceмбypг",
    "ISO_IR 148": "Çavuşoğlu^İnci",
    "ISO_IR 166": "สมชาย^ใจดี",
    "ISO_IR 203": "Œuvre^€uro",
    "ISO_IR 13": "ﾔﾏﾀﾞ^ﾀﾛｳ",
    "ISO_IR 192": "王^小東^é",
    "GB18030": "王^小东^é",
    "GBK": "王^小东",
    "\\ISO 2022 IR 87": "Yamada^Tarou=山田^太郎",
    "\\ISO 2022 IR 159": "丂丄",
    "ISO 2022 IR 13\\ISO 2022 IR 87": "ﾔﾏﾀﾞ^ﾀﾛｳ=山田^太郎",
    "\\ISO 2022 IR 149": "Hong^Gildong=洪^吉洞=홍^길동",
    "\\ISO 2022 IR 58": "Zhang^XiaoDong=张^小东·约翰",
    "ISO 2022 IR 100\\ISO 2022 IR 126\\ISO 2022 IR 144": "Buc^Jérôme=Διονυσιος^é=Люкceмбypг",
    "ISO 2022 IR 87": "山田^太郎",
    "ISO 2022 IR 149": "김희중",
}


@pytest.mark.parametrize("annex", ANNEXES)
def test_the_names_of_the_annexes_read_and_write_as_printed(annex: str) -> None:
    charsets, raw, name = ANNEXES[annex]
    assert decode(raw, charsets, "PN") == name
    assert encode(name, charsets, "PN") == raw


def test_annex_k3_every_line_of_a_text_designates_anew() -> None:
    raw = (
        b"1.\x1b$)A\xb5\xda\xd2\xbb\xd0\xd0\xce\xc4\xd7\xd6\xa1\xa3\r\n"
        b"2.\x1b$)A\xb5\xda\xb6\xfe\xd0\xd0\xce\xc4\xd7\xd6\xa1\xa3\r\n"
        b"3.\x1b$)A\xb5\xda\xc8\xfd\xd0\xd0\xce\xc4\xd7\xd6\xa1\xa3\r\n"
    )
    text = "1.第一行文字。\r\n2.第二行文字。\r\n3.第三行文字。\r\n"
    assert decode(raw, ("", "ISO 2022 IR 58"), "LT") == text
    assert encode(text, ("", "ISO 2022 IR 58"), "LT") == raw


def test_ir_58_escape_sequence_is_not_part_of_the_name() -> None:
    assert "\x1b" not in decode(b"\x1b$)A\xd5\xc5^\x1b$)A\xd0\xa1", ("", "ISO 2022 IR 58"), "PN")


@pytest.mark.parametrize("path", sorted(get_charset_files("*.dcm")), ids=lambda path: path.rsplit("/", 1)[-1])
def test_shipped_files_read_as_pydicom_reads_them(path: str) -> None:
    dataset = pydicom.dcmread(path, force=True)
    named = dataset.SpecificCharacterSet
    charsets = terms(named if isinstance(named, str) else "\\".join(named))
    raws = {tag: element.value for tag, element in dataset._dict.items() if getattr(element, "is_raw", False)}
    for tag, raw in raws.items():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            element = dataset[tag]
        if element.VR in charset.TEXT_VRS and raw:
            expected = "\\".join(map(str, element.value)) if element.VM > 1 else str(element.value)
            assert decode(raw, charsets, element.VR).rstrip("=") == expected.rstrip("=")


@pytest.mark.parametrize("named", F18_SAMPLES)
def test_f18_text_survives_its_character_set(named: str) -> None:
    charsets, text = terms(named), F18_SAMPLES[named]
    assert terms(named) == tuple(named.split("\\"))
    raw = encode(text, charsets, "PN")
    assert raw is not None
    assert decode(raw, charsets, "PN") == text
    assert decode(raw, charsets, "PN") == decode(raw + b" ", charsets, "PN")


LETTERS = "".join(F18_SAMPLES.values()) + "aZ ^=\\~¥‾＼～\r\n\t・"


@given(
    named=st.sampled_from(["", *F18_SAMPLES]),
    vr=st.sampled_from(["PN", "LO", "LT", "UT"]),
    text=st.text(st.sampled_from(LETTERS) | st.characters(exclude_characters="\0\x1b", codec="utf-8")),
)
@settings(max_examples=1000)
def test_what_fits_reads_as_written(named: str, vr: str, text: str) -> None:
    charsets = terms(named)
    text = decode(text.encode(), ("ISO_IR 192",), vr)
    raw = encode(text, charsets, vr)
    if raw is not None:
        assert decode(raw, charsets, vr) == text
    else:
        assert not text.isascii() or charset.encode("~", charsets, vr) is None


@given(
    vr=st.sampled_from(["PN", "LO", "LT", "UI", "CS"]),
    raw=st.binary()
    | st.lists(st.sampled_from([*charset._BY_ESCAPE, b"\x1b", b"^", b"\\", b"%^", b"\xb0\xa1"])).map(b"".join),
    charsets=st.lists(st.sampled_from(["", "X", "ISO_IR 13", "ISO 2022 IR 13", "GBK", *F18_SAMPLES]), max_size=3),
)
def test_s13_reading_never_fails(vr: str, raw: bytes, charsets: list[str]) -> None:
    text = decode(raw, charsets, vr)
    text.encode("utf-8")
    assert "\0" not in text
    assert text == text.rstrip(" ")


@pytest.mark.parametrize("number", ["58", "87", "149", "159"])
def test_every_character_of_two_bytes_survives(number: str) -> None:
    (element,) = charset._TERMS[number]
    text = "".join(element.codes)
    assert len(element.codes) > 6000
    assert not any(char.isascii() for char in text)
    raw = encode(text, ("", f"ISO 2022 IR {number}"), "LO")
    assert raw is not None
    assert decode(raw, ("", f"ISO 2022 IR {number}"), "LO") == text


def test_a_delimiter_within_a_character_of_two_bytes_is_none() -> None:
    assert decode(b"\x1b$B%^%d\x1b(B^\x1b$B%\\%=\x1b(B", ("", "ISO 2022 IR 87"), "PN") == "マヤ^ボソ"
    assert decode("A\\昞".encode("gbk"), ("GBK",), "LO").split("\\") == ["A", "昞"]
    assert decode(b"\x81\x5c\\B", ("GB18030",), "LO").split("\\") == [b"\x81\x5c".decode("gb18030"), "B"]


def test_the_first_character_set_is_active_again_after_a_delimiter() -> None:
    greek = ("ISO 2022 IR 100", "ISO 2022 IR 126")
    for delimiter in "\\", "^", "=", "\r", "\n", "\t", "\f":
        raw = b"\x1b-F\xe1" + delimiter.encode() + b"\xe9"
        assert decode(raw, greek, "PN") == f"α{delimiter}é"
    assert decode(b"\x1b-F\xe1^\xe1", greek, "LO") == "α^α"
    assert decode(b"\x1b-F\xe1\\\xe1", greek, "LT") == "α\\α"
    assert encode("α^é", greek, "PN") == b"\x1b-F\xe1\x1b-A^\xe9"


def test_a_missing_designation_is_made_up_for() -> None:
    assert decode(b"\xb1\xe8\xc8\xf1\xc1\xdf", ("", "ISO 2022 IR 149"), "PN") == "김희중"
    assert decode(b"\x1b$B;3ED^\x1b$BB@O:", ("", "ISO 2022 IR 87"), "PN") == "山田^太郎"
    assert decode(b"\x1b$B;3\x1b(B", (), "PN") == "山"


def test_unreadable_bytes_are_replaced() -> None:
    assert decode(b"A\xff", ("ISO_IR 192",), "LO") == "A\ufffd"
    assert decode(b"A\x1b%G", ("", "ISO 2022 IR 87"), "LO") == "A\ufffd%G"
    assert decode(b"\x1b$B;3\x7f\x7f\x1b(B", ("", "ISO 2022 IR 87"), "LO") == "山\x7f\x7f"
    assert decode(b"C\xd4", ("ISO_IR 100",), "CS") == "C\ufffd"


def test_s13_text_in_an_unknown_or_no_character_set_reads_like_latin_1() -> None:
    assert decode(b"J\xe9r\xf4me", (), "PN") == "Jérôme"
    assert decode(b"J\xe9r\xf4me", ("ISO_IR 999",), "PN") == "Jérôme"


def test_the_backslash_of_iso_ir_13_separates_or_is_a_yen_sign() -> None:
    assert decode(b"\xb1\\~", ("ISO_IR 13",), "LO") == "ｱ\\‾"
    assert decode(b"\xb1\\~", ("ISO_IR 13",), "LT") == "ｱ¥‾"
    assert encode("ｱ¥", ("ISO_IR 13",), "LT") == b"\xb1\\"
    assert encode("ｱ¥", ("ISO_IR 13",), "LO") is None
    assert encode("ｱ\\ｲ", ("ISO_IR 13",), "LO") == b"\xb1\\\xb2"
    assert encode("\\", ("ISO_IR 13",), "LT") is None


@pytest.mark.parametrize(
    ("raw", "vr", "text"),
    [
        (b" A B \0", "LO", "A B"),
        (b"1.2.3\0", "UI", "1.2.3"),
        (b"1.2 \\ 1.3\0", "UI", "1.2\\1.3"),
        (b"ORIGINAL \\ PRIMARY ", "CS", "ORIGINAL\\PRIMARY"),
        (b" Doe^J ", "PN", " Doe^J"),
        (b"Doe^J \\Roe ", "PN", "Doe^J\\Roe"),
        (b"  indented \\ text ", "LT", "  indented \\ text"),
        (b"\0\0", "LO", ""),
        (b"", "PN", ""),
    ],
)
def test_f24_padding_is_stripped(raw: bytes, vr: str, text: str) -> None:
    assert decode(raw, (), vr) == text


@pytest.mark.parametrize(
    ("text", "charsets"),
    [
        ("é", ()),
        ("é", ("ISO_IR 144",)),
        ("€", ("ISO_IR 100",)),
        ("张", ("", "ISO 2022 IR 149")),
        ("~", ("ISO_IR 13",)),
        ("é", ("ISO_IR 999",)),
        ("\ud800", ("ISO_IR 192",)),
        ("\u0e5c", ("GBK",)),
    ],
)
def test_what_does_not_fit_gives_none(text: str, charsets: tuple[str, ...]) -> None:
    assert encode(text, charsets, "LO") is None


def test_vrs_outside_the_character_set_are_written_in_ascii() -> None:
    assert encode("CÔTE", ("ISO_IR 100",), "CS") == b"C?TE"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("", ()),
        (" \0", ()),
        ("\\", ()),
        ("ISO_IR 100 ", ("ISO_IR 100",)),
        ("iso-ir 100", ("ISO_IR 100",)),
        ("ISO_IR_192", ("ISO_IR 192",)),
        ("ISO 2022 GBK", ("GBK",)),
        ("\\ISO 2022 58", ("", "ISO 2022 IR 58")),
        ("\\ISO_IR 87", ("", "ISO 2022 IR 87")),
        ("ISO 2022 IR 6\\ISO 2022 IR 87", ("ISO 2022 IR 6", "ISO 2022 IR 87")),
        ("\\ISO_IR 192", ("ISO_IR 192",)),
        ("GB18030\\ISO 2022 IR 87", ("GB18030",)),
        ("KLINGON", ("KLINGON",)),
    ],
)
def test_terms(value: str, expected: tuple[str, ...]) -> None:
    assert terms(value) == expected


def test_only_so_many_terms_are_looked_at() -> None:
    assert len(terms("\\ISO 2022 IR 87" * 100_000)) == charset.MAX_TERMS


@pytest.mark.parametrize("value", ["ISO_IR 999", "KLINGON", "100", "192", "ISO 2022", "?", "ISO_IR 100\\X"])
def test_unknown_character_set_of_an_identifier_is_c001(value: str) -> None:
    with pytest.raises(Failure) as caught:
        charset.check(terms(value))
    assert caught.value.kind is Kind.UNKNOWN_CHARSET
    assert caught.value.tags == (SPECIFIC_CHARACTER_SET,)


@pytest.mark.parametrize("value", ["", *F18_SAMPLES])
def test_known_character_sets_pass(value: str) -> None:
    charset.check(terms(value))
    assert charset.unknown(terms(value)) == ()


def test_f18_answers_come_in_the_character_set_of_the_request_if_all_fits() -> None:
    latin = ("ISO_IR 100",)
    assert choose([("PN", "Doe")], ()) == ()
    assert choose([("PN", "Doe")], latin) == latin
    assert choose([("PN", "Rüdiger"), ("LO", "x")], latin) == latin
    assert choose([("PN", "Rüdiger"), ("LO", "山")], latin) == ("ISO_IR 192",)
    assert choose([("PN", "Rüdiger")], ()) == ("ISO_IR 192",)
    assert choose([("CS", "C\ufffd")], ()) == ()
    assert choose([("LO", "~")], ("ISO_IR 13",)) == ("ISO_IR 192",)
