"""Images of every kind that pixel data knows, through every encoder at hand, held against others' decoders.

What an image shows is its `values`: the stored bits of each word, with their sign. A judgement compares those that we
decode with those that were encoded, and with what dcmtk and gdcm make of the same file.
"""

import io
import itertools
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pydicom
from PIL import Image
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate

from minipacs.dicom.data_set.part10 import file_meta
from minipacs.dicom.tables.transfer_syntaxes import EXPLICIT_VR_LITTLE_ENDIAN
from minipacs.pixels.elements import TranscodeError
from minipacs.pixels.transcode import transcode
from tests.support.objects import ct, save

Pixels = "np.ndarray[Any, Any]"

ROWS, COLUMNS = 16, 48
JPEG = "1.2.840.10008.1.2.4."
NEAR = 3
REFERENCES = {
    "dcmtk": {
        **dict.fromkeys((JPEG + last for last in ("50", "51", "57", "70")), ("dcmdjpeg", "+cn")),
        **dict.fromkeys((JPEG + last for last in ("80", "81")), ("dcmdjpls",)),
        "1.2.840.10008.1.2.5": ("dcmdrle",),
    }
}


@dataclass(frozen=True)
class Kind:
    """A kind of image; `overlay_bit` is a bit outside of those stored that an overlay lies in, or None."""

    signed: int
    stored: int
    allocated: int
    high_bit: int
    overlay_bit: int | None
    frames: int

    def __str__(self) -> str:
        moved = f"@{self.high_bit}" if self.is_moved else ""
        overlay = f"+o{self.overlay_bit}" if self.overlay_bit is not None else ""
        return f"{'us'[self.signed]}{self.stored}in{self.allocated}{moved}{overlay}x{self.frames}"

    @property
    def is_moved(self) -> bool:
        """Tell whether the stored bits are not the lowest."""
        return self.high_bit != self.stored - 1

    def words(self) -> Pixels:
        """Make pixels with both ends of the range and everything between, as the words they are stored as."""
        low, high = (-1 << self.stored - 1, (1 << self.stored - 1) - 1) if self.signed else (0, (1 << self.stored) - 1)
        ramp = np.linspace(low, high, COLUMNS - 16).astype(np.int64)
        row = np.concatenate([np.full(8, low), ramp, np.full(8, high)])
        values = np.stack([np.tile(np.roll(row, 3 * at), (ROWS, 1)) for at in range(self.frames)])
        words = values << self.high_bit + 1 - self.stored
        if self.overlay_bit is not None:
            is_drawn = np.indices(words.shape).sum(0) % 5 == 0
            words = words & ~(-1 << self.high_bit + 1) | is_drawn.astype(np.int64) << self.overlay_bit
        return (words & (1 << self.allocated) - 1).astype(f"<u{self.allocated // 8}")

    def dataset(self) -> Dataset:
        """Make an uncompressed object."""
        ds = ct(
            Rows=ROWS,
            Columns=COLUMNS,
            BitsAllocated=self.allocated,
            BitsStored=self.stored,
            HighBit=self.high_bit,
            PixelRepresentation=self.signed,
            NumberOfFrames=self.frames if self.frames > 1 else None,
        )
        ds.PixelData = self.words().tobytes()
        ds["PixelData"].VR = "OB" if self.allocated == 8 else "OW"
        if self.overlay_bit is not None:
            ds.add_new(0x60000010, "US", ROWS)
            ds.add_new(0x60000011, "US", COLUMNS)
            ds.add_new(0x60000040, "CS", "G")
            ds.add_new(0x60000050, "SS", [1, 1])
            ds.add_new(0x60000100, "US", self.allocated)
            ds.add_new(0x60000102, "US", self.overlay_bit)
        return ds


def kinds() -> Iterator[Kind]:
    """Go through all kinds."""
    depths = [(stored, 8) for stored in (6, 7, 8)] + [(stored, 16) for stored in range(8, 17)]
    for (stored, allocated), signed, frames in itertools.product(depths, (0, 1), (1, 2)):
        high = stored - 1
        yield Kind(signed, stored, allocated, high, None, frames)
        if stored < allocated:
            yield Kind(signed, stored, allocated, high, stored, frames)
            yield Kind(signed, stored, allocated, allocated - 1, None, frames)
        if stored == 12:
            yield Kind(signed, stored, allocated, high, 15, frames)
            yield Kind(signed, stored, allocated, 13, None, frames)
            yield Kind(signed, stored, allocated, 15, 0, frames)


