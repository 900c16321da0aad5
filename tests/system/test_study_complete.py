"""When a study is complete, and why: told in the log and in the feed, once for all that came."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path

from pydicom.dataset import Dataset
from pydicom.uid import generate_uid
from pynetdicom import AE
from pynetdicom.sop_class import ModalityPerformedProcedureStep as MPPS

from tests.support import dcmtk
from tests.support.modality import BEGUN, dataset
from tests.support.objects import ct, save_all
from tests.support.server import Server, run
from tests.system.test_commitment import Events, ask, associate

LONG = "[study]\nquiet_s = 3000\n"


def study(count: int, **values: object) -> list[Dataset]:
    uid = generate_uid()
    return [ct(4, StudyInstanceUID=uid, InstanceNumber=n, **values) for n in range(count)]


def send(server: Server, made: Sequence[Dataset], folder: Path, title: str = "CT1") -> None:
    folder.mkdir()
    dcmtk.client("storescu", server.port, "-aet", title, *save_all(list(made), folder))


def completed(server: Server, made: Sequence[Dataset], times: int = 1) -> str:
    """Wait for the line of the log; returns the reason that it and the feed tell."""
    uid = made[0].StudyInstanceUID
    after = 0
    for _ in range(times):
        line = server.wait_for(lambda at: at["event"] == "study complete" and at["study_uid"] == uid, 30, after)
        after = server.lines.index(line) + 1
    changes = json.loads(run("changes", "--json", config=server.config).stdout)
    told = [row for row in changes if row["action"] == "complete" and row["study"] == uid]
    assert len(told) == times
    assert told[-1]["reason"] == line["reason"]
    return str(line["reason"])


def test_a_study_is_complete_when_nothing_comes_any_more(start_server: Callable[..., Server], tmp_path: Path):
    server = start_server(more="[study]\nquiet_s = 0.5\n")
    made = study(2)
    send(server, made, tmp_path / "sent")
    assert completed(server, made) == "quiet"
    send(server, [ct(4, StudyInstanceUID=made[0].StudyInstanceUID)], tmp_path / "late")
    assert completed(server, made, times=2) == "quiet", "what comes late opens it again"


def test_it_is_not_while_its_sender_has_an_association(start_server: Callable[..., Server], tmp_path: Path):
    server = start_server(more='[study]\nquiet_s = 0.5\n[[peer]]\ntitle = "MODALITY"\n')
    other = associate(server)
    made, done = study(1), study(1)
    send(server, made, tmp_path / "sent", title="MODALITY")
    send(server, done, tmp_path / "other", title="CT2")
    assert completed(server, done) == "quiet"
    assert [line["study_uid"] for line in server.events("study complete")] == [done[0].StudyInstanceUID]
    other.release()
    assert completed(server, made) == "quiet"


def test_it_is_by_the_counts_that_its_objects_give(start_server: Callable[..., Server], tmp_path: Path):
    server = start_server(more=LONG)
    made = study(3, NumberOfStudyRelatedInstances=3, NumberOfStudyRelatedSeries=3)
    send(server, made[:2], tmp_path / "first")
    other = study(1, NumberOfStudyRelatedInstances=1)
    send(server, other, tmp_path / "other")
    assert completed(server, other) == "count"
    assert len(server.events("study complete")) == 1
    send(server, made[2:], tmp_path / "rest")
    assert completed(server, made) == "count"


def test_it_is_by_the_commitment_of_all_of_it(start_server: Callable[..., Server], tmp_path: Path):
    server = start_server(more=LONG)
    made = study(2)
    send(server, made, tmp_path / "sent", title="MODALITY")
    events = Events()
    association = associate(server, events)
    ask(association, made[:1])
    events.wait(1)
    assert not server.events("study complete")
    ask(association, made)
    assert completed(server, made) == "commitment"
    association.release()


def test_it_is_by_performed_steps_that_are_over_and_whose_images_are_here(
    start_server: Callable[..., Server], tmp_path: Path
):
    server = start_server(more=LONG)
    made = study(2)
    send(server, made[:1], tmp_path / "first")
    ae = AE("CT1")
    ae.add_requested_context(MPPS)
    modality = ae.associate("127.0.0.1", server.port)
    scheduled = [
        {"StudyInstanceUID": made[0].StudyInstanceUID, "ScheduledProcedureStepID": "S1", "AccessionNumber": ""}
    ]
    step = generate_uid()
    modality.send_n_create(dataset({**BEGUN, "ScheduledStepAttributesSequence": scheduled}), MPPS, step)
    series = [
        {
            "SeriesInstanceUID": ds.SeriesInstanceUID,
            "ProtocolName": "P",
            "PerformingPhysicianName": "",
            "OperatorsName": "",
            "SeriesDescription": "",
            "RetrieveAETitle": "",
            "ReferencedImageSequence": [
                {"ReferencedSOPClassUID": ds.SOPClassUID, "ReferencedSOPInstanceUID": ds.SOPInstanceUID}
            ],
            "ReferencedNonImageCompositeSOPInstanceSequence": [],
        }
        for ds in made
    ]
    over = {
        "PerformedProcedureStepStatus": "COMPLETED",
        "PerformedProcedureStepEndDate": "20240115",
        "PerformedProcedureStepEndTime": "1045",
        "PerformedSeriesSequence": series,
    }
    status, _ = modality.send_n_set(dataset(over), MPPS, step)
    assert status.Status == 0
    other = study(1, NumberOfStudyRelatedInstances=1)
    send(server, other, tmp_path / "other")
    assert completed(server, other) == "count"
    assert len(server.events("study complete")) == 1, "an image is missing"
    send(server, made[1:], tmp_path / "rest")
    assert completed(server, made) == "mpps"
    modality.release()


def test_what_was_told_is_not_told_again_after_a_crash(start_server: Callable[..., Server], tmp_path: Path):
    server = start_server(more="[study]\nquiet_s = 0.5\n")
    made = study(1)
    send(server, made, tmp_path / "sent")
    assert completed(server, made) == "quiet"
    server.kill()
    server.start()
    other = study(1)
    send(server, other, tmp_path / "other")
    assert completed(server, other) == "quiet"
    changes = json.loads(run("changes", "--json", config=server.config).stdout)
    told = [row["study"] for row in changes if row["action"] == "complete"]
    assert told == [made[0].StudyInstanceUID, other[0].StudyInstanceUID]
