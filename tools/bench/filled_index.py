"""A large index without its files, built through the index writer: the same rows on every machine."""

import hashlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

from minipacs.dicom.tables.transfer_syntaxes import EXPLICIT_VR_LITTLE_ENDIAN
from minipacs.index import Index, InstanceRecord

SERIES_OF_STUDY, INSTANCES_OF_SERIES = 2, 25
STUDIES_OF_DAY = 40
FIRST_DAY = date(2015, 1, 1)
WRITERS = 16
"""Threads that hand over records, so that many are committed together."""

_CLASSES = {
    "CT": "1.2.840.10008.5.1.4.1.1.2",
    "MR": "1.2.840.10008.5.1.4.1.1.4",
    "US": "1.2.840.10008.5.1.4.1.1.6.1",
    "CR": "1.2.840.10008.5.1.4.1.1.1",
}
_MODALITIES = tuple(_CLASSES)
_FAMILIES = ("MÜLLER", "SMITH", "GARCIA", "NOWAK", "ROSSI", "DUBOIS", "JANSEN", "HANSEN", "SILVA", "NOVAK", "YILMAZ")
_GIVEN = ["ANNA", "JOHN", "MARIA", "PETER", "LUCIA", "THOMAS", "ELENA", "PAUL", "SOFIA", "JAN", "EMMA", "LUKAS"]


@dataclass(frozen=True)
class Archive:
    """What is in the index: `instances`, as a rule in studies of 50; one study in five is the second of its patient."""

    instances: int
    series_of_study: int = SERIES_OF_STUDY
    instances_of_series: int = INSTANCES_OF_SERIES

    @property
    def studies(self) -> int:
        return self.instances // (self.series_of_study * self.instances_of_series)

    def person(self, study: int) -> int:
        return study - (study % 5 == 4)

    def patient_id(self, study: int) -> str:
        return f"PAT{self.person(study):07d}"

    def name(self, study: int) -> str:
        person = self.person(study)
        family = _FAMILIES[person % len(_FAMILIES)]
        return f"{family}{person // 97}^{_GIVEN[person % len(_GIVEN)]}"

    def accession_number(self, study: int) -> str:
        return f"ACC{study:08d}"

    def day(self, study: int) -> str:
        return f"{FIRST_DAY + timedelta(days=study // STUDIES_OF_DAY):%Y%m%d}"

    def modality(self, study: int) -> str:
        return _MODALITIES[study % len(_MODALITIES)]

    def study_uid(self, study: int) -> str:
        return f"1.2.826.0.1.3680043.10.99.{study}"

    def series_uid(self, study: int, series: int) -> str:
        return f"{self.study_uid(study)}.{series}"

    def records(self, study: int) -> Iterator[InstanceRecord]:
        for series in range(self.series_of_study):
            for instance in range(self.instances_of_series):
                yield self._record(study, series, instance)

    def _record(self, study: int, series: int, instance: int) -> InstanceRecord:
        modality, day = self.modality(study), self.day(study)
        uid = f"{self.series_uid(study, series)}.{instance}"
        values = {
            "PatientID": self.patient_id(study),
            "PatientName": self.name(study),
            "PatientBirthDate": f"19{self.person(study) % 90 + 10}0101",
            "PatientSex": "FM"[self.person(study) % 2],
            "StudyInstanceUID": self.study_uid(study),
            "StudyDate": day,
            "StudyTime": f"{study % 24:02d}{study % 60:02d}00",
            "AccessionNumber": self.accession_number(study),
            "StudyID": str(study),
            "ReferringPhysicianName": f"REF{study % 300}^DOCTOR",
            "StudyDescription": f"{modality} EXAMINATION {study % 50}",
            "InstitutionName": "BENCH HOSPITAL",
            "SeriesInstanceUID": self.series_uid(study, series),
            "Modality": modality,
            "SeriesNumber": str(series + 1),
            "SeriesDescription": f"SERIES {series + 1}",
            "SeriesDate": day,
            "SeriesTime": "101500",
            "BodyPartExamined": "CHEST",
            "Manufacturer": "BENCH",
            "InstanceNumber": str(instance + 1),
            "ImageType": "ORIGINAL\\PRIMARY\\AXIAL",
            "ContentDate": day,
            "ContentTime": f"1016{instance:02d}",
            "Rows": "512",
            "Columns": "512",
            "BitsAllocated": "16",
            "PhotometricInterpretation": "MONOCHROME2",
            "SamplesPerPixel": "1",
        }
        digest = hashlib.sha256(uid.encode()).hexdigest()
        return InstanceRecord(
            values, _CLASSES[modality], uid, EXPLICIT_VR_LITTLE_ENDIAN, digest, 527_000, 1.7e9 + study, "BENCH"
        )


def build(archive: Archive, storage: Path) -> None:
    """Fill `storage`/index.db; the folder looks as after a clean end, so that no start will look for the files."""
    storage.mkdir(parents=True)
    index = Index.open(storage / "index.db", sync="batch")
    try:
        with ThreadPoolExecutor(WRITERS) as pool:
            for _ in pool.map(lambda study: _add(index, archive, study), range(archive.studies)):
                pass
    finally:
        index.close()
    (storage / "daemon.lock").touch()


def _add(index: Index, archive: Archive, study: int) -> None:
    records = list(archive.records(study))
    for record in records:
        index.add(record, "keep")
    index.set_availability([record.digest for record in records], "UNAVAILABLE")  # else a start would miss the files