def values(words: Pixels, ds: Dataset) -> Pixels:
    """Give what an image shows: the stored bits of each word, with their sign."""
    low = ds.HighBit + 1 - ds.BitsStored
    found = words.astype(np.int64) >> low & (1 << ds.BitsStored) - 1
    return found - (found >> ds.BitsStored - 1 << ds.BitsStored) if ds.PixelRepresentation else found


def as_words(shown: Pixels, ds: Dataset) -> Pixels:
    """Give the words that values are stored as, with their sign in all bits above."""
    words = shown << ds.HighBit + 1 - ds.BitsStored & (1 << ds.BitsAllocated) - 1
    return words.astype(f"<u{ds.BitsAllocated // 8}")


def pixel_words(ds: Dataset) -> Pixels:
    """Give the words of native Pixel Data."""
    count = int(ds.get("NumberOfFrames") or 1) * ds.Rows * ds.Columns
    return np.frombuffer(ds.PixelData, f"<u{ds.BitsAllocated // 8}")[:count].reshape(-1, ds.Rows, ds.Columns)


# Encoders: each writes a file, or says that it cannot.


class Cannot(Exception):
    """An encoder that has no way for a kind of image."""


Encoder = Callable[[Kind, Path, Path], None]


def _tool(*words: str, moves_high_bit: bool = True) -> Encoder:
    def encode(kind: Kind, source: Path, target: Path) -> None:
        if kind.is_moved and not moves_high_bit:
            raise Cannot("it damages pixels whose High Bit is moved")
        done = subprocess.run([*words, source, target], capture_output=True, check=False, timeout=60)
        if done.returncode or not target.exists():
            raise Cannot(done.stderr.decode(errors="replace")[-200:])

    return encode


def _gdcm(*words: str) -> Encoder:
    return _tool("gdcmconv", *words, moves_high_bit=False)


def _frames(uid: str, encode_frame: Callable[[Pixels, Kind], bytes]) -> Encoder:
    """Encode frame by frame, from words of unsigned numbers."""

    def encode(kind: Kind, _: Path, target: Path) -> None:
        ds = kind.dataset()
        try:
            frames = [bytes(encode_frame(np.ascontiguousarray(frame), kind)) for frame in kind.words()]
        except (RuntimeError, ValueError, OSError, KeyError, TypeError) as error:
            raise Cannot(str(error)) from None
        ds.PixelData = encapsulate(frames)
        ds["PixelData"].VR = "OB"
        ds["PixelData"].is_undefined_length = True
        save(ds, target, uid)

    return encode


def _signed(frame: Pixels, kind: Kind) -> Pixels:
    """Give the numbers that words are."""
    return frame.view(f"<i{kind.allocated // 8}") if kind.signed else frame


def _masked(frame: Pixels, kind: Kind) -> Pixels:
    """Give stored bits only, as writers do that take Bits Stored for the precision."""
    if kind.is_moved:
        raise Cannot("High Bit is moved")
    return frame & (1 << kind.stored) - 1


def _opj(*options: str) -> Callable[[Pixels, Kind], bytes]:
    def encode(frame: Pixels, kind: Kind) -> bytes:
        with tempfile.TemporaryDirectory() as folder:
            raw, out = Path(folder, "in.rawl"), Path(folder, "out.j2k")
            raw.write_bytes(frame.tobytes())
            shape = f"{COLUMNS},{ROWS},1,{kind.allocated},{'us'[kind.signed]}"
            words = ["opj_compress", "-i", raw, "-o", out, "-F", shape, "-n", "3", *options]
            if subprocess.run(words, capture_output=True, check=False).returncode:
                raise ValueError("opj_compress fails")
            return out.read_bytes()

    return encode


def _pillow(frame: Pixels, kind: Kind, form: str, **options: Any) -> bytes:
    out = io.BytesIO()
    Image.fromarray(frame).save(out, form, **options)
    return out.getvalue()


def _lossless_jpeg(frame: Pixels, kind: Kind) -> bytes:
    return imagecodecs.jpeg8_encode(frame, lossless=True, bitspersample=kind.allocated)


