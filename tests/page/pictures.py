"""Objects for the viewer, each with what is to be seen of it: pixels, units, places, text."""

import math
from collections.abc import Iterator, Sequence

import numpy
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.sequence import Sequence as Items
from pydicom.uid import MPEG4HP41, ExplicitVRLittleEndian, generate_uid

CT = "1.2.840.10008.5.1.4.1.1.2"
SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
MULTI_FRAME_GREY = "1.2.840.10008.5.1.4.1.1.7.3"
ULTRASOUND_MULTI_FRAME = "1.2.840.10008.5.1.4.1.1.3.1"
SEGMENTATION = "1.2.840.10008.5.1.4.1.1.66.4"
STRUCTURE_SET = "1.2.840.10008.5.1.4.1.1.481.3"
PDF = "1.2.840.10008.5.1.4.1.1.104.1"
VIDEO = "1.2.840.10008.5.1.4.1.1.77.1.4.1"
REPORT = "1.2.840.10008.5.1.4.1.1.88.11"
ECG = "1.2.840.10008.5.1.4.1.1.9.1.1"
PARAMETRIC_MAP = "1.2.840.10008.5.1.4.1.1.30"

SPHERE_MM = 40.0
"""Radius of the sphere in the middle of `phantom`."""


class Study:
    """Makes objects of one patient and study."""

    def __init__(self, name: str = "Rossi^Anna", patient_id: str = "P1", born: str = "19610314") -> None:
        self.uid = generate_uid()
        self.frame_of_reference = generate_uid()
        self._patient = (name, patient_id, born)
        self._series = 0

    def series(self) -> "Series":
        """Begin a series."""
        self._series += 1
        return Series(self, self._series)

    def base(self, sop_class_uid: str, transfer_syntax_uid: str = ExplicitVRLittleEndian) -> FileDataset:
        """Make an object without anything of its own."""
        meta = FileMetaDataset()
        meta.MediaStorageSOPClassUID = sop_class_uid
        meta.MediaStorageSOPInstanceUID = generate_uid()
        meta.TransferSyntaxUID = transfer_syntax_uid
        found = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
        found.SpecificCharacterSet = "ISO_IR 192"
        found.SOPClassUID, found.SOPInstanceUID = sop_class_uid, meta.MediaStorageSOPInstanceUID
        found.StudyInstanceUID, found.StudyDate, found.StudyTime = self.uid, "20260314", "0915"
        found.StudyDescription, found.AccessionNumber, found.StudyID = "Thorax", "A1", "1"
        found.PatientName, found.PatientID, found.PatientBirthDate = self._patient
        found.PatientSex = "F"
        return found


class Series:
    """Makes objects of one series."""

    def __init__(self, study: Study, number: int) -> None:
        self.study, self.number, self.uid = study, number, generate_uid()
        self._instances = 0

    def object(self, sop_class_uid: str, modality: str, description: str = "", **others: object) -> FileDataset:
        """Make an object; others are attributes by keyword, and `transfer_syntax_uid`."""
        found = self.study.base(sop_class_uid, str(others.pop("transfer_syntax_uid", ExplicitVRLittleEndian)))
        self._instances += 1
        found.Modality, found.SeriesDescription = modality, description
        found.SeriesInstanceUID, found.SeriesNumber, found.InstanceNumber = self.uid, self.number, self._instances
        for keyword, value in others.items():
            setattr(found, keyword, value)
        return found

    def picture(
        self, samples: NDArray[numpy.generic], interpretation: str, modality: str = "OT", **others: object
    ) -> FileDataset:
        """Make an image of samples: rows by columns, by three if in colour, frames before them if there are many."""
        is_colour = interpretation in ("RGB", "YBR_FULL")
        shape = samples.shape[:-1] if is_colour else samples.shape
        bits = samples.dtype.itemsize * 8
        found = self.object(str(others.pop("sop_class_uid", SECONDARY_CAPTURE)), modality, **others)
        found.Rows, found.Columns = shape[-2:]
        if len(shape) == 3:
            found.NumberOfFrames = shape[0]
        found.SamplesPerPixel = 3 if is_colour else 1
        found.PhotometricInterpretation = interpretation
        if is_colour:
            found.PlanarConfiguration = 0
        if samples.dtype.kind == "f":
            found.BitsAllocated = bits
            keyword = "FloatPixelData" if bits == 32 else "DoubleFloatPixelData"
            setattr(found, keyword, samples.tobytes())
            return found
        found.BitsAllocated, found.BitsStored, found.HighBit = bits, others.get("BitsStored", bits), bits - 1
        found.HighBit = found.BitsStored - 1
        found.PixelRepresentation = int(samples.dtype.kind == "i")
        found.PixelData = samples.tobytes()
        found["PixelData"].VR = "OW" if bits > 8 else "OB"
        return found


