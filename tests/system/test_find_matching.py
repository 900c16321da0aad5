"""C-FIND by real clients: which stored values match which keys (PS3.4 C.2.2.2)."""

import re
from collections.abc import Callable, Iterator

import pytest
from pydicom.dataset import Dataset
from pynetdicom import AE
from pynetdicom.pdu_primitives import SOPClassExtendedNegotiation

from tests.support import dcmtk
from tests.support.finder import PENDING, Finder, Keys
from tests.support.objects import ct
from tests.support.sender import Sender
from tests.support.server import Server
from tests.support.wire import STUDY_FIND

STUDIES = {
    "S1": {
        "PatientName": "Müller^Jörg",
        "StudyDate": "20240101",
        "StudyTime": "223000",
        "StudyDescription": "50%_off [a]",
        "OtherPatientIDs": ["X1", "Y2"],
        "AccessionNumber": "100",
    },
    "S2": {
        "PatientName": "MULLER^JORG^^Dr",
        "StudyDate": "20240115",
        "StudyTime": "0800",
        "StudyDescription": "HEAD*NECK?",
        "AccessionNumber": "200",
    },
    "S3": {
        "PatientName": "Yamada^Tarou=山田^太郎=やまだ^たろう",
        "StudyDate": "20240131",
        "StudyTime": "22",
        "StudyDescription": "head",
        "AccessionNumber": "",
    },
    "S4": {
        "PatientName": "Sørensen^Ægir",
        "StudyDate": "20240215",
        "StudyTime": "235959.999999",
        "StudyDescription": None,
        "AccessionNumber": None,
        "StudyID": "a  ",
    },
    "S5": {
        "PatientName": "O'Neill^Séan",
        "StudyDate": "",
        "StudyTime": "",
        "StudyDescription": "",
        "AccessionNumber": "10?",
    },
}
"""By Patient ID and Study ID; each study has one image."""


def objects() -> Iterator[Dataset]:
    for n, (name, values) in enumerate(STUDIES.items(), 1):
        ds = ct(
            PatientID=name, StudyInstanceUID=f"1.2.{n}", SeriesInstanceUID=f"1.2.{n}.1", SOPInstanceUID=f"1.2.{n}.1.1"
        )
        ds.SpecificCharacterSet = "ISO_IR 192"
        ds.StudyID = name.lower()
        for keyword, value in values.items():
            setattr(ds, keyword, value)
        ds.RequestAttributesSequence = [_item(f"SPS{n}", f"RP{n}"), _item(f"OTHER{n}", "RPX")]
        ds["RequestAttributesSequence"].is_undefined_length = bool(n % 2)
        yield ds


def _item(step: str, procedure: str) -> Dataset:
    item, code = Dataset(), Dataset()
    item.ScheduledProcedureStepID, item.RequestedProcedureID = step, procedure
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = f"C-{step}", "99T", "Größe"
    item.ScheduledProtocolCodeSequence = [code]
    return item


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    running = Server(tmp_path_factory.mktemp("matching"))
    with Sender(running.port) as sender:
        assert {sender.store(ds).status for ds in objects()} == {0}
    yield running
    running.end()


@pytest.fixture(scope="module")
def match(server: Server) -> Callable[..., str]:
    """Ask at STUDY level; give the Patient IDs that match, without their S."""

    def matching(extended: bytes = b"", level: str = "STUDY", **keys: "str | bytes | list[Keys]") -> str:
        with Finder(server.port, extended=extended) as wire:
            found = wire.find(level, "utf-8", SpecificCharacterSet="ISO_IR 192", **keys)
            assert (found.status, set(found.pending) | {PENDING}) == (0, {PENDING}), found.final.comment
            return "".join(found.all("PatientID")).replace("S", "")

    return matching


@pytest.mark.parametrize(
    ("keys", "studies"),
    [
        ({"PatientName": "müller^jörg"}, "1"),
        ({"PatientName": "MULLER^JORG"}, "1"),
        ({"PatientName": "Muller^Jörg^^DR"}, "2"),
        ({"PatientName": "MÜLLER*"}, "12"),
        ({"PatientName": "sorensen^aegir"}, "4"),
        ({"PatientName": "S?rensen^*"}, "4"),
        ({"PatientName": "o'neill^sean"}, "5"),
        ({"PatientName": "jörg^müller"}, ""),
        ({"StudyDescription": "HEAD"}, ""),
        ({"StudyDescription": "head"}, "3"),
        ({"StudyID": "S1"}, ""),
        ({"PatientID": "s1"}, ""),
        ({"StudyID": "a"}, "4"),
    ],
)
def test_f8_case_and_accents_matter_save_in_names(match, keys, studies):
    assert match(**keys) == studies