ENCODERS: dict[str, tuple[Encoder, float | None]] = {
    "dcmcrle": (_tool("dcmcrle"), 0),
    "dcmcjpeg sv1": (_tool("dcmcjpeg", "+e1"), 0),
    **{f"dcmcjpeg sv{at}": (_tool("dcmcjpeg", "+el", "+sv", str(at)), 0) for at in (2, 4, 6, 7)},
    "dcmcjpeg pseudo": (_tool("dcmcjpeg", "+el", "+pl"), None),
    "dcmcjpeg pseudo 16": (_tool("dcmcjpeg", "+el", "+pl", "+bs"), None),
    "dcmcjpeg baseline": (_tool("dcmcjpeg", "+eb", "+q", "95"), None),
    "dcmcjpeg extended": (_tool("dcmcjpeg", "+ee", "+q", "95"), None),
    "dcmcjpls raw": (_tool("dcmcjpls", "+el"), 0),
    "dcmcjpls cooked": (_tool("dcmcjpls", "+el", "+pc"), 0),
    "dcmcjpls near": (_tool("dcmcjpls", "+en", "+md", str(NEAR)), NEAR),
    "gdcmconv rle": (_gdcm("-R"), 0),
    "gdcmconv jpeg": (_gdcm("-J"), 0),
    "gdcmconv jpegls": (_gdcm("-L"), 0),
    "gdcmconv jpegls near": (_gdcm("-L", "-Y", "-e", str(NEAR)), NEAR),
    "gdcmconv j2k": (_gdcm("-K"), 0),
    "gdcmconv j2k lossy": (_gdcm("-K", "-Y", "-q", "90"), None),
    "opj": (_frames(JPEG + "90", _opj()), 0),
    "opj lossy": (_frames(JPEG + "91", _opj("-r", "4", "-I")), None),
    "opj cut": (_frames(JPEG + "91", _opj("-r", "4")), None),
    "imagecodecs jpegls": (_frames(JPEG + "80", lambda f, k: imagecodecs.jpegls_encode(f)), 0),
    "imagecodecs jpegls near": (_frames(JPEG + "81", lambda f, k: imagecodecs.jpegls_encode(f, level=NEAR)), NEAR),
    "imagecodecs jpeg": (_frames(JPEG + "70", _lossless_jpeg), 0),
    "imagecodecs jpeg stored": (
        _frames(
            JPEG + "70",
            lambda f, k: imagecodecs.jpeg8_encode(_masked(f, k), lossless=True, bitspersample=k.stored),
        ),
        0,
    ),
    "imagecodecs ljpeg": (
        _frames(JPEG + "57", lambda f, k: imagecodecs.ljpeg_encode(_masked(f, k), bitspersample=k.stored)),
        0,
    ),
    "imagecodecs j2k": (
        _frames(JPEG + "90", lambda f, k: imagecodecs.jpeg2k_encode(_signed(f, k), level=0, codecformat="j2k")),
        0,
    ),
    "pillow baseline": (_frames(JPEG + "50", lambda f, k: _pillow(f, k, "JPEG", quality=95)), None),
    "pillow j2k": (_frames(JPEG + "90", lambda f, k: _pillow(f, k, "JPEG2000", no_jp2=True)), 0),
}
"""By name: the encoder, and by how much a value may differ; None: by what a lossy code does."""

NOT_STANDARD = {("dcmcjpls cooked", 6), ("dcmcjpls cooked", 7), ("dcmcjpls near", 6), ("dcmcjpls near", 7)}
"""Encoders with Bits Stored whose streams only their own decoder reads: thresholds of fewer than 8 bits are wrong."""


MASKING = {
    *("dcmcjpls cooked", "dcmcjpls near", "dcmcjpeg pseudo", "dcmcjpeg extended"),
    *("imagecodecs jpeg stored", "imagecodecs ljpeg"),
}
"""Encoders that leave out what lies beside the stored bits: of an overlay nothing may be drawn."""


# Judgements


@dataclass(frozen=True)
class Judgement:
    """What became of one image: `outcome` is exact, near, refused, missed or wrong."""

    outcome: str
    reason: str = ""


