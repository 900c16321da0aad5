"""A modality: what it asks for and reports, with dcmtk and pynetdicom."""

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pydicom
from pydicom.dataset import Dataset

from tests.support import dcmtk

STEP = "ScheduledProcedureStepSequence"


def request(**values: Any) -> dict[str, Any]:
    """Make a request with one step, as JSON by keyword; `step` holds further attributes of the step."""
    step = {
        "ScheduledStationAETitle": "CT1",
        "ScheduledProcedureStepStartDate": "20240115",
        "ScheduledProcedureStepStartTime": "1030",
        "Modality": "CT",
        "ScheduledProcedureStepID": "S1",
        **values.pop("step", {}),
    }
    return {"PatientName": "Doe^Jane", "PatientID": "P1", "AccessionNumber": "A1", STEP: [step], **values}


BEGUN = {
    "ScheduledStepAttributesSequence": [
        {"StudyInstanceUID": "1.2.3", "ScheduledProcedureStepID": "S1", "AccessionNumber": ""}
    ],
    "PatientName": "Doe^Jane",
    "PatientID": "P1",
    "PerformedProcedureStepID": "PPS1",
    "PerformedStationAETitle": "CT1",
    "PerformedProcedureStepStartDate": "20240115",
    "PerformedProcedureStepStartTime": "1030",
    "PerformedProcedureStepStatus": "IN PROGRESS",
    "Modality": "CT",
    "PerformedSeriesSequence": [],
}
"""What an N-CREATE of a performed procedure step carries."""


def key(keyword: str, value: str = "") -> str:
    """Give a key within the step sequence, as findscu wants it."""
    return f"{STEP}[0].{keyword}={value}"


class Found(list[Dataset]):
    """The answers to a query, and what findscu printed."""

    output: str

    def ids(self) -> list[str]:
        """List the steps' IDs, which have to be asked for."""
        return [str(ds[STEP][0].ScheduledProcedureStepID) for ds in self]


def ask(port: int, *keys: str, options: Sequence[object] = ()) -> Found:
    """Query the worklist with findscu; the steps' IDs are always asked for."""
    with tempfile.TemporaryDirectory() as folder:
        words = [w for k in (key("ScheduledProcedureStepID"), *keys) for w in ("-k", k)]
        arguments = ["-d", "-W", "-X", "-od", folder, *words, *options]
        done = dcmtk.client("findscu", port, *arguments)
        found = Found(pydicom.dcmread(path, force=True) for path in sorted(Path(folder).glob("*.dcm")))
    found.output = done.stdout
    return found


def dataset(values: Mapping[str, Any]) -> Dataset:
    """Make a data set of values by keyword; lists of mappings are sequences."""
    ds = Dataset()
    for keyword, value in values.items():
        is_sequence = isinstance(value, list) and all(isinstance(item, Mapping) for item in value)
        setattr(ds, keyword, [dataset(item) for item in value] if is_sequence else value)
    return ds
