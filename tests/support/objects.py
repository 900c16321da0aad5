"""Synthetic objects, small and of known content."""

from pathlib import Path
from typing import Any

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid


def ct(rows: int = 16, **values: Any) -> Dataset:
    """Make a CT image with fresh UIDs; `values` are set by keyword, None removes one."""
    ds = Dataset()
    ds.SOPClassUID = CTImageStorage
    ds.SOPInstanceUID = generate_uid()
    ds.StudyInstanceUID = generate_uid()
    ds.SeriesInstanceUID = generate_uid()
    ds.PatientName, ds.PatientID, ds.PatientSex = "Doe^Jane", "P1", "F"
    ds.PatientBirthDate = "19700101"
    ds.StudyDate, ds.StudyTime, ds.AccessionNumber, ds.StudyID = "20240115", "101500", "A1", "1"
    ds.ReferringPhysicianName, ds.StudyDescription = "Ref^Doc", "CT ABDOMEN"
    ds.Modality, ds.SeriesNumber, ds.InstanceNumber = "CT", 1, 1
    ds.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    ds.Rows = ds.Columns = rows
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 12, 11, 0
    ds.PixelData = (np.arange(rows * rows, dtype=np.uint16) % 4096).tobytes()
    ds["PixelData"].VR = "OW"
    for keyword, value in values.items():
        if value is None:
            if keyword in ds:
                delattr(ds, keyword)
        else:
            setattr(ds, keyword, value)
    return ds


def study(patients: int = 1, series: int = 1, instances: int = 1, **values: Any) -> list[Dataset]:
    """Make one study for each of `patients`, with that many series and instances in each."""
    made = []
    for p in range(patients):
        study_uid = generate_uid()
        for s in range(series):
            series_uid = generate_uid()
            for i in range(instances):
                made.append(
                    ct(
                        **{
                            "PatientID": f"P{p + 1}",
                            "StudyInstanceUID": study_uid,
                            "SeriesInstanceUID": series_uid,
                            "SeriesNumber": s + 1,
                            "InstanceNumber": i + 1,
                            **values,
                        }
                    )
                )
    return made


def encode(ds: Dataset, transfer_syntax_uid: str = ExplicitVRLittleEndian) -> bytes:
    """Encode a data set without File Meta, uncompressed."""
    out = DicomBytesIO()
    out.is_little_endian = transfer_syntax_uid != "1.2.840.10008.1.2.2"
    out.is_implicit_VR = transfer_syntax_uid == "1.2.840.10008.1.2"
    write_dataset(out, ds)
    return bytes(out.getvalue())


def save(ds: Dataset, path: Path, transfer_syntax_uid: str = ExplicitVRLittleEndian) -> Path:
    """Write a Part 10 file."""
    ds = ds.copy()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = transfer_syntax_uid
    ds.file_meta.MediaStorageSOPClassUID = ds.SOPClassUID
    ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
    path.parent.mkdir(parents=True, exist_ok=True)
    ds.save_as(path, enforce_file_format=True)
    return path


def save_all(datasets: list[Dataset], folder: Path) -> list[Path]:
    """Write files with numbered names."""
    return [save(ds, folder / f"{i:04d}.dcm") for i, ds in enumerate(datasets)]


def data_set_of(path: Path) -> bytes:
    """Return the bytes of a Part 10 file behind its File Meta, found by walking it with the group length."""
    raw = path.read_bytes()
    assert raw[128:132] == b"DICM"
    assert raw[132:140] == b"\x02\x00\x00\x00UL\x04\x00"
    return raw[144 + int.from_bytes(raw[140:144], "little") :]
