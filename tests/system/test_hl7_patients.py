"""ADT messages over MLLP to the real process: what becomes of images, worklist items and performed steps."""

import json
import random
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydicom import Dataset, dcmread

from tests.support import dcmtk, modality
from tests.support.hl7 import code, error, order, segment
from tests.support.objects import ct
from tests.support.sender import Sender as StoreSender
from tests.support.server import run
from tests.system.test_audit import told
from tests.system.test_hl7 import Ris, own
from tests.system.test_performed_step import associate, begun, create

PATIENT_RECORD = "110110"
FUZZED_BYTES = 100_000
"""Sent in all; `tools/fuzz.py` sends more."""


@pytest.fixture(scope="module")
def ris(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ris]:
    found = Ris(tmp_path_factory.mktemp("ris"))
    yield found
    found.sender.close()
    found.server.stop()
    found.server.no_traceback()


def adt(event: str, control_id: str, *segments: str, **pid: str) -> str:
    """Write an ADT message; `pid` are fields of PID, as `PID_5`."""
    head = f"MSH|^~\\&|RIS|HOSP|||20261124||ADT^{event}|{control_id}|P|2.5"
    fields = {int(name.rpartition("_")[2]): value for name, value in pid.items()}
    return "\r".join([head, "EVN||20261124", segment("PID", fields), *segments, ""])


def store(ris: Ris, **values: object) -> Dataset:
    sender, ds = StoreSender(ris.server.port), ct(**values)
    assert sender.store(ds).status == 0
    sender.release()
    return ds


def fetch(ris: Ris, folder: Path, study: str) -> Dataset:
    """Fetch the one object of a study, by getscu."""
    keys = ("-k", "QueryRetrieveLevel=STUDY", "-k", f"StudyInstanceUID={study}")
    dcmtk.client("getscu", ris.server.port, "-S", "-od", str(folder), *keys)
    (path,) = folder.iterdir()
    return dcmread(path)


def studies(ris: Ris, patient_id: str) -> list[tuple[str, str]]:
    words = ("find", "--level", "study", "--json", "--columns", "StudyInstanceUID,PatientName")
    found = json.loads(run(*words, f"PatientID={patient_id}", "--config", ris.server.config).stdout)
    return [(row["StudyInstanceUID"], row["PatientName"]) for row in found]


def test_an_update_is_in_what_is_fetched_searched_and_still_to_be_done(ris: Ris, tmp_path: Path):
    ds = store(ris, PatientID="U1", PatientName="Do^Jane", PatientSex="O", PatientBirthDate="19700101")
    ris.send(order(control_id="u1", fields=own(101, PID_3="U1^^^HOSP", PID_5="Do^Jane", PID_8="O", PID_11="Street 1")))
    pid = {"PID_3": "U1^^^HOSP", "PID_5": "Doe^Jane^^^Dr", "PID_7": '""', "PID_8": "F", "PID_11": '""'}
    assert code(ris.send(adt("A08", "u2", **pid))) == "AA u2"
    assert studies(ris, "U1") == [(ds.StudyInstanceUID, "Doe^Jane^^Dr")]
    found = fetch(ris, tmp_path, ds.StudyInstanceUID)
    assert (str(found.PatientName), found.PatientBirthDate, found.PatientSex) == ("Doe^Jane^^Dr", "", "F")
    (item,) = found.OriginalAttributesSequence
    before = item.ModifiedAttributesSequence[0]
    assert (str(before.PatientName), before.PatientBirthDate) == ("Do^Jane", "19700101")
    assert item.ReasonForTheAttributeModification == "COERCE"
    keys = "PatientID=U1", "PatientName", "PatientBirthDate", "PatientSex"
    (item,) = modality.ask(ris.server.port, *keys)
    assert (str(item.PatientName), item.PatientBirthDate, item.PatientSex) == ("Doe^Jane^^Dr", "", "F")
    step = json.loads(run("worklist", "list", "--json", "PatientID=U1", "--config", ris.server.config).stdout)[0]
    assert not step.get("PatientAddress")
    amendments = json.loads(run("amendments", "list", "--json", "--config", ris.server.config).stdout)
    assert code(ris.send(adt("A08", "u3", **pid))) == "AA u3"  # nothing new
    assert json.loads(run("amendments", "list", "--json", "--config", ris.server.config).stdout) == amendments


