"""What is drawn equals what pydicom decodes and PS3.3 makes of it, pixel by pixel, whatever the code and the kind."""

import base64
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy
import pytest
from numpy.typing import NDArray
from playwright.sync_api import Page
from pydicom import Dataset, dcmread
from pydicom.data import get_testdata_file
from pydicom.dataset import FileDataset
from pydicom.pixels import apply_color_lut, apply_modality_lut, get_decoder
from pydicom.sequence import Sequence as Items
from pydicom.uid import HTJ2KLossless, JPEG2000Lossless, JPEGLSLossless, RLELossless

from tests.page import pictures
from tests.support.browser import Served

Samples = NDArray[Any]

READ = """() => {
  const canvas = document.querySelector('canvas.cornerstone-canvas');
  const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
  let bytes = '';
  for (let i = 0; i < data.length; i += 0x8000) bytes += String.fromCharCode(...data.subarray(i, i + 0x8000));
  return [canvas.width, canvas.height, btoa(bytes)];
}"""

STORED = (
    "CT_small.dcm",
    "693_J2KI.dcm",
    "J2K_pixelrep_mismatch.dcm",
    "MR_small_RLE.dcm",
    "MR_small_jpeg_ls_lossless.dcm",
    "MR_small_bigendian.dcm",
    "examples_palette.dcm",
    "examples_ybr_color.dcm",
    "examples_jpeg2k.dcm",
    "examples_overlay.dcm",
    "image_dfl.dcm",
    "ExplVR_BigEnd.dcm",
    "SC_rgb_jpeg_dcmtk.dcm",
    "SC_jpeg_no_color_transform.dcm",
    "SC_rgb_rle_16bit.dcm",
    "SC_rgb_rle_32bit.dcm",
)
"""Files that come with pydicom."""


def save(found: FileDataset, folder: Path) -> Path:
    """Write an object as it is, whatever its transfer syntax."""
    path = folder / f"{found.SOPInstanceUID}.dcm"
    found.save_as(path, enforce_file_format=True)
    return path


def open_picture(served: Served, open_page: Callable[..., Page], found: Dataset, **options: Any) -> Page:
    """Open an object in the viewer, and wait until it is drawn."""
    route = f"/study/{found.StudyInstanceUID}/view/{found.SeriesInstanceUID}/{found.SOPInstanceUID}"
    page = open_page(served, route, **options)
    page.locator(".viewer-number").wait_for()
    return page


