"""Frames as pictures: windows by the standard's formulas, colours, parts and sizes, and objects that make no sense."""

import io
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pydicom import Dataset
from pydicom.sequence import Sequence

from minipacs.pixels.elements import TranscodeError
from minipacs.pixels.processes.render import MAX_SIDE_PIXELS, Rendering, Viewport, Window, render


def header(samples: np.ndarray, **values: Any) -> Dataset:
    ds = Dataset()
    ds.Rows, ds.Columns = samples.shape[:2]
    ds.SamplesPerPixel = samples.shape[2] if samples.ndim == 3 else 1
    ds.PhotometricInterpretation = "RGB" if samples.ndim == 3 else "MONOCHROME2"
    ds.BitsAllocated = ds.BitsStored = 8 * samples.itemsize
    ds.HighBit, ds.PixelRepresentation = ds.BitsStored - 1, int(samples.dtype.kind == "i")
    for keyword, value in values.items():
        setattr(ds, keyword, value)
    return ds


def drawn(samples: np.ndarray, rendering: Rendering | None = None, index: int = 0, **values: Any) -> np.ndarray:
    rendering = rendering or Rendering("image/png")
    return np.asarray(Image.open(io.BytesIO(render(samples, header(samples, **values), index, rendering))))


RAMP = np.arange(0, 256, dtype=np.uint16).reshape(16, 16)


def png(*window: Any) -> Rendering:
    return Rendering("image/png", window=Window(*window))


@pytest.mark.parametrize(
    ("window", "value", "wanted"),
    [
        ((128, 256, "linear-exact"), 64, 64 / 256),
        ((128, 256, "linear"), 64, (64 - 127.5) / 255 + 0.5),
        ((128, 1, "linear"), 127, 0),
        ((128, 1, "linear"), 128, 1),
        ((128, 100, "sigmoid"), 128, 0.5),
        ((128, 100, "sigmoid"), 178, 1 / (1 + np.exp(-2))),
        ((0, 0.5, "linear-exact"), 1, 1),
    ],
)
def test_a_window_is_the_standards_formula(window: tuple[Any, ...], value: int, wanted: float):
    assert abs(int(drawn(RAMP, png(*window)).ravel()[value]) - wanted * 255) <= 1


def test_the_objects_first_window_counts_after_rescaling():
    image = drawn(RAMP, RescaleSlope=2, RescaleIntercept=-100, WindowCenter=["156", "9"], WindowWidth=["512", "1"])
    assert image.ravel()[128] in (127, 128)


@pytest.mark.parametrize("width", ["0", "-5", "0.5", ""])
def test_a_window_that_cannot_be_gives_way_to_the_whole_range(width: str):
    image = drawn(RAMP + 1000, WindowCenter="0", WindowWidth=width)
    assert (image.min(), image.max()) == (0, 255)


def test_padding_is_no_part_of_the_range():
    samples = (RAMP + 1000).astype(np.int16)
    samples[0, 0] = -2000
    image = drawn(samples, PixelPaddingValue=-2000)
    assert image[0, 1] < 3
    assert image[-1, -1] == 255


def test_one_grey_alone_is_drawn():
    assert len(np.unique(drawn(np.full((4, 4), 7, np.uint16)))) == 1


def test_monochrome1_is_white_where_values_are_low():
    image = drawn(RAMP, png(128, 256), PhotometricInterpretation="MONOCHROME1")
    assert image.ravel()[0] > 250
    assert image.ravel()[-1] < 5


def test_signed_values():
    image = drawn(np.array([[-1000, 0, 1000]], np.int16), png(0, 2000, "linear-exact"))
    assert list(image[0]) == [0, 128, 255]


def test_float_pixels_that_are_no_numbers_are_black():
    image = drawn(np.array([[0.0, 0.5, 1.0, np.nan, np.inf]], np.float32))
    assert list(image[0]) == [0, 128, 255, 0, 255]


def test_a_voi_table_is_looked_up():
    lut = Dataset()
    lut.LUTDescriptor, lut.LUTData = [256, 0, 16], [65535 - 257 * i for i in range(256)]
    ds_values = {"VOILUTSequence": Sequence([lut]), "WindowCenter": "1", "WindowWidth": "2"}
    image = drawn(RAMP, **ds_values)
    assert list(image.ravel()[[0, 128, 255]]) == [255, 127, 0]


def test_a_frames_own_window_and_values_rule():
    def group(center: int, intercept: int) -> Dataset:
        voi, values, item = Dataset(), Dataset(), Dataset()
        voi.WindowCenter, voi.WindowWidth, voi.VOILUTFunction = center, 256, "LINEAR_EXACT"
        values.RescaleSlope, values.RescaleIntercept = 1, intercept
        item.FrameVOILUTSequence, item.PixelValueTransformationSequence = Sequence([voi]), Sequence([values])
        return item

    groups = {
        "PerFrameFunctionalGroupsSequence": Sequence([group(128, 0), group(128, 128)]),
        "SharedFunctionalGroupsSequence": Sequence([group(9999, 0)]),
    }
    assert drawn(RAMP, index=0, **groups).ravel()[0] == 0
    assert drawn(RAMP, index=1, **groups).ravel()[0] in (127, 128)