@pytest.mark.parametrize("event", ["A01", "A02", "A03", "A04", "A05", "A06", "A07", "A11", "A28", "A31"])
def test_nobody_is_made_by_an_update(ris: Ris, event: str):
    assert code(ris.send(adt(event, f"n{event}", PID_3=f"N{event}^^^HOSP", PID_5="No^Body"))) == f"AA n{event}"
    assert studies(ris, f"N{event}") == []


def test_an_order_updates_images_too(ris: Ris):
    ds = store(ris, PatientID="O1", PatientName="Do^Jane")
    ris.send(order(control_id="o1", fields=own(102, PID_3="O1^^^HOSP", PID_5="Doe^Jane")))
    assert studies(ris, "O1") == [(ds.StudyInstanceUID, "Doe^Jane")]


def test_a_merge_takes_all_along_and_whatever_comes_later(ris: Ris, tmp_path: Path):
    first, theirs = store(ris, PatientID="M1"), store(ris, PatientID="M2", PatientName="Roe^Jim")
    ris.send(order(control_id="m1", fields=own(103, PID_3="M1^^^HOSP", ZDS_1=first.StudyInstanceUID)))
    association = associate(ris.server)
    create(association, begun(PatientID="M1"))
    association.release()
    survivor = {"PID_3": "M2^^^HOSP", "PID_5": "Roe^Jim"}
    assert code(ris.send(adt("A40", "m2", "MRG|M1^^^HOSP", **survivor))) == "AA m2"
    late = store(ris, PatientID="M1")
    ris.send(order(control_id="m3", fields=own(104, PID_3="M1^^^HOSP", PID_5="Old^Name")))
    ris.send(adt("A08", "m4", PID_3="M1^^^HOSP", PID_5="Old^Name"))
    everything = {(ds.StudyInstanceUID, "Roe^Jim") for ds in (first, theirs, late)}
    assert (set(studies(ris, "M2")), studies(ris, "M1")) == (everything, [])
    items = modality.ask(ris.server.port, "PatientID=M2", "PatientName")
    assert {str(item.PatientName) for item in items} == {"Roe^Jim"}
    steps = json.loads(run("procedure-steps", "list", "--json", "--config", ris.server.config).stdout)
    assert "M2" in json.dumps(steps)
    assert fetch(ris, tmp_path, late.StudyInstanceUID).PatientID == "M2"
    assert code(ris.send(adt("A40", "m5", "MRG|M1^^^HOSP", **survivor))) == "AA m5"
    circle = ris.send(adt("A40", "m6", "MRG|M2^^^HOSP", PID_3="M1^^^HOSP", PID_5="Doe^Jane"))
    assert (code(circle), error(circle)[1]) == ("AR m6", "205")
    third = ris.send(adt("A40", "m7", "MRG|M1^^^HOSP", PID_3="M9^^^HOSP", PID_5="Doe^Jane"))
    assert (code(third), error(third)[1]) == ("AR m7", "205")
    assert set(studies(ris, "M2")) == everything


def test_patients_are_audited(tmp_path: Path):
    ris = Ris(tmp_path, more='[audit]\nfile = "./audit.log"\n')
    store(ris, PatientID="M1")
    ris.send(adt("A08", "1", PID_3="M1", PID_5="New^Name"))
    ris.send(adt("A40", "2", "MRG|M1", PID_3="M2", PID_5="Roe^Jim"))
    ris.sender.close()
    ris.server.stop()
    found = told(ris.server.folder / "audit.log", PATIENT_RECORD)
    assert [(one.action, one.objects) for one in found] == [("U", ["M1"]), ("D", ["M1"]), ("U", ["M2"])]