def drawn(page: Page, rows: int, columns: int) -> Samples:
    """Give what is on the canvas at one pixel for one, cut to the image."""
    page.keyboard.press("e")
    page.evaluate("() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
    width, height, data = page.evaluate(READ)
    canvas = numpy.frombuffer(base64.b64decode(data), numpy.uint8).reshape(height, width, 4)[..., :3]
    left, top = (width - columns + 1) // 2, (height - rows + 1) // 2
    assert left >= 0
    assert top >= 0
    return canvas[top : top + rows, left : left + columns]


def windowed(values: Samples, center: float, width: float) -> Samples:
    """Apply a linear window (PS3.3 C.11.2.1.2)."""
    shares = (values - (center - 0.5)) / (width - 1) + 0.5
    return grey(shares)


def stretched(values: Samples) -> Samples:
    """Spread all values from black to white."""
    low, high = values.min(), values.max()
    return grey((values - low) / (high - low))


def grey(shares: Samples) -> Samples:
    """Give 0 to 1 as black to white, in three colours."""
    levels = numpy.floor(numpy.clip(shares, 0, 1) * 255 + 0.5).astype(numpy.uint8)
    return numpy.repeat(levels[..., None], 3, axis=-1)


def expected(found: Dataset) -> Samples:
    """Make the picture of the first frame of an object by pydicom."""
    samples = decoded(found)
    if found.PhotometricInterpretation == "PALETTE COLOR":
        coloured = apply_color_lut(samples, found)[..., :3]
        return (coloured >> 8).astype(numpy.uint8) if coloured.dtype.itemsize > 1 else coloured
    if samples.ndim == 3:
        return (samples >> (found.BitsStored - 8)).astype(numpy.uint8)
    values = apply_modality_lut(samples, found).astype(float)
    center, width = (numpy.atleast_1d(found.get(f"Window{name}") or 0)[0] for name in ("Center", "Width"))
    return windowed(values, float(center), float(width)) if width >= 1 else stretched(values)


def decoded(found: Dataset) -> Samples:
    """Decode the first frame, colours as RGB."""
    decoder = get_decoder(found.file_meta.TransferSyntaxUID)
    samples, _ = decoder.as_array(found, index=0)
    return samples


@pytest.fixture(scope="module")
def stored(archive: Served) -> Served:
    """An archive that holds pydicom's files."""
    archive.store_file(*(Path(str(get_testdata_file(name))) for name in STORED))
    return archive


@pytest.mark.parametrize("name", STORED)
def test_what_is_drawn_equals_what_pydicom_decodes(stored: Served, open_page: Callable[..., Page], name: str):
    found = dcmread(str(get_testdata_file(name)))
    page = open_picture(stored, open_page, found, viewport={"width": 1280, "height": 1000})
    difference = numpy.abs(drawn(page, found.Rows, found.Columns).astype(int) - expected(found).astype(int))
    assert difference.max() == 0


def signed(side: int = 64) -> Samples:
    """Give values below and above zero."""
    return (numpy.arange(side * side, dtype=numpy.int16).reshape(side, side) - 1500) * 2


def made() -> Iterator[tuple[str, FileDataset, Samples]]:
    """Give objects of other kinds, each with the picture that it is to be."""
    series = pictures.Study("Verdi^Luisa", "V1", "19701224").series()
    values = signed()
    window = {"WindowCenter": "100", "WindowWidth": "2000"}
    yield "signed", series.picture(values, "MONOCHROME2", **window), windowed(values.astype(float), 100, 2000)
    yield (
        "white is least",
        series.picture(values, "MONOCHROME1", **window),
        255 - windowed(values.astype(float), 100, 2000),
    )
    stored_zero = series.picture(values, "MONOCHROME2", WindowCenter="0", WindowWidth="0")
    yield "a window of nothing", stored_zero, stretched(values.astype(float))
    padded = series.picture(values, "MONOCHROME2", PixelPaddingValue=int(values.min()))
    seen = values[values != values.min()]
    low, high = float(seen.min()), float(seen.max())
    yield "padding is no value", padded, grey((values - low) / (high - low))
    sigmoid = series.picture(values, "MONOCHROME2", VOILUTFunction="SIGMOID", **window)
    yield "sigmoid", sigmoid, grey(1 / (1 + numpy.exp(-4 * (values.astype(float) - 100) / 2000)))
    exact = series.picture(values, "MONOCHROME2", VOILUTFunction="LINEAR_EXACT", **window)
    yield "linear exact", exact, grey((values - 100.0) / 2000 + 0.5)
    yield "voi table", *by_voi_table(series)
    floats = numpy.linspace(-3.5, 9.25, 4096, dtype=numpy.float32).reshape(64, 64)
    yield (
        "float",
        series.picture(floats, "MONOCHROME2", sop_class_uid=pictures.PARAMETRIC_MAP),
        stretched(floats.astype(float)),
    )
    bits = (numpy.indices((63, 61)).sum(axis=0) % 3 == 0).astype(numpy.uint8)
    yield "one bit", one_bit(series, bits), grey(bits.astype(float))
    scaled = series.picture(
        numpy.arange(4096, dtype=numpy.uint16).reshape(64, 64),
        "MONOCHROME2",
        RescaleSlope="-0.25",
        RescaleIntercept="17",
    )
    yield "negative slope", scaled, stretched(numpy.arange(4096).reshape(64, 64) * -0.25 + 17)
    colours = numpy.random.default_rng(3).integers(0, 256, (48, 52, 3), dtype=numpy.uint8)
    yield "colour by plane", by_plane(series, colours), colours
    for uid in (JPEG2000Lossless, RLELossless):
        code = series.picture(values, "MONOCHROME2")
        code.compress(uid, generate_instance_uid=False)
        yield uid.name, code, stretched(values.astype(float))
    unsigned = (values + 5000).astype(numpy.uint16)
    yield JPEGLSLossless.name, jpeg_ls(series.picture(unsigned, "MONOCHROME2")), stretched(unsigned.astype(float))
    yield HTJ2KLossless.name, htj2k(series.picture(unsigned, "MONOCHROME2")), stretched(unsigned.astype(float))


def by_voi_table(series: pictures.Series) -> tuple[FileDataset, Samples]:
    """Make an image with a table in place of a window, and a window that is not to be used."""
    values = numpy.arange(4096, dtype=numpy.uint16).reshape(64, 64)
    found = series.picture(values, "MONOCHROME2", WindowCenter="2000", WindowWidth="4000")
    table = Dataset()
    entries = numpy.linspace(0, 1, 1024) ** 2 * 4095
    table.LUTDescriptor, table.LUTData = [1024, 500, 12], entries.astype("<u2").tobytes()
    table["LUTDescriptor"].VR, table["LUTData"].VR = "US", "OW"
    found.VOILUTSequence = Items([table])
    return found, grey(entries.astype("<u2")[numpy.clip(values.astype(int) - 500, 0, 1023)] / 4095)


def one_bit(series: pictures.Series, bits: Samples) -> FileDataset:
    """Make an image of packed bits."""
    found = series.picture(bits, "MONOCHROME2")
    found.BitsAllocated = found.BitsStored = 1
    found.HighBit = 0
    found.PixelData = numpy.packbits(bits.ravel(), bitorder="little").tobytes()
    found.PixelData += b"\0" * (len(found.PixelData) % 2)
    return found


def by_plane(series: pictures.Series, colours: Samples) -> FileDataset:
    """Make an image in colours that lie plane by plane."""
    found = series.picture(colours, "RGB")
    found.PlanarConfiguration = 1
    found.PixelData = colours.transpose(2, 0, 1).tobytes()
    return found


def jpeg_ls(found: FileDataset) -> FileDataset:
    """Encode by the codec at hand."""
    import imagecodecs

    code = imagecodecs.jpegls_encode(found.pixel_array)
    return pictures.encapsulated(found, [code], JPEGLSLossless)


def htj2k(found: FileDataset) -> FileDataset:
    """Encode by the codec at hand."""
    import imagecodecs

    code = imagecodecs.htj2k_encode(found.pixel_array)
    return pictures.encapsulated(found, [code], HTJ2KLossless)


MADE = {name: (found, picture) for name, found, picture in made()}


@pytest.mark.parametrize("name", MADE)
def test_what_is_drawn_is_what_the_object_says(
    archive: Served, open_page: Callable[..., Page], tmp_path: Path, name: str
):
    found, picture = MADE[name]
    archive.store_file(save(found, tmp_path))
    page = open_picture(archive, open_page, found)
    difference = numpy.abs(drawn(page, found.Rows, found.Columns).astype(int) - picture.astype(int))
    assert difference.max() == 0


def test_a_frame_that_cannot_be_decoded_is_said_and_not_shown(
    archive: Served, open_page: Callable[..., Page], tmp_path: Path
):
    series = pictures.Study("Verdi^Luisa", "V2", "19701224").series()
    good = series.picture(signed(), "MONOCHROME2")
    broken = pictures.encapsulated(
        series.picture(signed().astype(numpy.uint16), "MONOCHROME2"), [b"\xff\x4f" + b"no code" * 9], JPEG2000Lossless
    )
    archive.store_file(save(good, tmp_path), save(broken, tmp_path))
    page = open_picture(archive, open_page, good)
    page.watch.expect("Failed to load resource")  # type: ignore[attr-defined]
    page.keyboard.press("End")
    page.get_by_role("alert").get_by_text("This picture cannot be shown").wait_for()
    assert not page.locator(".viewer-number").is_visible()
    page.keyboard.press("Home")
    page.locator(".viewer-number").get_by_text("1/2").wait_for()