@pytest.mark.parametrize(
    ("name", "studies"),
    [
        ("yamada^tarou", "3"),
        ("山田^太郎", "3"),
        ("やまだ*", "3"),
        ("=山田^太郎", "3"),
        ("==やまだ^たろう", "3"),
        ("Yamada^Tarou=山田^太郎=やまだ^たろう", "3"),
        ("Yamada^Tarou==", "3"),
        ("Yamada*=田中*", ""),
        ("*=*=*", "12345"),
        ("MULLER^JORG^^Dr^", "2"),
        ("MULLER^JORG^", "1"),
        ("かまだ*", ""),
    ],
)
def test_f9_groups_and_components_of_names(match, name, studies):
    assert match(PatientName=name) == studies


@pytest.mark.parametrize(
    ("keys", "studies"),
    [
        ({"StudyDescription": "*"}, "12345"),
        ({"StudyDescription": "**"}, "12345"),
        ({"StudyDescription": "?*"}, "123"),
        ({"StudyDescription": "HEAD*"}, "2"),
        ({"StudyDescription": "*e?d*"}, "3"),
        ({"StudyDescription": "50%*"}, "1"),
        ({"StudyDescription": "5%off [a]"}, ""),
        ({"StudyDescription": "50%?off [a]"}, "1"),
        ({"StudyDescription": "50%_off _a]"}, ""),
        ({"StudyDescription": "*[a]"}, "1"),
        ({"StudyDescription": "*a*"}, "13"),
        ({"StudyInstanceUID": "1.2.*"}, ""),
        ({"StudyInstanceUID": "1.2.?"}, ""),
        ({"PatientID": "?"}, ""),
        ({"PatientID": "S?"}, "12345"),
        ({"AccessionNumber": "10?"}, "15"),
    ],
)
def test_f10_wildcards_are_two_and_everything_else_is_plain(match, keys, studies):
    assert match(**keys) == studies


def test_f10_wildcards_are_plain_in_numbers(match):
    assert match(level="IMAGE", InstanceNumber="?") == ""
    assert match(level="IMAGE", InstanceNumber="1") == "12345"


@pytest.mark.parametrize(
    ("keys", "studies"),
    [
        ({"StudyDate": "20240115"}, "2"),
        ({"StudyDate": "2024.01.15"}, "2"),
        ({"StudyDate": "20240115-20240131"}, "23"),
        ({"StudyDate": "20240131-"}, "34"),
        ({"StudyDate": "-20240115"}, "12"),
        ({"StudyDate": "2024.01.15-2024.01.31"}, "23"),
        ({"StudyDate": "20240116-20240130"}, ""),
        ({"StudyTime": "2230"}, "1"),
        ({"StudyTime": "223000.000"}, "1"),
        ({"StudyTime": "22:30"}, "1"),
        ({"StudyTime": "22:00:00-22:30:00"}, "13"),
        ({"StudyTime": "22-22"}, "13"),
        ({"StudyTime": "0800-0800"}, "2"),
        ({"StudyTime": "2230-"}, "14"),
        ({"StudyTime": "-08"}, "2"),
        ({"StudyTime": "235959.9-"}, "4"),
    ],
)
def test_f11_dates_and_times_by_meaning(match, keys, studies):
    assert match(**keys) == studies


def test_f12_dates_and_times_are_independent_unless_negotiated(match):
    keys = {"StudyDate": "20240101-20240131", "StudyTime": "2200-2300"}
    assert match(**keys) == "13"
    assert match(b"\0\1", **keys) == "123"
    assert match(b"\0\1", StudyDate="20240101-20240131", StudyTime="2231-2159") == "2"
    assert match(b"\0\1", StudyDate="20240115-", StudyTime="0900-") == "34"
    assert match(b"\0\1", StudyDate="-20240115", StudyTime="-0700") == "1"
    assert match(b"\0\1", StudyDate="20240101", StudyTime="2200-2300") == "1"


def test_fuzzy_names_if_negotiated(match):
    fuzzy = b"\0\0\1"
    assert match(fuzzy, PatientName="jörg^müller") == "12"
    assert match(fuzzy, PatientName="Moeller") == "12"
    assert match(PatientName="Mueller^Jorg") == ""
    assert match(fuzzy, PatientName="Jorg Miller") == "12"
    assert match(fuzzy, PatientName="Johnson Aegir") == ""
    assert match(fuzzy, PatientName="Soerensen") == "4"
    assert match(fuzzy, PatientName="Shawn") == ""
    assert match(fuzzy, PatientName="太郎^山田") == "3"
    assert match(fuzzy, PatientName="tar* YAMATA") == "3"
    assert match(fuzzy, PatientName="") == "12345"


