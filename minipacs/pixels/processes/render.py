"""A frame as people see it: windowed, in colour, cut, scaled, written as an image of the web (PS3.18 8.3.5).

In codec processes only: numpy, pydicom and Pillow are loaded here.
"""

import io
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from pydicom import Dataset
from pydicom.pixels.processing import apply_color_lut, apply_modality_lut, apply_voi, convert_color_space

from minipacs.pixels.elements import TranscodeError

Samples = NDArray[Any]
VoiFunction = Literal["linear", "linear-exact", "sigmoid"]

MAX_SIDE_PIXELS = 8192
"""Of a rendered image."""

MAX_STRETCH = 8.0
"""By how much pixels that are not square are stretched; beyond, what the object says of them is taken for wrong."""

FORMATS = {"image/jpeg": "JPEG", "image/png": "PNG", "image/gif": "GIF", "image/jp2": "JPEG2000"}
DEFAULT_QUALITY = 90

_WHITE = 255
_FONT_SHARE = 40
_MIN_FONT_PIXELS = 10
_MAX_LINE_CHARS = 120


class Window(NamedTuple):
    """A VOI window, its width more than 0, or 1 and more if it is "linear" (PS3.3 C.11.2.1.2)."""

    center: float
    width: float
    function: VoiFunction = "linear"


class Viewport(NamedTuple):
    """The size to fit into, 0 for the image's own, and the part to show, in pixels of the image.

    A negative width or height of the part turns it over. A part of size 0 goes to the image's edge (PS3.18 8.3.5.1.3).
    """

    width: int = 0
    height: int = 0
    left: float = 0
    top: float = 0
    part_width: float = 0
    part_height: float = 0


@dataclass(frozen=True, slots=True)
class Rendering:
    """How to draw; `lines` are texts to burn in, from the top."""

    media_type: str = "image/jpeg"
    window: Window | None = None
    viewport: Viewport | None = None
    quality: int = DEFAULT_QUALITY
    lines: tuple[str, ...] = ()


def render(samples: Samples, header: Dataset, index: int, rendering: Rendering) -> bytes:
    """Draw one frame.

    `samples` are rows by columns, or rows by columns by three, as stored; `header` is the object without its pixels,
    `index` the place of the frame in it, from 0. Raises TranscodeError.
    """
    try:
        drawn = _in_colour(samples, header) if _has_colours(header) else _in_grey(samples, header, index, rendering)
        picture = _fit(Image.fromarray(drawn), header, rendering.viewport or Viewport())
        if rendering.lines:
            picture = _annotated(picture, rendering.lines)
        return _written(picture, rendering)
    except (ValueError, TypeError, AttributeError, KeyError, IndexError, ArithmeticError) as error:
        raise TranscodeError(f"frame cannot be drawn: {error}") from error


def _has_colours(header: Dataset) -> bool:
    return bool(header.get("SamplesPerPixel", 1) == 3) or header.get("PhotometricInterpretation") == "PALETTE COLOR"


def _in_colour(samples: Samples, header: Dataset) -> Samples:
    interpretation = str(header.PhotometricInterpretation)
    if interpretation == "PALETTE COLOR":
        coloured = apply_color_lut(samples, header)[..., :3]
        return _to_bytes(coloured, 8 * coloured.dtype.itemsize)
    if interpretation.startswith("YBR_FULL"):
        converted: Samples = convert_color_space(_to_bytes(samples, header.BitsStored), "YBR_FULL", "RGB")
        return converted
    if interpretation != "RGB":
        raise TranscodeError(f"frame cannot be drawn in colours of {interpretation}")
    return _to_bytes(samples, header.BitsStored)


def _to_bytes(samples: Samples, bits: int) -> Samples:
    if bits > 8:
        samples = samples >> (bits - 8)
    return samples.astype(numpy.uint8)


def _in_grey(samples: Samples, header: Dataset, index: int, rendering: Rendering) -> Samples:
    values = apply_modality_lut(samples, _transformation(header, index))
    voi = _item(header, index, "FrameVOILUTSequence") or header
    window = rendering.window
    if window is None and "VOILUTSequence" in voi and len(voi.VOILUTSequence):
        grey = _by_table(values, voi)
    else:
        grey = _windowed(values, window or _own_window(voi) or _whole_range(values, samples, header))
    shape = header.get("PresentationLUTShape") or ("INVERSE" if _is_inverse(header) else "IDENTITY")
    return _WHITE - grey if shape == "INVERSE" else grey


def _is_inverse(header: Dataset) -> bool:
    return bool(header.get("PhotometricInterpretation") == "MONOCHROME1")


def _item(header: Dataset, index: int, keyword: str) -> Dataset | None:
    """Find an item of a functional group: that of the frame, else the one that all frames share (PS3.3 C.7.6.16)."""
    frames, shared = header.get("PerFrameFunctionalGroupsSequence"), header.get("SharedFunctionalGroupsSequence")
    for group in (frames[index] if frames and index < len(frames) else None, shared[0] if shared else None):
        found = group.get(keyword) if group is not None else None
        if found:
            item: Dataset = found[0]
            return item
    return None


def _transformation(header: Dataset, index: int) -> Dataset:
    """Give what holds the modality LUT; without one values stay as they are."""
    return _item(header, index, "PixelValueTransformationSequence") or header


def _by_table(values: Samples, voi: Dataset) -> Samples:
    """Look values up in the first VOI LUT (PS3.3 C.11.2.1.1)."""
    bits = int(voi.VOILUTSequence[0].LUTDescriptor[2])
    found = apply_voi(values.astype(numpy.int32), voi, index=0)
    return _to_grey(found.astype(numpy.float64) / ((1 << bits) - 1))