def phantom(
    count: int, side: int = 512, spacing_mm: float = 0.5, step_mm: float = 1.0
) -> Iterator[NDArray[numpy.int16]]:
    """Give slices of a sphere of water with a rod of bone through it, in air, as stored values 1024 above HU."""
    middle = (side - 1) / 2 * spacing_mm
    across = numpy.arange(side) * spacing_mm - middle
    noise = numpy.random.default_rng(7).integers(-12, 13, (side, side), dtype=numpy.int16)
    for index in range(count):
        height = (index - (count - 1) / 2) * step_mm
        distance = numpy.sqrt(across[None, :] ** 2 + across[:, None] ** 2 + height**2)
        slice_ = numpy.where(distance < SPHERE_MM, 1024, 24).astype(numpy.int16)
        rod = numpy.hypot(across[None, :] - 15, across[:, None] - 10) < 6
        slice_[rod & (distance < SPHERE_MM)] = 2024
        yield slice_ + numpy.roll(noise, index * 37)


def ct(
    study: Study, count: int, side: int = 512, spacing_mm: float = 0.5, step_mm: float = 1.0
) -> Iterator[FileDataset]:
    """Make an axial CT of the phantom, its middle at the origin, feet first."""
    series = study.series()
    start = -(side - 1) / 2 * spacing_mm
    for index, samples in enumerate(phantom(count, side, spacing_mm, step_mm)):
        found = series.picture(samples, "MONOCHROME2", "CT", sop_class_uid=CT, description="Phantom 1.0")
        found.PixelSpacing = [spacing_mm, spacing_mm]
        found.SliceThickness, found.KVP = step_mm, 120
        found.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
        found.ImagePositionPatient = [start, start, (index - (count - 1) / 2) * step_mm]
        found.FrameOfReferenceUID = study.frame_of_reference
        found.RescaleIntercept, found.RescaleSlope, found.RescaleType = -1024, 1, "HU"
        found.WindowCenter, found.WindowWidth = [40, -600], [400, 1500]
        found.WindowCenterWidthExplanation = ["Soft", "Lung"]
        yield found


def segmentation(study: Study, images: Sequence[Dataset], radius_mm: float = SPHERE_MM) -> FileDataset:
    """Make a segmentation of the sphere on the images given."""
    masks = numpy.stack([_disc(image, radius_mm) for image in images])
    found = study.series().object(SEGMENTATION, "SEG", "Sphere", ImageType=["DERIVED", "PRIMARY"])
    first = images[0]
    found.Rows, found.Columns, found.NumberOfFrames = first.Rows, first.Columns, len(images)
    found.SamplesPerPixel, found.PhotometricInterpretation = 1, "MONOCHROME2"
    found.BitsAllocated = found.BitsStored = 1
    found.HighBit = found.PixelRepresentation = 0
    found.SegmentationType, found.FrameOfReferenceUID = "BINARY", study.frame_of_reference
    found.PixelData = numpy.packbits(masks.ravel(), bitorder="little").tobytes()
    segment = Dataset()
    segment.SegmentNumber, segment.SegmentLabel, segment.SegmentAlgorithmType = 1, "Sphere of water", "MANUAL"
    found.SegmentSequence = Items([segment])
    measures, orientation, shared = Dataset(), Dataset(), Dataset()
    measures.PixelSpacing, measures.SliceThickness = first.PixelSpacing, first.SliceThickness
    orientation.ImageOrientationPatient = first.ImageOrientationPatient
    shared.PixelMeasuresSequence, shared.PlaneOrientationSequence = Items([measures]), Items([orientation])
    found.SharedFunctionalGroupsSequence = Items([shared])
    found.PerFrameFunctionalGroupsSequence = Items([_group(image) for image in images])
    return found