def judge(kind: Kind, name: str, folder: Path) -> Judgement | None:
    """Send an image through an encoder, decode what comes; None if the encoder cannot."""
    encode, allowed = ENCODERS[name]
    source, target = folder / "native.dcm", folder / "encoded.dcm"
    known = kind.dataset()
    save(known, source)
    target.unlink(missing_ok=True)
    try:
        encode(kind, source, target)
    except Cannot:
        return None
    encoded = pydicom.dcmread(target)
    if encoded.file_meta.TransferSyntaxUID in (EXPLICIT_VR_LITTLE_ENDIAN, "1.2.840.10008.1.2"):
        return None  # gdcmconv writes what it cannot encode as it is
    try:
        ours = decoded(target.read_bytes())
    except TranscodeError as error:
        theirs = references(encoded, target, folder)
        exact = [who for who, ds in theirs.items() if allowed == 0 and shows_the_same(ds, known)]
        if exact and (name, kind.stored) not in NOT_STANDARD:
            return Judgement("missed", f"{error}; exact in {exact}")
        return Judgement("refused", str(error))
    if shows_the_same(ours, known):
        found = Judgement("exact")
    else:
        found = _other_judgement(ours, known, encoded, target, folder, allowed)
    if found.outcome in ("exact", "near"):
        fault = _fault_beside(ours, kind, encoded, is_masked=name in MASKING)
        return Judgement("wrong", fault) if fault else found
    return found


def _fault_beside(ours: Dataset, kind: Kind, encoded: Dataset, *, is_masked: bool) -> str:
    """Look at the bits that are not stored ones: a sign goes on in them, overlays lie where they did."""
    words, expected = pixel_words(ours), kind.words()
    if kind.overlay_bit is None:
        is_signed_on = np.array_equal(words, as_words(values(words, ours), ours))
        is_coded_without = is_masked and kind.stored < 8  # ljpeg writes 8 bits at least, and then no sign is told
        return "" if kind.is_moved or is_signed_on or is_coded_without else "other bits than those of the sign"
    position = encoded.get(0x60000102)
    if position is None or (position.value, encoded.HighBit) != (kind.overlay_bit, kind.high_bit):
        return ""  # the encoder made Overlay Data of it
    drawn = words >> kind.overlay_bit & 1
    is_right = not drawn.any() if is_masked else np.array_equal(drawn, expected >> kind.overlay_bit & 1)
    return "" if is_right else "overlay differs"


def _other_judgement(
    ours: Dataset, known: Dataset, encoded: Dataset, target: Path, folder: Path, allowed: float | None
) -> Judgement:
    shown, expected = values(pixel_words(ours), ours), values(pixel_words(known), known)
    theirs = references(encoded, target, folder)
    agreeing = [who for who, ds in theirs.items() if np.array_equal(values(pixel_words(ds), ds), shown)]
    if shown.shape != expected.shape:
        return Judgement("wrong", "shape")
    error = int(abs(shown - expected).max())
    span = 1 << known.BitsStored
    if allowed != 0 and error <= (span // 4 if allowed is None else allowed):
        return Judgement("near", f"error {error}")
    if agreeing and allowed in (0, None):
        return Judgement("as others", f"error {error}, as {agreeing}")
    return Judgement("wrong", f"error {error} of {span}; as {agreeing} of {list(theirs)}")


def shows_the_same(ds: Dataset, known: Dataset) -> bool:
    """Compare what two objects show."""
    return np.array_equal(values(pixel_words(ds), ds), values(pixel_words(known), known))


def decoded(file: bytes) -> Dataset:
    """Decode a file by our own means."""
    out = io.BytesIO()
    transcode(io.BytesIO(file), out, EXPLICIT_VR_LITTLE_ENDIAN)
    return pydicom.dcmread(io.BytesIO(file_meta("1.2", "1.2.3", EXPLICIT_VR_LITTLE_ENDIAN) + out.getvalue()))


def references(encoded: Dataset, path: Path, folder: Path) -> dict[str, Dataset]:
    """Decode a file by dcmtk and gdcm, where they can."""
    found = {}
    words = REFERENCES["dcmtk"].get(encoded.file_meta.TransferSyntaxUID)
    for who, command in (("dcmtk", words), ("gdcm", ("gdcmconv", "--raw"))):
        out = folder / f"{who}.dcm"
        out.unlink(missing_ok=True)
        if command is None:
            continue
        done = subprocess.run([*command, path, out], capture_output=True, check=False, timeout=60)
        if done.returncode == 0 and out.exists():
            ds = pydicom.dcmread(out)
            if not ds.file_meta.TransferSyntaxUID.is_compressed:
                found[who] = ds
    return found
