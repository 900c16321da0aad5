"""A patient's way through the day: from the worklist to the commitment."""

import json
from collections.abc import Callable

from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian
from pynetdicom import AE, build_role

from tests.support.modality import ask, dataset, request
from tests.support.objects import ct
from tests.support.server import Server, run
from tests.system.test_commitment import COMMITMENT, WELL_KNOWN, Events, action
from tests.system.test_performed_step import MPPS, begun, ended

UID = "1.2.3.4.5.6"


def test_a_scheduled_examination_from_the_list_to_the_commitment(start_server: Callable[..., Server]):
    server = start_server()
    path = server.folder / "requests.json"
    path.write_text(json.dumps(request()))
    run("worklist", "import", "--config", server.config, path)
    (item,) = ask(server.port, "StudyInstanceUID", "PatientID", "PatientName", "AccessionNumber")
    scheduled = [
        {
            "StudyInstanceUID": item.StudyInstanceUID,
            "AccessionNumber": item.AccessionNumber,
            "ScheduledProcedureStepID": item.ScheduledProcedureStepSequence[0].ScheduledProcedureStepID,
        }
    ]
    ae = AE("CT1")
    for sop_class in (MPPS, COMMITMENT):
        ae.add_requested_context(sop_class)
    ae.add_requested_context(CTImageStorage, ExplicitVRLittleEndian)
    events = Events()
    scanner = ae.associate(
        "127.0.0.1",
        server.port,
        ae_title="MINIPACS",
        evt_handlers=events.handlers,
        ext_neg=[build_role(COMMITMENT, scu_role=True, scp_role=False)],
    )

    assert scanner.send_n_create(begun(ScheduledStepAttributesSequence=scheduled), MPPS, UID)[0].Status == 0
    assert ask(server.port) == []

    images = [
        ct(4, StudyInstanceUID=item.StudyInstanceUID, PatientID=item.PatientID, PatientName=item.PatientName)
        for _ in range(3)
    ]
    for image in images:
        image.file_meta = dataset({"TransferSyntaxUID": ExplicitVRLittleEndian})
        assert scanner.send_c_store(image).Status == 0
    series = {
        "ProtocolName": "HEAD",
        "SeriesInstanceUID": images[0].SeriesInstanceUID,
        "ReferencedImageSequence": [
            {"ReferencedSOPClassUID": image.SOPClassUID, "ReferencedSOPInstanceUID": image.SOPInstanceUID}
            for image in images
        ],
    }
    assert scanner.send_n_set(ended(PerformedSeriesSequence=[series]), MPPS, UID)[0].Status == 0

    assert scanner.send_n_action(action(images, "1.2.3.99"), 1, COMMITMENT, WELL_KNOWN)[0].Status == 0
    ((kind, event, _),) = events.wait()
    assert (kind, len(event.ReferencedSOPSequence)) == (1, 3)
    scanner.release()
    assert ask(server.port) == []
    (step,) = json.loads(run("worklist", "list", "--all", "--json", "--config", server.config).stdout)
    assert step["ScheduledProcedureStepSequence"][0]["ScheduledProcedureStepStatus"] == "COMPLETED"
