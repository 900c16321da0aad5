"""Synthetic CT studies, the same bytes on every machine and in every run."""

import hashlib
import random
import struct
from dataclasses import dataclass
from functools import cache
from itertools import product
from pathlib import Path
from typing import BinaryIO

from minipacs.dicom.data_set.part10 import file_meta
from minipacs.dicom.tables.transfer_syntaxes import EXPLICIT_VR_LITTLE_ENDIAN

CT_IMAGE_STORAGE = "1.2.840.10008.5.1.4.1.1.2"
MULTI_FRAME_BYTE, MULTI_FRAME_WORD = "1.2.840.10008.5.1.4.1.1.7.2", "1.2.840.10008.5.1.4.1.1.7.3"


@dataclass(frozen=True)
class Load:
    """A set of studies; no two loads share an object, and the year of each study's date is the load's own."""

    name: str
    studies: int
    series: int
    instances: int
    rows: int
    year: int

    @property
    def objects(self) -> int:
        return self.studies * self.series * self.instances

    def study_uid(self, study: int) -> str:
        return _uid(self.name, study)

    def series_uid(self, study: int, series: int) -> str:
        return _uid(self.name, study, series)

    def patient_id(self, study: int) -> str:
        return f"{self.name[:3].upper()}{study:06d}"

    def sop_instance_uids(self) -> list[str]:
        numbers = product(range(self.studies), range(self.series), range(self.instances))
        return [_uid(self.name, *found) for found in numbers]

    def study_date(self, study: int) -> str:
        return f"{self.year}{1 + study % 12:02d}{1 + study % 28:02d}"

    def folder(self, root: Path, study: int) -> Path:
        return root / self.name / f"{study:04d}"


LOADS = {
    load.name: load
    for load in (
        Load("large", studies=4, series=2, instances=50, rows=512, year=2020),
        Load("small", studies=10, series=2, instances=50, rows=64, year=2021),
        Load("parallel", studies=20, series=1, instances=50, rows=64, year=2022),
        Load("reload", studies=20, series=1, instances=50, rows=64, year=2019),
        Load("committing", studies=10, series=2, instances=50, rows=64, year=2018),
        Load("stock", studies=2, series=1, instances=50, rows=64, year=2023),
        Load("web", studies=1, series=1, instances=100, rows=512, year=2017),
        Load("index", studies=2000, series=1, instances=2, rows=8, year=2024),
    )
}


def write(load: Load, root: Path) -> None:
    """Write the files of a load, one folder for each study, unless they are there."""
    if load.folder(root, 0).exists():
        return
    for study in range(load.studies):
        folder = load.folder(root, study)
        folder.mkdir(parents=True)
        for series in range(load.series):
            for instance in range(load.instances):
                path = folder / f"{series:02d}-{instance:04d}.dcm"
                path.write_bytes(encode(load, study, series, instance))


def write_multi_frame(file: BinaryIO, rows: int, frames: int, bits: int) -> None:
    """Write a secondary capture of square frames with 8 or 16 bits for each pixel, whatever its size."""
    words = _pixels(rows)
    upper_8_of_12 = (low >> 4 | (high << 4) & 0xFF for low, high in zip(words[::2], words[1::2], strict=True))
    frame = words if bits == 16 else bytes(upper_8_of_12)
    sop_class = MULTI_FRAME_WORD if bits == 16 else MULTI_FRAME_BYTE
    values: tuple[tuple[int, str, str | int], ...] = (
        (0x00080016, "UI", sop_class),
        (0x00080018, "UI", _uid("multi-frame", bits)),
        (0x00080060, "CS", "OT"),
        (0x00100010, "PN", "Doe^Huge"),
        (0x00100020, "LO", "HUGE"),
        (0x0020000D, "UI", MULTI_FRAME_STUDY_UID),
        (0x0020000E, "UI", _uid("multi-frame series")),
        (0x00280002, "US", 1),
        (0x00280004, "CS", "MONOCHROME2"),
        (0x00280008, "IS", str(frames)),
        (0x00280010, "US", rows),
        (0x00280011, "US", rows),
        (0x00280100, "US", bits),
        (0x00280101, "US", min(bits, 12)),
        (0x00280102, "US", min(bits, 12) - 1),
        (0x00280103, "US", 0),
    )
    file.write(file_meta(sop_class, _uid("multi-frame", bits), EXPLICIT_VR_LITTLE_ENDIAN))
    file.write(b"".join(_element(*value) for value in values))
    vr = b"OW" if bits == 16 else b"OB"
    file.write(struct.pack("<HH2s2xI", 0x7FE0, 0x0010, vr, len(frame) * frames))
    for _ in range(frames):
        file.write(frame)