@pytest.mark.parametrize("padding", ["", " "])
def test_f13_a_thousand_uids_in_one_key(match, padding):
    uids = [f"1.9.{n}" for n in range(998)]
    assert match(StudyInstanceUID="\\".join(["1.2.4", *uids, "1.2.2"]) + padding) == "24"
    assert match(level="SERIES", StudyInstanceUID="\\".join(uids)) == ""


SEQUENCE = "RequestAttributesSequence"


@pytest.mark.parametrize(
    ("items", "studies"),
    [
        ([], "12345"),
        ([{}], "12345"),
        ([{"ScheduledProcedureStepID": ""}], "12345"),
        ([{"ScheduledProcedureStepID": "*", "RequestedProcedureID": ""}], "12345"),
        ([{"ScheduledProcedureStepID": "SPS3"}], "3"),
        ([{"ScheduledProcedureStepID": "sps3"}], ""),
        ([{"ScheduledProcedureStepID": "OTHER?"}], "12345"),
        ([{"ScheduledProcedureStepID": "*4", "RequestedProcedureID": "RPX"}], "4"),
        ([{"ScheduledProcedureStepID": "SPS4", "RequestedProcedureID": "RPX"}], ""),
        ([{"ScheduledProcedureStepID": "SPS1\\SPS5"}], "15"),
        ([{"RequestedProcedureDescription": "x"}], ""),
        ([{"ScheduledProtocolCodeSequence": [{"CodeValue": "C-SPS2"}]}], "2"),
        ([{"ScheduledProtocolCodeSequence": [{"CodeMeaning": "Größe"}], "RequestedProcedureID": "RP1"}], "1"),
        ([{"ScheduledProtocolCodeSequence": [{}], "RequestedProcedureID": "RP1"}], "1"),
        ([{"ScheduledProtocolCodeSequence": [{"CodeValue": "C-SPS2"}], "RequestedProcedureID": "RP1"}], ""),
    ],
)
def test_f14_sequence_keys_match_within_one_item(match, items, studies):
    assert match(level="SERIES", **{SEQUENCE: items}) == studies


def test_f14_findscu_matches_and_gets_sequences(server: Server):
    words = ["QueryRetrieveLevel=SERIES", "(0040,0275)[0].ScheduledProcedureStepID=SPS2", "(0040,0275)[0].(0032,1060)"]
    out = dcmtk.client("findscu", server.port, "-S", *(w for key in words for w in ("-k", key))).stdout
    assert out.count("Find Response:") == 1
    lines = [line.split()[2:5] for line in out.splitlines() if "I:   " in line and "(fffe" not in line]
    step, description = "(0040,0009)", "(0032,1060)"
    tags = [line.split()[1] for line in out.splitlines() if line.startswith("I:     ")]
    assert tags == [description, step, description, step], lines
    assert "[SPS2]" in out
    assert "[OTHER2]" in out
    assert "(0040,1001)" not in out


def test_f14_an_empty_sequence_key_returns_the_items_whole(server: Server):
    with Finder(server.port) as wire:
        (answer,) = wire.find("SERIES", PatientID="S1", **{SEQUENCE: []}).answers
    assert [item.RequestedProcedureID for item in answer[SEQUENCE]] == ["RP1", "RPX"]
    assert answer[SEQUENCE][0].ScheduledProtocolCodeSequence[0].CodeMeaning == "Größe"


@pytest.mark.parametrize(
    ("keys", "studies"),
    [
        ({"OtherPatientIDs": "X1"}, "1"),
        ({"OtherPatientIDs": "Y*"}, "1"),
        ({"OtherPatientIDs": "X1\\Z"}, "1"),
        ({"OtherPatientIDs": "X"}, ""),
        ({"ModalitiesInStudy": "CT"}, "12345"),
        ({"ModalitiesInStudy": "MR\\CT"}, "12345"),
        ({"ModalitiesInStudy": "MR"}, ""),
    ],
)
def test_f15_any_of_several_values_matches(match, keys, studies):
    assert match(**keys) == studies


def test_f15_all_values_are_returned(server: Server):
    out = dcmtk.client("findscu", server.port, "-S", "-k", "QueryRetrieveLevel=STUDY", "-k", "0010,1000=Y2").stdout
    assert "[X1\\Y2 ]" in out or "[X1\\Y2]" in out


def test_f16_what_is_empty_only_matches_universal_keys(match):
    assert match(AccessionNumber="*") == "12345"
    assert match(AccessionNumber="") == "12345"
    assert match(AccessionNumber="100") == "1"
    assert match(AccessionNumber="?*") == "125"
    assert match(StudyDate="19000101-") == "1234"