def _disc(image: Dataset, radius_mm: float) -> NDArray[numpy.bool_]:
    x, y, z = map(float, image.ImagePositionPatient)
    row, column = map(float, image.PixelSpacing)
    across = x + numpy.arange(image.Columns) * column
    down = y + numpy.arange(image.Rows) * row
    return numpy.asarray(across[None, :] ** 2 + down[:, None] ** 2 + z**2 < radius_mm**2)


def _group(image: Dataset) -> Dataset:
    group, position, number = Dataset(), Dataset(), Dataset()
    position.ImagePositionPatient = image.ImagePositionPatient
    number.ReferencedSegmentNumber = 1
    group.PlanePositionSequence, group.SegmentIdentificationSequence = Items([position]), Items([number])
    return group


def structures(study: Study, images: Sequence[Dataset]) -> FileDataset:
    """Make a structure set: a square of 40 mm around the middle of each image."""
    found = study.series().object(STRUCTURE_SET, "RTSTRUCT", "Plan", StructureSetLabel="Plan")
    name, contours = Dataset(), Dataset()
    name.ROINumber, name.ROIName, name.ReferencedFrameOfReferenceUID = 1, "Target", study.frame_of_reference
    found.StructureSetROISequence = Items([name])
    contours.ReferencedROINumber, contours.ROIDisplayColor = 1, [255, 0, 0]
    contours.ContourSequence = Items([_square(float(image.ImagePositionPatient[2])) for image in images])
    found.ROIContourSequence = Items([contours])
    return found


def _square(z: float) -> Dataset:
    contour = Dataset()
    contour.ContourGeometricType, contour.NumberOfContourPoints = "CLOSED_PLANAR", 4
    contour.ContourData = [-20, -20, z, 20, -20, z, 20, 20, z, -20, 20, z]
    return contour


def pdf(study: Study, text: str) -> FileDataset:
    """Make a PDF of one page that says `text`."""
    found = study.series().object(PDF, "DOC", "Letter", DocumentTitle="Discharge letter")
    found.MIMETypeOfEncapsulatedDocument = "application/pdf"
    found.EncapsulatedDocument = _pdf_file(text)
    return found


def _pdf_file(text: str) -> bytes:
    stream = f"BT /F1 24 Tf 60 700 Td ({text}) Tj ET".encode()
    bodies = [
        b"<</Type/Catalog/Pages 2 0 R>>",
        b"<</Type/Pages/Kids[3 0 R]/Count 1>>",
        b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 595 842]/Contents 4 0 R/Resources<</Font<</F1 5 0 R>>>>>>",
        b"<</Length %d>>stream\n%s\nendstream" % (len(stream), stream),
        b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>",
    ]
    out, places = b"%PDF-1.4\n", []
    for number, body in enumerate(bodies, 1):
        places.append(len(out))
        out += b"%d 0 obj%s\nendobj\n" % (number, body)
    table = b"".join(b"%010d 00000 n \n" % place for place in places)
    end = b"xref\n0 %d\n0000000000 65535 f \n%strailer<</Size %d/Root 1 0 R>>\nstartxref\n%d\n%%%%EOF\n"
    found = out + end % (len(bodies) + 1, table, len(bodies) + 1, len(out))
    return found + b"\0" * (len(found) % 2)