def _uid(*names: object) -> str:
    digest = hashlib.sha256("/".join(map(str, names)).encode()).digest()
    return f"2.25.{int.from_bytes(digest[:15])}"


def encode(load: Load, study: int, series: int, instance: int) -> bytes:
    sop_instance_uid = _uid(load.name, study, series, instance)
    date = load.study_date(study)
    values: tuple[tuple[int, str, str | int], ...] = (
        (0x00080008, "CS", "ORIGINAL\\PRIMARY\\AXIAL"),
        (0x00080016, "UI", CT_IMAGE_STORAGE),
        (0x00080018, "UI", sop_instance_uid),
        (0x00080020, "DA", date),
        (0x00080021, "DA", date),
        (0x00080023, "DA", date),
        (0x00080030, "TM", "101500"),
        (0x00080033, "TM", f"1016{instance % 60:02d}"),
        (0x00080050, "SH", f"A{load.year}{study:06d}"),
        (0x00080060, "CS", "CT"),
        (0x00080070, "LO", "Benchmark"),
        (0x00080090, "PN", "Referring^Doctor"),
        (0x00081030, "LO", "CT ABDOMEN"),
        (0x0008103E, "LO", f"AXIAL {series + 1}"),
        (0x00100010, "PN", f"Doe{study % 977}^Jane"),
        (0x00100020, "LO", load.patient_id(study)),
        (0x00100030, "DA", "19700101"),
        (0x00100040, "CS", "F"),
        (0x00180050, "DS", "1"),
        (0x00180060, "DS", "120"),
        (0x0020000D, "UI", load.study_uid(study)),
        (0x0020000E, "UI", load.series_uid(study, series)),
        (0x00200010, "SH", str(study)),
        (0x00200011, "IS", str(series + 1)),
        (0x00200013, "IS", str(instance + 1)),
        (0x00200032, "DS", f"0\\0\\{instance}"),
        (0x00200037, "DS", "1\\0\\0\\0\\1\\0"),
        (0x00200052, "UI", _uid(load.name, study, "frame of reference")),
        (0x00280002, "US", 1),
        (0x00280004, "CS", "MONOCHROME2"),
        (0x00280010, "US", load.rows),
        (0x00280011, "US", load.rows),
        (0x00280030, "DS", "0.7\\0.7"),
        (0x00280100, "US", 16),
        (0x00280101, "US", 12),
        (0x00280102, "US", 11),
        (0x00280103, "US", 0),
        (0x00281052, "DS", "-1024"),
        (0x00281053, "DS", "1"),
    )
    data_set = b"".join(_element(*value) for value in values)
    pixels = _pixels(load.rows)
    pixel_data = struct.pack("<HH2s2xI", 0x7FE0, 0x0010, b"OW", len(pixels)) + pixels
    return file_meta(CT_IMAGE_STORAGE, sop_instance_uid, EXPLICIT_VR_LITTLE_ENDIAN) + data_set + pixel_data


def _element(tag: int, vr: str, value: str | int) -> bytes:
    if isinstance(value, int):
        raw = struct.pack("<H", value)
    else:
        raw = value.encode()
        raw += (b"\0" if vr == "UI" else b" ") * (len(raw) % 2)
    return struct.pack("<HH2sH", tag >> 16, tag & 0xFFFF, vr.encode(), len(raw)) + raw


@cache
def _pixels(rows: int) -> bytes:
    """Make a noisy ramp: neither all zeros, which a file system might not write, nor all noise."""
    noise = random.Random(rows).randbytes(rows * rows)
    values = ((1000 + 3 * (i // rows) + 2 * (i % rows) + noise[i] // 4) & 0xFFF for i in range(rows * rows))
    return struct.pack(f"<{rows * rows}H", *values)


MULTI_FRAME_STUDY_UID = _uid("multi-frame study")
