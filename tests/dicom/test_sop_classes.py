import pytest
from pydicom.uid import UID_dictionary
from pynetdicom import sop_class

from minipacs.dicom.tables.sop_classes import QUERY_RETRIEVE, STORAGE, VERIFICATION


def test_every_storage_class_that_pynetdicom_knows_is_served() -> None:
    assert set(map(str, sop_class._STORAGE_CLASSES.values())) - STORAGE.keys() == set()


@pytest.mark.parametrize(
    ("uid", "name"),
    [
        ("1.2.840.10008.5.1.4.1.1.2", "CT Image Storage"),
        ("1.2.840.10008.5.1.4.1.1.9.100.1", "Waveform Presentation State Storage"),
        ("1.2.840.10008.5.1.4.1.1.66.7", "Label Map Segmentation Storage"),
        ("1.2.840.10008.5.1.4.1.1.104.1", "Encapsulated PDF Storage"),
        ("1.2.840.10008.5.1.4.1.1.200.2", "CT Performed Procedure Protocol Storage"),
        ("1.2.840.10008.5.1.4.34.7", "RT Beams Delivery Instruction Storage"),
    ],
)
def test_current_classes(uid: str, name: str) -> None:
    assert STORAGE[uid] == name


@pytest.mark.parametrize(
    "uid",
    [
        "1.2.840.10008.5.1.1.27",  # Stored Print
        "1.2.840.10008.5.1.1.29",  # Hardcopy Grayscale Image
        "1.2.840.10008.5.1.1.30",  # Hardcopy Color Image
        "1.2.840.10008.5.1.4.1.1.3",  # Ultrasound Multi-frame Image
        "1.2.840.10008.5.1.4.1.1.5",  # Nuclear Medicine Image
        "1.2.840.10008.5.1.4.1.1.6",  # Ultrasound Image
        "1.2.840.10008.5.1.4.1.1.8",  # Standalone Overlay
        "1.2.840.10008.5.1.4.1.1.9",  # Standalone Curve
        "1.2.840.10008.5.1.4.1.1.9.1",  # Waveform, trial
        "1.2.840.10008.5.1.4.1.1.10",  # Standalone Modality LUT
        "1.2.840.10008.5.1.4.1.1.11",  # Standalone VOI LUT
        "1.2.840.10008.5.1.4.1.1.12.3",  # X-Ray Angiographic Bi-Plane Image
        "1.2.840.10008.5.1.4.1.1.77.1",  # VL Image, trial
        "1.2.840.10008.5.1.4.1.1.77.2",  # VL Multi-frame Image, trial
        "1.2.840.10008.5.1.4.1.1.88.1",  # Text SR, trial
        "1.2.840.10008.5.1.4.1.1.88.4",  # Comprehensive SR, trial
        "1.2.840.10008.5.1.4.1.1.129",  # Standalone PET Curve
        "1.2.840.10008.5.1.4.34.1",  # RT Beams Delivery Instruction, trial
    ],
)
def test_retired_classes_are_served(uid: str) -> None:
    assert uid in STORAGE


@pytest.mark.parametrize(
    "name",
    [
        "Media Storage Directory Storage",
        "Storage Commitment Push Model SOP Class",
        "Storage Commitment Pull Model SOP Class",
        "Hanging Protocol Storage",
        "Color Palette Storage",
        "Generic Implant Template Storage",
        "Implant Assembly Template Storage",
        "Implant Template Group Storage",
        "CT Defined Procedure Protocol Storage",
        "XA Defined Procedure Protocol Storage",
        "Protocol Approval Storage",
        "Inventory Storage",
    ],
)
def test_objects_outside_studies_are_not_served(name: str) -> None:
    assert name in {row[0] for row in UID_dictionary.values()}
    assert name not in STORAGE.values()


def test_only_storage_classes_are_in_the_table() -> None:
    assert not [name for name in STORAGE.values() if "Storage" not in name or "Query" in name or "Commitment" in name]
    assert VERIFICATION not in STORAGE
    assert not STORAGE.keys() & QUERY_RETRIEVE.keys()


def test_query_retrieve_classes_are_those_of_the_standard() -> None:
    models = {"PATIENT": "Patient Root", "STUDY": "Study Root", "PATIENT_STUDY_ONLY": "Patient/Study Only"}
    assert len(QUERY_RETRIEVE) == 9
    for uid, known in QUERY_RETRIEVE.items():
        assert known.uid == uid
        assert UID_dictionary[uid][0] == (
            f"{models[known.model]} Query/Retrieve Information Model - {known.operation.upper()}"
        )
