"""Messages as they are read: character sets, delimiters, escapes, and what is no message."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minipacs.hl7.acknowledgement import Header, acknowledge
from minipacs.hl7.faults import CONDITIONS, Refused, acknowledgement_code
from minipacs.hl7.message import read
from tests.support.hl7 import order

HEAD = "MSH|^~\\&|RIS|HOSP|||20261124||ADT^A08|1|P|2.5"


@pytest.mark.parametrize(
    ("charset", "codec"),
    [
        *[("", "latin-1"), ("8859/1", "latin-1"), ("8859/2", "iso8859_2"), ("8859/5", "iso8859_5")],
        *[("8859/7", "iso8859_7"), ("8859/15", "iso8859_15"), ("UNICODE UTF-8", "utf-8"), ("UNICODE", "utf-8")],
        *[("GB 18030-2000", "gb18030"), ("BIG-5", "big5"), ("KS X 1001", "euc_kr"), ("~ISO IR87", "iso2022_jp")],
    ],
)
def test_names_are_read_in_the_character_set_of_the_message(charset: str, codec: str):
    names = ["Müller", "Dvořák", "Люкceмбypг", "Διονυσιος", "山田", "王", "김희중", "Œuvre", "許功蓋|"]
    fits = [name for name in names if name.encode(codec, "ignore").decode(codec) == name]
    assert fits, codec
    for name in fits:
        text = f"{HEAD}||||||{charset}\rPID|1||1||{name.rstrip('|')}^x\r"
        message = read(text.encode(codec), "8859/1")
        assert message.first("PID").text(5) == name.rstrip("|")  # type: ignore[union-attr]


def test_delimiters_are_those_of_the_message():
    message = read(b"MSH*%$!:*RIS*H***1**ADT%A08*7*P*2.5\rPID***1%%%HOSP:1.2:ISO$2**A%B\r", "8859/1")
    pid = message.first("PID")
    assert message.head.event == "A08"
    assert pid is not None
    assert [each.text() for each in pid.field(3).repetitions()] == ["1", "2"]
    assert pid.text(3, 4, 2) == "1.2"


def test_escapes_are_resolved():
    text = r"a\F\b\S\c\T\d\R\e\E\f\X41\g\.br\h\H\i\N\j"
    message = read(f"{HEAD}\rPID|||1||{text}\r".encode(), "8859/1")
    assert message.first("PID").text(5) == "a|b^c&d~e\\fAg\nhij"  # type: ignore[union-attr]


@pytest.mark.parametrize("ending", ["\r", "\n", "\r\n"])
def test_segments_end_as_senders_end_them(ending: str):
    message = read(f"{HEAD}{ending}PID|||1{ending}ZZZ|x".encode(), "8859/1")
    assert [segment.name for segment in message.segments] == ["MSH", "PID", "ZZZ"]


@pytest.mark.parametrize(
    ("data", "condition"),
    [
        (b"", 100),
        (b"MSH", 100),
        (b"PID|1\rMSH|^~\\&|", 100),
        (b"MSH||||||||||||\r", 102),
        (b"MSH|^~\\^|A|B|||1||ADT^A08|1|P|2.5\r", 102),
        (HEAD.encode() + b"||||||NO SUCH SET\r", 103),
        (HEAD.encode() + b"||||||UNICODE UTF-8\rPID|||1||\xff\r", 102),
        (HEAD.encode() + b"\r" + HEAD.encode() + b"\r", 100),
        (HEAD.encode() + b"\rpid|1\r", 100),
        (HEAD.replace("ADT^A08", "").encode(), 101),
        (HEAD.replace("|1|P", "||P").encode(), 101),
        (HEAD.encode() + b"\rNTE|1" * 2001, 102),
        (HEAD.encode() + b"\rNTE" + b"|" * 300_000, 102),
    ],
)
def test_what_is_no_message_is_refused_with_its_reason(data: bytes, condition: int):
    with pytest.raises(Refused) as refused:
        read(data, "8859/1")
    assert refused.value.condition == condition
    answer = acknowledge(Header.of(data), condition, str(refused.value), refused.value.location)
    assert answer.split(b"\r")[1].startswith(f"MSA|{acknowledgement_code(condition)}".encode()) or b"MSA" in answer


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=400), st.integers(0, 300))
def test_any_bytes_are_read_or_refused(noise: bytes, at: int):
    data = order().encode()
    for each in (noise, data[:at] + noise + data[at:], data[:at]):
        condition = 0
        try:
            read(each, "8859/1")
        except Refused as refused:
            condition = refused.condition
        assert condition in CONDITIONS
        acknowledge(Header.of(each), 207, "it | cannot ^ be", "MSH^1")


def test_an_answer_repeats_what_names_the_message_and_escapes_its_words():
    header = Header.of(order(control_id="A1", charset="UNICODE UTF-8").encode())
    msh, msa, err, _ = acknowledge(header, 103, "a|b^c\\d", "ORC^1^1").decode().split("\r")
    assert msh.split("|")[2:6] == ["", "", "RIS", "HOSP"]
    assert (msh.split("|")[8], msh.split("|")[17]) == ("ACK^O01^ACK", "UNICODE UTF-8")
    assert msa == r"MSA|AE|A1|a\F\b\S\c\E\d"
    assert err == r"ERR||ORC^1^1|103^Table value not found^HL70357|E||||a\F\b\S\c\E\d"
