"""C-FIND by real clients: levels, what answers hold, what is refused (PS3.4 C.4.1, C.6)."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from pydicom.dataset import Dataset
from pynetdicom import AE

from tests.support import dcmtk
from tests.support.finder import PATIENT_FIND, PATIENT_STUDY_FIND, PENDING, UNSUPPORTED, Finder, identifier, text
from tests.support.objects import ct
from tests.support.sender import Sender
from tests.support.server import Server
from tests.support.wire import CT, EXPLICIT, STUDY_FIND, Wire, command, context, element, message

MR = "1.2.840.10008.5.1.4.1.1.4"
CREATOR = "00190010"

ARCHIVE = [
    ct(
        PatientID=f"P{patient}",
        PatientName=f"Name{patient}^X",
        StudyInstanceUID=f"1.2.{patient}.{study}",
        SeriesInstanceUID=f"1.2.{patient}.{study}.{series}",
        SOPInstanceUID=f"1.2.{patient}.{study}.{series}.{instance}",
        AccessionNumber=f"A{patient}{study}",
        Modality="CT" if series == 1 else "MR",
        SOPClassUID=CT if series == 1 else MR,
        SeriesNumber=series,
        InstanceNumber=instance,
    )
    for patient in (1, 2)
    for study in (1, 2)
    for series in (1, 2)
    for instance in (1, 2, 3)
]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    running = Server(tmp_path_factory.mktemp("find"))
    with Sender(running.port, (CT, EXPLICIT), (MR, EXPLICIT)) as sender:
        assert {sender.store(ds).status for ds in ARCHIVE} == {0}
    yield running
    running.end()


@pytest.fixture
def finder(server: Server) -> Iterator[Finder]:
    with Finder(server.port) as wire:
        yield wire


def findscu(server: Server, *keys: str, options: tuple[str, ...] = ("-S",)) -> str:
    words = [word for key in keys for word in ("-k", key)]
    return dcmtk.client("findscu", server.port, *options, *words).stdout


@pytest.mark.parametrize(
    ("sop_class", "levels"),
    [
        (PATIENT_FIND, {"PATIENT": 2, "STUDY": 4, "SERIES": 8, "IMAGE": 24}),
        (STUDY_FIND, {"STUDY": 4, "SERIES": 8, "IMAGE": 24}),
        (PATIENT_STUDY_FIND, {"PATIENT": 2, "STUDY": 4}),
    ],
)
def test_f1_levels_are_those_of_the_model(server: Server, sop_class: str, levels: dict[str, int]):
    with Finder(server.port, sop_class) as wire:
        for level in ("PATIENT", "STUDY", "SERIES", "IMAGE"):
            found = wire.find(level)
            if level in levels:
                assert (found.status, len(found.answers)) == (0, levels[level])
            else:
                assert (found.status, found.final.offending, found.answers) == (0xA900, [0x00080052], [])


@pytest.mark.parametrize("level", ["", "FRAME", "study", "STUDY\\SERIES"])
def test_f1_a_missing_or_wrong_level_is_refused(finder: Finder, level: str):
    found = finder.find(level, PatientID="P1")
    assert (found.status, found.final.offending, found.answers) == (0xA900, [0x00080052], [])
    assert 0 < len(found.final.comment) <= 64


@pytest.mark.parametrize(
    ("keys", "series"),
    [
        ({}, 8),
        ({"StudyInstanceUID": ""}, 8),
        ({"StudyInstanceUID": "1.2.1.1\\1.2.2.2"}, 4),
        ({"PatientID": "P?"}, 8),
        ({"PatientName": "NAME2*", "AccessionNumber": "A21"}, 2),
    ],
)
def test_f2_keys_above_the_level_are_matched_relationally(server: Server, keys: dict[str, str], series: int):
    out = findscu(server, "QueryRetrieveLevel=SERIES", "SeriesInstanceUID", *(f"{k}={v}" for k, v in keys.items()))
    assert out.count("Find Response:") == series


@pytest.fixture(scope="module")
def strict(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    running = Server(tmp_path_factory.mktemp("strict"), more='[query]\nrelational = "negotiated"')
    with Sender(running.port, (CT, EXPLICIT), (MR, EXPLICIT)) as sender:
        assert {sender.store(ds).status for ds in ARCHIVE} == {0}
    yield running
    running.end()


@pytest.mark.parametrize(
    ("sop_class", "level", "keys", "offending"),
    [
        (STUDY_FIND, "SERIES", {}, 0x0020000D),
        (STUDY_FIND, "SERIES", {"StudyInstanceUID": "1.2.1.1\\1.2.1.2"}, 0x0020000D),
        (STUDY_FIND, "SERIES", {"StudyInstanceUID": "*"}, 0x0020000D),
        (STUDY_FIND, "IMAGE", {"StudyInstanceUID": "1.2.1.1"}, 0x0020000E),
        (PATIENT_FIND, "STUDY", {"PatientID": "P*"}, 0x00100020),
        (PATIENT_FIND, "STUDY", {"StudyInstanceUID": "1.2.1.1"}, 0x00100020),
        (PATIENT_STUDY_FIND, "STUDY", {}, 0x00100020),
    ],
)
def test_f2_f3_without_negotiation_the_hierarchy_is_asked_for(strict: Server, sop_class, level, keys, offending):
    with Finder(strict.port, sop_class) as wire:
        found = wire.find(level, **keys)
        assert (found.status, found.final.offending, found.answers) == (0xA900, [offending], [])
    with Finder(strict.port, sop_class, extended=b"\1") as wire:
        assert wire.answer.count(b"\1", wire.answer.index(sop_class.encode() + b"\1")) >= 1
        assert wire.find(level, **keys).status == 0


def test_f2_f3_hierarchical_queries_are_answered(strict: Server):
    with Finder(strict.port) as wire:
        assert wire.find("STUDY").all("StudyInstanceUID") == ["1.2.1.1", "1.2.1.2", "1.2.2.1", "1.2.2.2"]
        assert len(wire.find("SERIES", StudyInstanceUID="1.2.1.1").answers) == 2
        found = wire.find("IMAGE", StudyInstanceUID="1.2.1.1", SeriesInstanceUID="1.2.1.1.1")
        assert found.all("SOPInstanceUID") == ["1.2.1.1.1.1", "1.2.1.1.1.2", "1.2.1.1.1.3"]


@pytest.mark.parametrize("offered", [b"\1", b"\0", b"\1\1\1\1\1", b"\1" * 9, b"\0\1\0\1"])
def test_f3_extended_negotiation_is_answered_byte_for_byte(server: Server, offered: bytes):
    granted = bytes(map(min, offered, b"\1\1\1\1\0\0\0\0\0"))
    with Finder(server.port, extended=offered) as wire:
        uid = STUDY_FIND.encode()
        assert len(uid).to_bytes(2, "big") + uid + granted in wire.answer


def test_f4_answers_hold_what_was_asked_for_and_is_supported(server: Server):
    with Finder(server.port) as wire:
        found = wire.find("STUDY", StudyInstanceUID="1.2.1.1", PatientSex="", StudyID="", Occupation="", Rows="")
    (answer,) = found.answers
    asked = {"StudyInstanceUID", "PatientSex", "StudyID", "Occupation"}
    assert {element.keyword for element in answer} == asked | {"PatientID", "QueryRetrieveLevel", "RetrieveAETitle"}
    assert (answer.PatientSex, answer.RetrieveAETitle, answer.QueryRetrieveLevel) == ("F", "MINIPACS", "STUDY")
    assert not answer.Occupation


def test_f4_findscu_writes_the_answers_it_gets(server: Server, tmp_path: Path):
    words = ("-k", "QueryRetrieveLevel=STUDY", "-k", "StudyInstanceUID=1.2.2.1", "-k", "PatientName")
    dcmtk.client("findscu", server.port, "-S", "-X", "-od", tmp_path.as_posix(), *words)
    (path,) = tmp_path.glob("rsp*.dcm")
    assert "[Name2^X" in dcmtk.run("dcmdump", path).stdout


def test_f5_unique_keys_down_to_the_level_are_returned(server: Server):
    with Finder(server.port, PATIENT_FIND) as wire:
        found = wire.find("IMAGE", InstanceNumber="2", PatientID="P1", AccessionNumber="A12", Modality="MR")
    (answer,) = found.answers
    names = ("PatientID", "StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")
    assert [text(answer, name) for name in names] == ["P1", "1.2.1.2", "1.2.1.2.2", "1.2.1.2.2.2"]


def test_f6_no_match_is_one_success_without_data(finder: Finder):
    found = finder.find("STUDY", PatientID="NOBODY")
    assert (found.status, found.answers, found.final.us(0x800), found.final.data) == (0, [], 0x101, b"")


def test_f6_findscu_sees_success(server: Server):
    out = findscu(server, "QueryRetrieveLevel=STUDY", "PatientID=NOBODY", options=("-S", "-d"))
    assert "Find Response:" not in out
    assert re.search(r"DIMSE Status +: 0x0000: Success", out)


@pytest.mark.parametrize(
    ("keys", "status"),
    [
        ({"PatientSex": ""}, PENDING),
        ({"Modality": ""}, UNSUPPORTED),
        ({"KVP": ""}, UNSUPPORTED),
        ({"KVP": "120"}, UNSUPPORTED),
        ({"RequestAttributesSequence": []}, UNSUPPORTED),
        ({"00091001": "X"}, UNSUPPORTED),
        ({CREATOR: "ACME"}, PENDING),
        ({"TimezoneOffsetFromUTC": "", "SpecificCharacterSet": "", "InstanceAvailability": ""}, PENDING),
    ],
)
def test_f7_ff01_if_a_key_is_not_supported(finder: Finder, keys: dict[str, str], status: int):
    found = finder.find("STUDY", PatientID="P1", **keys)
    assert (found.status, found.pending) == (0, [status, status])


def test_f17_what_is_never_matched(server: Server):
    keys = (
        "SpecificCharacterSet=",
        "TimezoneOffsetFromUTC=+0100",
        "InstanceAvailability=NEARLINE",
        "ModalitiesInStudy=*",
    )
    for extra in ((), ("RetrieveAETitle=ELSEWHERE",)):
        out = findscu(server, "QueryRetrieveLevel=STUDY", "StudyInstanceUID", *keys, *extra)
        assert out.count("Find Response:") == 4
        assert out.count("(0008,0056) CS [ONLINE]") == 4


def test_f19_counts_and_lists_are_those_of_what_is_stored(server: Server):
    with Finder(server.port, PATIENT_FIND) as wire:
        patient = ["NumberOfPatientRelatedStudies", "NumberOfPatientRelatedSeries", "NumberOfPatientRelatedInstances"]
        (answer,) = wire.find("PATIENT", PatientID="P2", **dict.fromkeys(patient, "")).answers
        assert [int(answer[keyword].value) for keyword in patient] == [2, 4, 12]
        study = ["NumberOfStudyRelatedSeries", "NumberOfStudyRelatedInstances"]
        lists = {"ModalitiesInStudy": "", "SOPClassesInStudy": "", "InstanceAvailability": ""}
        (answer,) = wire.find("STUDY", StudyInstanceUID="1.2.2.1", **dict.fromkeys(study, ""), **lists).answers
        assert [int(answer[keyword].value) for keyword in study] == [2, 6]
        assert text(answer, "ModalitiesInStudy") == "CT\\MR"
        assert text(answer, "SOPClassesInStudy") == f"{CT}\\{MR}"
        assert text(answer, "InstanceAvailability") == "ONLINE"
        (answer,) = wire.find("SERIES", SeriesInstanceUID="1.2.2.1.1", NumberOfSeriesRelatedInstances="").answers
        assert int(answer.NumberOfSeriesRelatedInstances) == 3


def test_f22_a_universal_query_gives_every_study(server: Server):
    with Finder(server.port) as wire:
        assert len(wire.find("STUDY").answers) == 4


def test_f22_beyond_the_limit_is_refused_before_the_first_answer(start_server: Callable[..., Server]):
    limited = start_server(more="[query]\nmax_matches = 3")
    with Sender(limited.port) as sender:
        for n in range(4):
            assert sender.store(ct(PatientID=f"P{n}")).status == 0
    with Finder(limited.port) as wire:
        found = wire.find("STUDY")
        assert (found.status, found.answers, found.final.comment) == (0xA700, [], "more than 3 matches")
        assert len(wire.find("STUDY", PatientID="P0\\P1\\P2").answers) == 3
    out = dcmtk.client("findscu", limited.port, "-S", "-d", "-k", "QueryRetrieveLevel=STUDY", check=False).stdout
    assert "0xa700" in out
    assert "more than 3 matches" in out


@pytest.mark.parametrize(
    "extra",
    [
        element(0x00090010, b"ACME"),
        element(0x00091001, b"\xff\xfe\0\1"),
        element(0x00100000, b"\x12\0\0\0"),
        element(0x00200000, b"1"),
        element(0x00091001, b"x" * 100_000),
        element(0x7FE00010, bytes(1000)),
        element(0x00180050, b"\\\\\\"),
    ],
    ids=["creator", "private", "group length", "group length of another size", "long", "pixels", "empty values"],
)
def test_f23_b6_unknown_private_and_malformed_keys_are_passed_over(finder: Finder, extra: bytes):
    tag = int.from_bytes(extra[:2], "little") << 16 | int.from_bytes(extra[2:4], "little")
    parts = {0x00080052: element(0x00080052, b"STUDY"), 0x00100020: element(0x00100020, b"P1"), tag: extra}
    found = finder.find_bytes(b"".join(part for _, part in sorted(parts.items())))
    assert (found.status, len(found.answers)) == (0, 2)
    assert len(finder.find("STUDY", PatientID="P1").answers) == 2


def test_f23_findscu_with_a_private_key(server: Server):
    out = findscu(server, "QueryRetrieveLevel=STUDY", "PatientID=P1", "0009,0010=ACME", "0009,1001")
    assert out.count("Find Response:") == 2
    assert "(0009," not in out


@pytest.mark.parametrize(
    ("data", "status", "offending"),
    [
        (identifier({"QueryRetrieveLevel": "STUDY", "StudyDate": "2024"}), 0xA900, [0x00080020]),
        (identifier({"QueryRetrieveLevel": "STUDY", "StudyDate": "20240230x"}), 0xA900, [0x00080020]),
        (identifier({"QueryRetrieveLevel": "STUDY", "StudyDate": "-"}), 0xA900, [0x00080020]),
        (identifier({"QueryRetrieveLevel": "STUDY", "StudyTime": "2500-2600"}), 0xA900, [0x00080030]),
        (identifier({"QueryRetrieveLevel": "STUDY", "PatientName": "a*" * 1000}), 0xA900, [0x00100010]),
        (identifier({"QueryRetrieveLevel": "STUDY", "ProcedureCodeSequence": [{}, {}]}), 0xA900, [0x00081032]),
        (
            identifier(
                {"QueryRetrieveLevel": "STUDY", "ProcedureCodeSequence": [{"CodeValue": "A"}, {"CodeValue": "B"}]}
            ),
            0xA900,
            [0x00081032],
        ),
        (
            identifier({"QueryRetrieveLevel": "IMAGE", "VerifyingObserverSequence": [{"VerificationDateTime": "no"}]}),
            0xA900,
            [0x0040A073],
        ),
        (identifier({"QueryRetrieveLevel": "STUDY", "SpecificCharacterSet": "ISO_IR 999"}), 0xC001, [0x00080005]),
        (identifier({"QueryRetrieveLevel": "STUDY", "SpecificCharacterSet": "utf-8"}), 0xC001, [0x00080005]),
        (identifier({"QueryRetrieveLevel": "STUDY"}) + b"\x10\0\x20\0\xff\xff", 0xC001, []),
        (identifier({"QueryRetrieveLevel": "STUDY"}) + b"\x10\0\x20\0\xff\xff\0\0AB", 0xC001, []),
        (b"\x08\0\x52\0\x06\0", 0xC001, []),
        (b"STUDY", 0xC001, []),
        (identifier({"QueryRetrieveLevel": "STUDY", "PatientComments": "x" * (1 << 20)}), 0xC001, []),
    ],
    ids=range(15),
)
def test_bad_identifiers_are_answered_and_the_association_goes_on(finder: Finder, data, status, offending):
    found = finder.find_bytes(data)
    assert (found.status, found.final.offending, found.answers) == (status, offending, [])
    assert 0 < len(found.final.comment) <= 64
    assert len(finder.find("STUDY").answers) == 4


def test_a_request_without_an_identifier_is_refused(server: Server):
    with Wire(server.port) as wire:
        wire.accepted(context(1, STUDY_FIND))
        wire.send(message(1, command(0x20, STUDY_FIND)))
        assert wire.response().status == 0xC001


def test_pynetdicom_iterates_over_the_answers(server: Server):
    entity = AE("PYNETDICOM")
    entity.add_requested_context(STUDY_FIND)
    association = entity.associate("127.0.0.1", server.port, ae_title="MINIPACS")
    query = Dataset()
    query.QueryRetrieveLevel, query.PatientID, query.AccessionNumber = "STUDY", "P1", ""
    responses = list(association.send_c_find(query, STUDY_FIND))
    association.release()
    assert [status.Status for status, _ in responses] == [PENDING, PENDING, 0]
    assert sorted(answer.AccessionNumber for _, answer in responses[:-1]) == ["A11", "A12"]