def _own_window(voi: Dataset) -> Window | None:
    """Give the first window of an object, if it has one that can be."""
    centers, widths = _numbers(voi.get("WindowCenter")), _numbers(voi.get("WindowWidth"))
    if not centers or not widths:
        return None
    function = str(voi.get("VOILUTFunction") or "LINEAR").lower().replace("_", "-")
    if function not in ("linear", "linear-exact", "sigmoid"):
        function = "linear"
    least = 1.0 if function == "linear" else numpy.nextafter(0, 1)
    return Window(centers[0], widths[0], function) if widths[0] >= least else None  # type: ignore[arg-type]


def _numbers(value: Any) -> list[float]:
    if value is None or value == "":
        return []
    several = value if isinstance(value, list | tuple) or hasattr(value, "__iter__") else [value]
    numbers = [float(one) for one in several]
    return numbers if all(map(numpy.isfinite, numbers)) else []


def _whole_range(values: Samples, samples: Samples, header: Dataset) -> Window:
    """Give a window from the least to the greatest value, those of padding left out."""
    seen = values[~_padding(samples, header)]
    seen = seen[numpy.isfinite(seen)] if seen.dtype.kind == "f" else seen
    if not seen.size:
        return Window(0, 1, "linear-exact")
    low, high = float(seen.min()), float(seen.max())
    return (
        Window((low + high) / 2, max(high - low, 1e-30), "linear-exact")
        if high > low
        else Window(low, 2, "linear-exact")
    )


def _padding(samples: Samples, header: Dataset) -> NDArray[numpy.bool_]:
    """Mark the pixels that are none (PS3.3 C.7.5.1.1.2)."""
    value = header.get("PixelPaddingValue", header.get("FloatPixelPaddingValue"))
    if value is None:
        return numpy.zeros(samples.shape, dtype=bool)
    limit = header.get("PixelPaddingRangeLimit", value)
    low, high = sorted((value, limit))
    return numpy.asarray((samples >= low) & (samples <= high), dtype=bool)


def _windowed(values: Samples, window: Window) -> Samples:
    """Spread a window over black to white (PS3.3 C.11.2.1.2, C.11.2.1.3)."""
    x = numpy.nan_to_num(values.astype(numpy.float64), nan=-numpy.inf)
    if window.function == "sigmoid":
        with numpy.errstate(over="ignore"):
            y = 1 / (1 + numpy.exp(-4 * (x - window.center) / window.width))
    elif window.function == "linear-exact":
        y = (x - window.center) / window.width + 0.5
    elif window.width <= 1:
        y = (x > window.center - 0.5).astype(numpy.float64)
    else:
        y = (x - (window.center - 0.5)) / (window.width - 1) + 0.5
    return _to_grey(y)


def _to_grey(y: Samples) -> Samples:
    """Give 0 to 1 as black to white."""
    return (y.clip(0, 1) * _WHITE + 0.5).astype(numpy.uint8)


def _fit(picture: Image.Image, header: Dataset, viewport: Viewport) -> Image.Image:
    """Cut out the part to show, turn it over if asked, and scale it into the viewport with its shape kept."""
    left, top = min(viewport.left, picture.width - 1), min(viewport.top, picture.height - 1)
    width = min(abs(viewport.part_width) or picture.width, picture.width - left)
    height = min(abs(viewport.part_height) or picture.height, picture.height - top)
    picture = picture.crop((int(left), int(top), int(left + max(width, 1)), int(top + max(height, 1))))
    if viewport.part_width < 0:
        picture = picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    if viewport.part_height < 0:
        picture = picture.transpose(Image.Transpose.FLIP_TOP_BOTTOM)
    shown = (picture.width, picture.height * _stretch(header))
    scale = 1.0
    if viewport.width or viewport.height:
        scale = min((viewport.width or MAX_SIDE_PIXELS) / shown[0], (viewport.height or MAX_SIDE_PIXELS) / shown[1])
    scale = min(scale, MAX_SIDE_PIXELS / max(shown))
    size = (max(round(shown[0] * scale), 1), max(round(shown[1] * scale), 1))
    if size == picture.size:
        return picture
    return picture.resize(size, Image.Resampling.LANCZOS if scale < 1 else Image.Resampling.BICUBIC)


def _stretch(header: Dataset) -> float:
    """Give how much taller than wide a pixel is (PS3.3 C.7.6.3.1.7, 10.7.1.3)."""
    for keyword in ("PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing", "PixelAspectRatio"):
        sides = _numbers(header.get(keyword))
        if len(sides) == 2 and min(sides) > 0:
            ratio = sides[0] / sides[1]
            return ratio if 1 / MAX_STRETCH <= ratio <= MAX_STRETCH else 1.0
    return 1.0


def _annotated(picture: Image.Image, lines: tuple[str, ...]) -> Image.Image:
    """Burn texts in, white with a black edge, so that they are read on any ground."""
    picture = picture.convert("RGB") if picture.mode != "RGB" else picture
    size = max(picture.height // _FONT_SHARE, _MIN_FONT_PIXELS)
    font = ImageFont.load_default(size)
    draw = ImageDraw.Draw(picture)
    for number, line in enumerate(lines):
        place = (size // 2, size // 2 + number * size * 5 // 4)
        draw.text(place, line[:_MAX_LINE_CHARS], font=font, fill="white", stroke_width=1, stroke_fill="black")
    return picture


def _written(picture: Image.Image, rendering: Rendering) -> bytes:
    out = io.BytesIO()
    options: dict[str, Any] = {}
    if rendering.media_type == "image/jpeg":
        options = {"quality": rendering.quality, "subsampling": 0 if rendering.quality >= DEFAULT_QUALITY else 2}
    picture.save(out, FORMATS[rendering.media_type], **options)
    return out.getvalue()