def report(study: Study, referenced: str) -> FileDataset:
    """Make a report with a text, a number and a picture that it speaks of."""
    found = study.series().object(REPORT, "SR", "Report", ContentDate="20260314", ContentTime="1000")
    found.ValueType, found.ContinuityOfContent = "CONTAINER", "SEPARATE"
    found.ConceptNameCodeSequence = _code("18748-4", "LN", "Diagnostic imaging report")
    found.CompletionFlag, found.VerificationFlag = "COMPLETE", "UNVERIFIED"
    text, measured, image = Dataset(), Dataset(), Dataset()
    text.RelationshipType, text.ValueType = "CONTAINS", "TEXT"
    text.ConceptNameCodeSequence = _code("59776-5", "LN", "Finding")
    text.TextValue = "A sphere of water. <script>alert(1)</script> Nothing else."
    measured.RelationshipType, measured.ValueType = "CONTAINS", "NUM"
    measured.ConceptNameCodeSequence = _code("410668003", "SCT", "Length")
    value = Dataset()
    value.NumericValue, value.MeasurementUnitsCodeSequence = "80", _code("mm", "UCUM", "millimeter")
    measured.MeasuredValueSequence = Items([value])
    image.RelationshipType, image.ValueType = "CONTAINS", "IMAGE"
    reference = Dataset()
    reference.ReferencedSOPClassUID, reference.ReferencedSOPInstanceUID = CT, referenced
    image.ReferencedSOPSequence = Items([reference])
    found.ContentSequence = Items([text, measured, image])
    return found


def _code(value: str, scheme: str, meaning: str) -> Items:
    code = Dataset()
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = value, scheme, meaning
    return Items([code])


LEADS = ("I", "II", "III", "aVR", "aVL", "aVF", "V1", "V2", "V3", "V4", "V5", "V6")


def ecg(study: Study, seconds: int = 4, rate: int = 250) -> FileDataset:
    """Make an ECG of twelve leads, 1 mV high."""
    found = study.series().object(ECG, "ECG", "12 leads")
    times = numpy.arange(seconds * rate) / rate
    beat = numpy.exp(-(((times % 0.8) - 0.3) ** 2) / 0.0004)
    samples = numpy.stack([beat * 1000 * math.cos(lead / 4) for lead in range(len(LEADS))], axis=1).astype("<i2")
    group = Dataset()
    group.MultiplexGroupLabel, group.WaveformOriginality = "RHYTHM", "ORIGINAL"
    group.NumberOfWaveformChannels, group.NumberOfWaveformSamples = len(LEADS), len(times)
    group.SamplingFrequency, group.WaveformBitsAllocated, group.WaveformSampleInterpretation = rate, 16, "SS"
    group.ChannelDefinitionSequence = Items([_channel(lead) for lead in LEADS])
    group.WaveformData = samples.tobytes()
    found.WaveformSequence = Items([group])
    note = Dataset()
    note.ConceptNameCodeSequence = _code("8867-4", "LN", "Heart rate")
    note.NumericValue, note.MeasurementUnitsCodeSequence = "75", _code("/min", "UCUM", "per minute")
    note.ReferencedWaveformChannels = [1, 0]
    found.WaveformAnnotationSequence = Items([note])
    return found


def _channel(lead: str) -> Dataset:
    channel = Dataset()
    channel.ChannelSourceSequence = _code(f"2:{lead}", "MDC", f"Lead {lead}")
    channel.ChannelSensitivity, channel.ChannelSensitivityUnitsSequence = "1", _code("uV", "UCUM", "microvolt")
    channel.ChannelSensitivityCorrectionFactor, channel.ChannelBaseline = "1", "0"
    channel.ChannelSampleSkew, channel.WaveformBitsStored = "0", 16
    return channel


def encapsulated(found: FileDataset, frames: Sequence[bytes], transfer_syntax_uid: str) -> FileDataset:
    """Put code in place of native pixels."""
    found.file_meta.TransferSyntaxUID = transfer_syntax_uid
    found.PixelData = encapsulate(list(frames))
    found["PixelData"].VR = "OB"
    found["PixelData"].is_undefined_length = True
    return found


def video(study: Study, stream: bytes) -> FileDataset:
    """Make a video of an MPEG-4 AVC stream in its container."""
    found = study.series().object(VIDEO, "GM", "Clip", SamplesPerPixel=3, PhotometricInterpretation="YBR_PARTIAL_420")
    found.Rows, found.Columns, found.NumberOfFrames, found.FrameTime = 48, 64, 10, 100
    found.PlanarConfiguration = found.PixelRepresentation = 0
    found.BitsAllocated, found.BitsStored, found.HighBit = 8, 8, 7
    padded = stream + b"\0" * (len(stream) % 2)
    found.LossyImageCompression = "01"
    return encapsulated(found, [padded], MPEG4HP41)