def test_f16_match_unknown_gives_the_letter_of_the_standard(start_server: Callable[..., Server]):
    lenient = start_server(more="[query]\nmatch_unknown = true")
    with Sender(lenient.port) as sender:
        assert {sender.store(ds).status for ds in objects()} == {0}
        plain = ct(PatientID="S6", SeriesInstanceUID="1.2.6.1", AccessionNumber="7")
        assert sender.store(plain).status == 0
    with Finder(lenient.port) as wire:
        assert wire.find("STUDY", AccessionNumber="100").all("PatientID") == ["S1", "S3", "S4"]
        assert wire.find("STUDY", StudyDate="20240101").all("PatientID") == ["S1", "S5"]
        found = wire.find("SERIES", **{SEQUENCE: [{"ScheduledProcedureStepID": "SPS2"}]})
        assert found.all("PatientID") == ["S2", "S6"]


@pytest.mark.parametrize(
    ("keys", "studies"),
    [
        ({"PatientID": b"S1\0"}, "1"),
        ({"PatientID": b"  S1   "}, "1"),
        ({"PatientName": b" MULLER^JORG ^^Dr "}, "2"),
        ({"StudyInstanceUID": b"1.2.3 "}, "3"),
        ({"StudyInstanceUID": b"1.2.3\0\0\0"}, "3"),
        ({"StudyTime": b"0800  "}, "2"),
        ({"AccessionNumber": b"A" * 5000}, ""),
        ({"PatientID": b"S" * 65 + b"1"}, ""),
        ({"PatientComments": b"a\\b"}, ""),
        ({"AccessionNumber": b"200\\"}, "2"),
    ],
)
def test_f24_padding_and_lengths_are_taken_as_they_come(match, keys, studies):
    assert match(**keys) == studies


def test_f24_a_backslash_in_long_text_is_a_plain_character(start_server: Callable[..., Server]):
    archive = start_server()
    with Sender(archive.port) as sender:
        assert sender.store(ct(PatientID="P1", PatientComments="a\\b")).status == 0
    with Finder(archive.port) as wire:
        assert wire.find("STUDY", PatientComments="a\\b").all("PatientID") == ["P1"]
        assert wire.find("STUDY", PatientComments="a").answers == []
        assert wire.find("STUDY", PatientComments="a\\*").all("PatientComments") == ["a\\b"]


CLIENT_CASES = {
    "f8": ("PatientName=muller^jorg", "1"),
    "f9": ("PatientName=yamada*", "3"),
    "f10": ("StudyDescription=50%*", "1"),
    "f11": ("StudyTime=2200-2230", "13"),
    "f12": ("StudyDate=20240101-20240131\nStudyTime=2200-2300", "13"),
    "f13": ("StudyInstanceUID=1.2.1\\1.2.4\\9.9", "14"),
    "f15": ("ModalitiesInStudy=CT", "12345"),
    "f16": ("AccessionNumber=?*", "125"),
    "f24": ("PatientID=  S1   ", "1"),
}


@pytest.mark.parametrize("row", CLIENT_CASES)
def test_f8_to_f16_and_f24_findscu_and_pynetdicom_get_the_same(server: Server, row: str):
    keys, studies = CLIENT_CASES[row]
    words = ["QueryRetrieveLevel=STUDY", *keys.split("\n")]
    shown = [] if keys.startswith("PatientID") else ["PatientID"]
    out = dcmtk.client("findscu", server.port, "-S", *(w for key in (*words, *shown) for w in ("-k", key))).stdout
    assert sorted(re.findall(r"\(0010,0020\) LO \[S(\d)", out)) == list(studies)
    query = Dataset()
    query.PatientID = ""
    for word in words:
        keyword, _, value = word.partition("=")
        setattr(query, keyword, value.split("\\") if "\\" in value else value)
    assert sorted(str(answer.PatientID)[1:] for answer in ask(server, query)) == list(studies)


def ask(server: Server, query: Dataset, *items: SOPClassExtendedNegotiation) -> list[Dataset]:
    """Let pynetdicom ask, with what it negotiates."""
    entity = AE("PYNETDICOM")
    entity.add_requested_context(STUDY_FIND)
    association = entity.associate("127.0.0.1", server.port, ae_title="MINIPACS", ext_neg=list(items))
    responses = list(association.send_c_find(query, STUDY_FIND))
    association.release()
    assert [status.Status for status, _ in responses] == [PENDING] * (len(responses) - 1) + [0]
    return [answer for _, answer in responses[:-1]]


def test_f3_f12_pynetdicom_negotiates_one_interval_of_dates_and_times(server: Server):
    item = SOPClassExtendedNegotiation()
    item.sop_class_uid, item.service_class_application_information = STUDY_FIND, b"\0\1"
    query = Dataset()
    query.QueryRetrieveLevel, query.PatientID = "STUDY", ""
    query.StudyDate, query.StudyTime = "20240101-20240131", "2200-2300"
    assert len(ask(server, query)) == 2
    assert len(ask(server, query, item)) == 3
