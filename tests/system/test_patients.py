"""Who an image is of: what real clients are answered where objects share an ID or UID that they should not."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydicom import dcmread
from pydicom.uid import generate_uid

from tests.support import dcmtk
from tests.support.finder import PATIENT_FIND, Finder
from tests.support.objects import ct, save_all
from tests.support.receiver import Receiver
from tests.support.retriever import PATIENT_GET, PATIENT_MOVE, Retriever
from tests.support.sender import Sender
from tests.support.server import Server, run
from tests.support.wire import CT, EXPLICIT, STUDY_GET, element, item

SHARED_SERIES, SHARED_STUDY = generate_uid(), generate_uid()
OBJECTS = {
    # Two persons with one ID.
    "jane": ct(PatientID="TWO", PatientName="Doe^Jane", PatientBirthDate="19500101"),
    "john": ct(PatientID="TWO", PatientName="Roe^John", PatientBirthDate="19600202", PatientSex="M"),
    # One ID of two issuers.
    "at a": ct(PatientID="ISS", IssuerOfPatientID="A", PatientName="Of^A"),
    "at b": ct(PatientID="ISS", IssuerOfPatientID="B", PatientName="Of^B"),
    # One Series UID in two studies.
    "first": ct(PatientID="SER", SeriesInstanceUID=SHARED_SERIES),
    "second": ct(PatientID="SER", SeriesInstanceUID=SHARED_SERIES),
    # One Study UID under two patients.
    "mine": ct(PatientID="MINE", PatientName="My^Own", StudyInstanceUID=SHARED_STUDY),
    "yours": ct(PatientID="YOURS", PatientName="Your^Own", StudyInstanceUID=SHARED_STUDY),
}
ISSUER = 0x00100021


@pytest.fixture(scope="module")
def archive(receiver: Receiver, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("archive")
    running = Server(folder, more=receiver.peer())
    dcmtk.client("storescu", running.port, *save_all(list(OBJECTS.values()), folder / "sent"))
    yield running
    running.end()


def study_uid(name: str) -> str:
    return str(OBJECTS[name].StudyInstanceUID)


def findscu(archive: Server, folder: Path, level: str, *keys: str, model: str = "-S") -> list[dict[str, str]]:
    """Ask with dcmtk; each answer by keyword."""
    folder.mkdir(exist_ok=True)
    words = [word for key in (f"QueryRetrieveLevel={level}", *keys) for word in ("-k", key)]
    dcmtk.client("findscu", archive.port, model, "-X", "-od", str(folder), *words)
    return [{e.keyword: str(e.value) for e in dcmread(path, force=True)} for path in sorted(folder.glob("rsp*.dcm"))]


@pytest.mark.parametrize("name", ["jane", "john"])
@pytest.mark.parametrize("level", ["STUDY", "SERIES", "IMAGE"])
def test_below_patients_each_study_bears_its_own_name(archive: Server, tmp_path: Path, level: str, name: str):
    sent = OBJECTS[name]
    asked = ("PatientID=TWO", f"PatientName={sent.PatientName}", "PatientBirthDate", "PatientSex", "StudyInstanceUID")
    (answer,) = findscu(archive, tmp_path, level, *asked)
    assert answer["StudyInstanceUID"] == study_uid(name)
    assert answer["PatientName"] == str(sent.PatientName)
    assert (answer["PatientBirthDate"], answer["PatientSex"]) == (sent.PatientBirthDate, sent.PatientSex)
    (answer,) = findscu(archive, tmp_path / "uid", level, f"StudyInstanceUID={study_uid(name)}", "PatientName")
    assert answer["PatientName"] == str(sent.PatientName)


@pytest.mark.parametrize("key", ["PatientName=ROE*", "PatientName=Doe^Jane", "PatientBirthDate=19600101-19601231"])
def test_a_patient_is_found_by_the_name_of_any_study(archive: Server, tmp_path: Path, key: str):
    asked = ("PatientID=TWO", key, *(k for k in ("PatientName",) if not key.startswith(k)))
    (answer,) = findscu(archive, tmp_path, "PATIENT", *asked, "NumberOfPatientRelatedStudies", model="-P")
    assert answer["PatientName"] == "Doe^Jane", "the patient's row is that of the first object"
    assert answer["NumberOfPatientRelatedStudies"] == "2"


def test_keys_of_two_persons_match_no_patient(archive: Server, tmp_path: Path):
    keys = ("PatientID=TWO", "PatientName=Roe*", "PatientBirthDate=19500101")
    assert findscu(archive, tmp_path, "PATIENT", *keys, model="-P") == []


def test_patients_of_two_issuers_are_two(archive: Server):
    with Finder(archive.port, PATIENT_FIND) as wire:
        found = wire.find("PATIENT", PatientID="ISS", IssuerOfPatientID="", PatientName="")
        assert found.all("PatientName") == ["Of^A", "Of^B"]
        found = wire.find("PATIENT", PatientID="ISS", IssuerOfPatientID="B", PatientName="")
        assert found.all("PatientName") == ["Of^B"]


@pytest.mark.parametrize("sop_class", [PATIENT_MOVE, PATIENT_GET])
def test_an_id_of_two_issuers_is_not_retrieved_without_the_issuer(archive: Server, sop_class: str):
    pairs = ((CT, EXPLICIT),) if sop_class == PATIENT_GET else ()
    with Retriever(archive.port, sop_class, *pairs) as wire:
        refused = wire.run("PATIENT", patient="ISS").final
        assert (refused.status, refused.offending) == (0xA900, [ISSUER])
        assert "issuer" in refused.comment.lower()
        wire.start(element(0x00080052, b"PATIENT") + element(0x00100020, b"ISS") + element(ISSUER, b"B"))
        result = wire.finish()
        assert (result.final.status, result.counts) == (0, (1, 0, 0))
        wire.start(element(0x00080052, b"PATIENT") + element(0x00100020, b"ISS") + element(ISSUER, b"C"))
        assert wire.finish().counts == (0, 0, 0)
        result = wire.run("STUDY", patient="ISS", study=study_uid("at a"))
        assert (result.final.status, result.counts) == (0, (1, 0, 0))


def test_movescu_says_why_an_id_is_refused(archive: Server):
    keys = ("-k", "QueryRetrieveLevel=PATIENT", "-k", "PatientID=ISS")
    done = dcmtk.client("movescu", archive.port, "-P", "-aem", "RECEIVER", *keys, "-d", check=False)
    assert "DataSetDoesNotMatchSOPClass" in done.stdout, "what dcmtk calls A900"
    assert "name Issuer of Patient ID" in done.stdout


def test_a_series_uid_in_two_studies_is_found_in_both(archive: Server, tmp_path: Path):
    for name in ("first", "second"):
        keys = (f"StudyInstanceUID={study_uid(name)}", f"SeriesInstanceUID={SHARED_SERIES}")
        (answer,) = findscu(archive, tmp_path / name, "SERIES", *keys, "NumberOfSeriesRelatedInstances")
        assert answer["NumberOfSeriesRelatedInstances"] == "1"
        (image,) = findscu(archive, tmp_path / f"{name}-image", "IMAGE", *keys, "SOPInstanceUID")
        assert image["SOPInstanceUID"] == OBJECTS[name].SOPInstanceUID
    both = findscu(archive, tmp_path / "both", "SERIES", f"SeriesInstanceUID={SHARED_SERIES}", "StudyInstanceUID")
    assert sorted(answer["StudyInstanceUID"] for answer in both) == sorted(map(study_uid, ("first", "second")))


def test_a_series_uid_in_two_studies_is_retrieved_from_the_one_that_is_named(archive: Server):
    offer = item(0x56, len(STUDY_GET).to_bytes(2, "big") + STUDY_GET.encode() + b"\1")
    with Retriever(archive.port, STUDY_GET, (CT, EXPLICIT), items=(offer,)) as wire:
        result = wire.run("SERIES", study=study_uid("second"), series=SHARED_SERIES)
        assert [r.sop_instance_uid for r in result.received] == [OBJECTS["second"].SOPInstanceUID]
        assert wire.run("SERIES", series=SHARED_SERIES).counts == (2, 0, 0)


@pytest.mark.parametrize("name", ["mine", "yours"])
def test_a_study_uid_of_two_patients_is_found_by_the_keys_of_each(archive: Server, tmp_path: Path, name: str):
    sent = OBJECTS[name]
    keys = (f"PatientID={sent.PatientID}", f"StudyInstanceUID={SHARED_STUDY}")
    (answer,) = findscu(archive, tmp_path, "STUDY", *keys, "PatientName", "NumberOfStudyRelatedInstances", model="-P")
    assert (answer["PatientName"], answer["NumberOfStudyRelatedInstances"]) == (str(sent.PatientName), "1")
    with Retriever(archive.port, PATIENT_GET, (CT, EXPLICIT)) as wire:
        result = wire.run("STUDY", patient=str(sent.PatientID), study=SHARED_STUDY)
        assert [r.sop_instance_uid for r in result.received] == [sent.SOPInstanceUID]


def test_conflicts_are_listed_with_what_to_do(archive: Server):
    found = json.loads(run("conflicts", "--json", config=archive.config).stdout)
    told = {(c["level"], c["attribute"], tuple(sorted(v["value"] for v in c["values"]))) for c in found}
    assert told == {
        ("PATIENT", "PatientName", ("Doe^Jane", "Roe^John")),
        ("PATIENT", "PatientBirthDate", ("19500101", "19600202")),
        ("PATIENT", "PatientSex", ("F", "M")),
        ("PATIENT", "IssuerOfPatientID", ("A", "B")),
        ("STUDY", "PatientID", ("MINE", "YOURS")),
        ("SERIES", "StudyInstanceUID", tuple(sorted(map(study_uid, ("first", "second"))))),
    }
    (name,) = (c for c in found if c["attribute"] == "PatientName")
    assert (name["patient_id"], name["values"][0]["uids"]) == ("TWO", [study_uid("jane")])
    assert archive.metric("minipacs_conflicts") == len(found)
    table = run("conflicts", config=archive.config).stdout
    assert "Roe^John" in table
    assert "sent again" in " ".join(table.split())
    lines = run("conflicts", "--csv", "--columns", "patient_id,value,count", config=archive.config).stdout.splitlines()
    assert lines[0] == "patient_id,value,count"
    assert "TWO,Roe^John,1" in lines
    told_once = archive.events("conflict between objects")
    assert len(told_once) == len(found)
    assert "Roe" not in json.dumps(told_once)


def test_a_conflict_goes_with_what_was_wrong(tmp_path: Path):
    server = Server(tmp_path)
    right = ct(PatientID="P", PatientName="Right^Name")
    wrong = ct(PatientID="P", PatientName="Wrong^Name")
    with Sender(server.port) as sender:
        assert [sender.store(ds).status for ds in (right, wrong)] == [0, 0]
        assert len(json.loads(run("conflicts", "--json", config=server.config).stdout)) == 1
        wrong.PatientID, wrong.PatientName = "Q", "Wrong^Name"
        assert sender.store(wrong).status == 0
    assert json.loads(run("conflicts", "--json", config=server.config).stdout) == []
    with Finder(server.port, PATIENT_FIND) as wire:
        assert wire.find("PATIENT", PatientID="", PatientName="").all("PatientName") == ["Right^Name", "Wrong^Name"]
    server.end()