def test_colours():
    rgb = np.zeros((2, 2, 3), np.uint8)
    rgb[..., 0] = 200
    assert (drawn(rgb) == rgb).all()
    deep = drawn(rgb.astype(np.uint16) << 8)
    assert (deep == rgb).all()
    yellow = np.full((2, 2, 3), (210, 16, 146), np.uint8)
    assert abs(drawn(yellow, PhotometricInterpretation="YBR_FULL")[0, 0].astype(int) - (235, 236, 12)).max() < 5


def test_a_palette():
    samples = np.array([[0, 1, 2]], np.uint8)
    colours = {
        f"{colour}PaletteColorLookupTable{what}": value
        for colour, data in {"Red": b"\0\0\0\xff\0\0", "Green": b"\0\0\0\0\0\xff", "Blue": b"\0\0\0\0\0\0"}.items()
        for what, value in {"Descriptor": [3, 0, 16], "Data": data}.items()
    }
    image = drawn(samples, PhotometricInterpretation="PALETTE COLOR", **colours)
    assert [tuple(int(v) for v in pixel) for pixel in image[0]] == [(0, 0, 0), (255, 0, 0), (0, 255, 0)]


@pytest.mark.parametrize(
    ("viewport", "size"),
    [
        (Viewport(), (40, 20)),
        (Viewport(20, 20), (20, 10)),
        (Viewport(80, 80), (80, 40)),
        (Viewport(0, 10), (20, 10)),
        (Viewport(40, 40, 0, 0, 10, 10), (40, 40)),
        (Viewport(0, 0, 30, 10, 20, 20), (10, 10)),
        (Viewport(0, 0, 999, 999, 5, 5), (1, 1)),
    ],
)
def test_a_part_is_fitted_with_its_shape_kept(viewport: Viewport, size: tuple[int, int]):
    image = drawn(np.zeros((20, 40), np.uint8), Rendering("image/png", viewport=viewport))
    assert image.shape[::-1] == size


def test_a_negative_part_is_turned_over():
    part = Viewport(0, 0, 0, 0, -16, -16)
    image = drawn(RAMP, Rendering("image/png", window=Window(128, 256), viewport=part))
    assert (image == drawn(RAMP, png(128, 256))[::-1, ::-1]).all()


def test_pixels_that_are_not_square_are_drawn_as_they_are():
    assert drawn(np.zeros((10, 40), np.uint8), PixelSpacing=[2.0, 1.0]).shape == (20, 40)
    assert drawn(np.zeros((10, 40), np.uint8), PixelAspectRatio=["1", "2"]).shape == (5, 40)
    assert drawn(np.zeros((10, 40), np.uint8), PixelSpacing=[1e9, 1.0]).shape == (10, 40)


def test_no_picture_is_larger_than_the_bound():
    image = drawn(np.zeros((1, 10), np.uint8), Rendering("image/png", viewport=Viewport(10**6, 10**6)))
    assert max(image.shape) == MAX_SIDE_PIXELS


@pytest.mark.parametrize("media_type", ["image/jpeg", "image/png", "image/gif", "image/jp2"])
@pytest.mark.parametrize("shape", [(16, 16), (16, 16, 3)])
def test_formats(media_type: str, shape: tuple[int, ...]):
    samples = np.zeros(shape, np.uint8)
    picture = Image.open(io.BytesIO(render(samples, header(samples), 0, Rendering(media_type))))
    assert picture.get_format_mimetype() == media_type or picture.format == "JPEG2000"


def test_quality_is_kept():
    samples = np.random.default_rng(1).integers(0, 255, (64, 64), np.uint8)
    sizes = [len(render(samples, header(samples), 0, Rendering(quality=quality))) for quality in (1, 50, 100)]
    assert sizes == sorted(sizes)


def test_lines_are_burnt_in():
    samples = np.zeros((64, 64), np.uint8)
    image = drawn(samples, Rendering("image/png", window=Window(128, 256), lines=("Doe^Jane", "P1")))
    assert (image[:40] > 200).any()
    assert not (image[40:] > 50).any()


@pytest.mark.parametrize(
    "values",
    [
        {"PhotometricInterpretation": "PALETTE COLOR"},
        {"VOILUTSequence": Sequence([Dataset()])},
        {"ModalityLUTSequence": Sequence([Dataset()])},
        {"SamplesPerPixel": 3, "PhotometricInterpretation": "CMYK"},
    ],
)
def test_an_object_that_makes_no_sense_is_refused(values: dict[str, Any]):
    with pytest.raises(TranscodeError, match="frame cannot be drawn"):
        drawn(RAMP, **values)