def test_a_patient_gets_a_new_identifier_that_nobody_has(ris: Ris):
    ds = store(ris, PatientID="I1")
    store(ris, PatientID="I3")
    taken = ris.send(adt("A47", "i1", "MRG|I1^^^HOSP", PID_3="I3^^^HOSP", PID_5="Doe^Jane"))
    assert (code(taken), error(taken)[1]) == ("AR i1", "205")
    assert code(ris.send(adt("A47", "i2", "MRG|I1^^^HOSP", PID_3="I2^^^HOSP", PID_5="Doe^Jane"))) == "AA i2"
    assert (studies(ris, "I2"), studies(ris, "I1")) == ([(ds.StudyInstanceUID, "Doe^Jane")], [])


@pytest.mark.parametrize(
    ("message", "answered", "at"),
    [
        (adt("A40", "b1", PID_3="B2^^^HOSP"), "AE b1", ("MRG^1", "100")),
        (adt("A40", "b2", "MRG|", PID_3="B2^^^HOSP"), "AE b2", ("MRG^1^1", "101")),
        (adt("A40", "b3", "MRG|B2^^^HOSP", PID_3="B2^^^HOSP"), "AE b3", ("PID^1^3", "102")),
        (adt("A40", "b4", "MRG|B3", "PID|||B1", "MRG|B2", PID_3="B2"), "AR b4", ("MRG^1^1", "205")),
        (adt("A40", "b5", "MRG|" + "x" * 65, PID_3="B2"), "AE b5", ("MRG^1^1", "102")),
        (adt("A08", "b6"), "AE b6", ("PID^1^3", "101")),
        (adt("A08", "b7", PID_3="B1", PID_5='""'), "AE b7", ("PID^1^5", "101")),
        (adt("A08", "b8", PID_3="B1", PID_5="x" * 65), "AE b8", ("PID^1^5", "102")),
        (adt("A08", "b9", PID_3="*", PID_5="All^Of^Them"), "AA b9", None),
        (adt("A43", "b10", PID_3="B1"), "AR b10", ("MSH^1^9", "201")),
        ("MSH|^~\\&|RIS|HOSP|||1||ADT^A40|b11|P|2.5\rMRG|B1\rPID|||B2\r", "AE b11", ("PID^1", "100")),
    ],
)
def test_what_is_wrong_with_a_message_is_told_and_changes_nothing(
    ris: Ris, message: str, answered: str, at: tuple[str, str] | None
):
    ds = store(ris, PatientID="B1", PatientName="Doe^Jane")
    answer = ris.send(message)
    assert (code(answer), at is None or error(answer)) == (answered, at is None or at)
    assert (ds.StudyInstanceUID, "Doe^Jane") in studies(ris, "B1")


def test_one_id_of_several_issuers_is_not_guessed(ris: Ris):
    for issuer in ("A", "B"):
        store(ris, PatientID="S1", IssuerOfPatientID=issuer, PatientName="Doe^Jane")
    answer = ris.send(adt("A08", "s1", PID_3="S1", PID_5="New^Name"))
    assert (code(answer), error(answer)) == ("AR s1", ("PID^1^3", "204"))
    assert code(ris.send(adt("A08", "s2", PID_3="S1^^^B", PID_5="New^Name"))) == "AA s2"
    assert sorted(name for _, name in studies(ris, "S1")) == ["Doe^Jane", "New^Name"]


def test_whatever_comes_is_answered_or_ends_the_connection_and_the_next_is_served(ris: Ris):
    chosen = random.Random(17)
    good = adt("A40", "z", "MRG|Z1^^^HOSP", PID_3="Z2^^^HOSP", PID_5="Doe^Jane").encode()
    sent = 0
    while sent < FUZZED_BYTES:
        data = bytearray(good)
        for _ in range(chosen.randint(1, 12)):
            data[chosen.randrange(len(data))] = chosen.choice(b'|^~\\&\r\n\x00\xff"A0') if data else 0
        message = bytes(data[: chosen.randint(1, len(data))])
        message = re.sub(rb"[\x0b\x1c]", b"?", message)
        assert "\rMSA" in ris.send(message)
        sent += len(message)
    assert code(ris.send(adt("A08", "after", PID_3="Z2"))) == "AA after"
