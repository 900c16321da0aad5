"""What C-MOVE and C-GET ask for: models, levels and unique keys (PS3.4 C.4.2.1.4, C.4.2.2.2)."""

from collections.abc import Iterator

import pytest
from pydicom.dataset import Dataset

from tests.support.objects import ct, study
from tests.support.receiver import Receiver
from tests.support.retriever import (
    PATIENT_GET,
    PATIENT_MOVE,
    PATIENT_STUDY_GET,
    PATIENT_STUDY_MOVE,
    Retriever,
    get,
    identifier,
    move,
)
from tests.support.sender import Sender
from tests.support.server import Server
from tests.support.wire import CT, EXPLICIT, STUDY_GET, STUDY_MOVE, element, item, sub_items

STUDIES = {"A": study(series=2, instances=2, PatientID="A"), "B": study(series=1, instances=3, PatientID="B")}
OTHER_OF_A = study(instances=1, PatientID="A")
ALL = [*STUDIES["A"], *STUDIES["B"], *OTHER_OF_A]
UNKNOWN = "1.2.3.4.5"
LEVEL, PATIENT_ID, STUDY_UID, SERIES_UID, SOP_UID = 0x00080052, 0x00100020, 0x0020000D, 0x0020000E, 0x00080018


@pytest.fixture(scope="module")
def archive(receiver: Receiver, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    running = Server(tmp_path_factory.mktemp("archive"), more=receiver.peer())
    with Sender(running.port) as sender:
        assert [sender.store(ds).status for ds in ALL] == [0] * len(ALL)
    yield running
    running.end()


def keys(ds: Dataset, *names: str) -> dict[str, str]:
    found = {
        "patient": ds.PatientID,
        "study": ds.StudyInstanceUID,
        "series": ds.SeriesInstanceUID,
        "image": ds.SOPInstanceUID,
    }
    return {name: found[name] for name in names}


def uids(instances: list[Dataset]) -> list[str]:
    return sorted(ds.SOPInstanceUID for ds in instances)


A, B = STUDIES["A"], STUDIES["B"]
FIRST_SERIES = [ds for ds in A if ds.SeriesInstanceUID == A[0].SeriesInstanceUID]
WANTED = [
    ("PATIENT", keys(A[0], "patient"), [*A, *OTHER_OF_A], (PATIENT_MOVE, PATIENT_STUDY_MOVE)),
    ("STUDY", keys(A[0], "patient", "study"), A, (PATIENT_MOVE, PATIENT_STUDY_MOVE)),
    ("SERIES", keys(A[0], "patient", "study", "series"), FIRST_SERIES, (PATIENT_MOVE,)),
    ("IMAGE", keys(A[1], "patient", "study", "series", "image"), A[1:2], (PATIENT_MOVE,)),
    ("STUDY", keys(B[0], "study"), B, (STUDY_MOVE,)),
    ("SERIES", keys(A[0], "study", "series"), FIRST_SERIES, (STUDY_MOVE,)),
    ("IMAGE", keys(B[2], "study", "series", "image"), B[2:3], (STUDY_MOVE,)),
]
GET_OF = {PATIENT_MOVE: PATIENT_GET, STUDY_MOVE: STUDY_GET, PATIENT_STUDY_MOVE: PATIENT_STUDY_GET}


@pytest.mark.parametrize(
    ("level", "wanted", "instances", "sop_class"),
    [(level, wanted, found, uid) for level, wanted, found, classes in WANTED for uid in classes],
)
def test_m1_levels_of_the_information_models(
    archive: Server, receiver: Receiver, level: str, wanted: dict[str, str], instances: list[Dataset], sop_class: str
) -> None:
    with Retriever(archive.port, sop_class) as wire:
        result = wire.run(level, **wanted)
        wire.release()
    assert (result.final.status, result.counts) == (0, (len(instances), 0, 0))
    assert sorted(r.sop_instance_uid for r in receiver.settled()[-1].received) == uids(instances)
    with Retriever(archive.port, GET_OF[sop_class], (CT, EXPLICIT)) as wire:
        result = wire.run(level, **wanted)
        wire.release()
    assert (result.final.status, result.counts) == (0, (len(instances), 0, 0))
    assert sorted(r.sop_instance_uid for r in result.received) == uids(instances)


LISTS = {
    "STUDY": ({"study": f"{A[0].StudyInstanceUID}\\{B[0].StudyInstanceUID}"}, [*A, *B]),
    "SERIES": (
        {"study": A[0].StudyInstanceUID, "series": "\\".join(sorted({ds.SeriesInstanceUID for ds in A}))},
        A,
    ),
    "IMAGE": ({**keys(B[0], "study", "series"), "image": f"{B[0].SOPInstanceUID}\\{B[2].SOPInstanceUID}"}, B[::2]),
}


@pytest.mark.parametrize("level", LISTS)
def test_m1_uid_lists(archive: Server, level: str) -> None:
    wanted, instances = LISTS[level]
    result = get(archive.port, (CT, EXPLICIT), level=level, **wanted)
    assert (result.final.status, result.counts) == (0, (len(instances), 0, 0))
    assert sorted(r.sop_instance_uid for r in result.received) == uids(instances)


def test_m1_uid_lists_with_repetitions_and_unknown_uids_and_beyond_256_values(archive: Server) -> None:
    many = [f"{UNKNOWN}.{i}" for i in range(1500)]
    listed = [*many, B[1].SOPInstanceUID, B[0].SOPInstanceUID, B[1].SOPInstanceUID]
    wanted = {**keys(B[0], "study", "series"), "image": "\\".join(listed)}
    result = get(archive.port, (CT, EXPLICIT), level="IMAGE", **wanted)
    assert (result.final.status, result.counts) == (0, (2, 0, 0))
    assert sorted(r.sop_instance_uid for r in result.received) == uids(B[:2])


def test_m1_other_keys_are_ignored(archive: Server) -> None:
    with Retriever(archive.port, STUDY_GET, (CT, EXPLICIT)) as wire:
        extra = element(0x00080060, b"MR") + element(0x00100010, b"Nobody^At^All")
        level = element(LEVEL, b"STUDY")
        wire.start(level + extra + element(STUDY_UID, B[0].StudyInstanceUID.encode()))
        assert wire.finish().counts == (3, 0, 0)


WRONG = [
    (STUDY_MOVE, "PATIENT", {"patient": "A"}, LEVEL),
    (STUDY_MOVE, "", {"study": UNKNOWN}, LEVEL),
    (STUDY_MOVE, "study", {"study": UNKNOWN}, LEVEL),
    (PATIENT_STUDY_MOVE, "SERIES", {"patient": "A", "study": UNKNOWN, "series": UNKNOWN}, LEVEL),
    (STUDY_MOVE, "STUDY", {}, STUDY_UID),
    (STUDY_MOVE, "STUDY", {"study": ""}, STUDY_UID),
    (STUDY_MOVE, "STUDY", {"study": "1.2.*"}, STUDY_UID),
    (STUDY_MOVE, "STUDY", {"study": "1.2.?"}, STUDY_UID),
    (STUDY_MOVE, "SERIES", {"series": UNKNOWN}, STUDY_UID),
    (STUDY_MOVE, "SERIES", {"study": "1.2\\1.3", "series": UNKNOWN}, STUDY_UID),
    (STUDY_MOVE, "IMAGE", {"study": UNKNOWN, "image": UNKNOWN}, SERIES_UID),
    (STUDY_MOVE, "IMAGE", {"study": UNKNOWN, "series": UNKNOWN}, SOP_UID),
    (PATIENT_MOVE, "STUDY", {"study": UNKNOWN}, PATIENT_ID),
    (PATIENT_MOVE, "PATIENT", {"patient": "A\\B"}, PATIENT_ID),
    (PATIENT_MOVE, "PATIENT", {"patient": "*"}, PATIENT_ID),
]


@pytest.mark.parametrize(("sop_class", "level", "wanted", "tag"), WRONG)
def test_m1_what_is_not_allowed_is_a900_with_its_tag(
    archive: Server, sop_class: str, level: str, wanted: dict[str, str], tag: int
) -> None:
    for uid in (sop_class, GET_OF[sop_class]):
        with Retriever(archive.port, uid) as wire:
            result = wire.run(level, **wanted)
            assert (result.final.status, result.final.offending) == (0xA900, [tag])
            assert result.final.comment
            assert wire.run("STUDY", patient="A", study=UNKNOWN).final.status == 0, "usable afterwards"


def test_an_identifier_that_cannot_be_parsed_is_c001(archive: Server) -> None:
    with Retriever(archive.port) as wire:
        wire.start(identifier("STUDY", study=UNKNOWN)[:-3])
        result = wire.finish()
        assert (result.final.status, result.final.data) == (0xC001, b"")


def test_m8_zero_matches_are_a_success_with_zero_counts(archive: Server, receiver: Receiver) -> None:
    calls = len(receiver.calls)
    for result in (move(archive.port, "STUDY", study=UNKNOWN), get(archive.port, level="STUDY", study=UNKNOWN)):
        assert (result.final.status, result.counts, result.final.data) == (0, (0, 0, 0), b"")
        assert not result.pending
        assert 0x1020 not in result.final.elements
    assert len(receiver.calls) == calls, "nothing to send: nobody to call"


RELATIONAL = [
    ("SERIES", keys(A[0], "series"), FIRST_SERIES),
    ("IMAGE", keys(B[2], "image"), B[2:3]),
    ("IMAGE", {"image": f"{A[0].SOPInstanceUID}\\{B[1].SOPInstanceUID}"}, [A[0], B[1]]),
    ("IMAGE", keys(A[0], "study"), A),
    ("SERIES", keys(A[0], "patient", "series"), FIRST_SERIES),
    ("STUDY", keys(B[0], "study"), B),
    ("IMAGE", {"study": f"{A[0].StudyInstanceUID}\\{B[0].StudyInstanceUID}"}, [*A, *B]),
    ("SERIES", {"patient": "B", **keys(A[0], "series")}, []),
]


@pytest.mark.parametrize(("level", "wanted", "instances"), RELATIONAL)
def test_relational_retrieve_when_negotiated(
    archive: Server, level: str, wanted: dict[str, str], instances: list[Dataset]
) -> None:
    offer = item(0x56, len(PATIENT_GET).to_bytes(2, "big") + PATIENT_GET.encode() + b"\1")
    with Retriever(archive.port, PATIENT_GET, (CT, EXPLICIT), items=(offer,)) as wire:
        assert sub_items(wire.answered, 0x56) == [offer[4:]]
        result = wire.run(level, **wanted)
        assert (result.final.status, result.counts) == (0, (len(instances), 0, 0))
        assert sorted(r.sop_instance_uid for r in result.received) == uids(instances)
    with Retriever(archive.port, PATIENT_GET, (CT, EXPLICIT)) as wire:
        assert wire.run(level, **wanted).final.status == 0xA900, "not negotiated"


def test_relational_retrieve_still_needs_a_key_and_a_list_is_the_lowest(archive: Server) -> None:
    offer = item(0x56, len(STUDY_GET).to_bytes(2, "big") + STUDY_GET.encode() + b"\1\1")
    with Retriever(archive.port, STUDY_GET, (CT, EXPLICIT), items=(offer,)) as wire:
        assert sub_items(wire.answered, 0x56) == [offer[4:-2] + b"\1\0"], "no conversion of enhanced images"
        empty = wire.run("IMAGE")
        assert (empty.final.status, empty.final.offending) == (0xA900, [SOP_UID])
        listed = wire.run("SERIES", study="1.2\\1.3", series=UNKNOWN)
        assert (listed.final.status, listed.final.offending) == (0xA900, [STUDY_UID])


def test_m1_an_empty_patient_id_does_not_ask_for_every_patient(archive: Server) -> None:
    with Sender(archive.port) as sender:
        assert sender.store(ct(PatientID="")).status == 0
    with Retriever(archive.port, PATIENT_MOVE) as wire:
        assert wire.run("PATIENT", patient="").final.status == 0xA900
