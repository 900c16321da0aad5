"""What codec processes do for viewers: native frames, and frames as pictures."""

import io
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy
from numpy.typing import NDArray
from pydicom import Dataset, dcmread

from minipacs.errors import Kind
from minipacs.pixels.elements import TranscodeError
from minipacs.pixels.frame_reader import FrameReader
from minipacs.pixels.frames import EncapsulatedImage
from minipacs.pixels.image import ImageLayout
from minipacs.pixels.processes.render import Rendering, Viewport, Window, render
from minipacs.pixels.transcode import open_data_set

if TYPE_CHECKING:
    from minipacs.pixels.processes.verbs import Job

DRAWING_BYTES = 32
"""Of memory for each pixel that is drawn."""
READ_BYTES = 1 << 16


def native_frames(job: "Job", words: Mapping[str, Any]) -> None:
    """Write the frames `words["frames"]`, counted from 0, as native samples, one behind the other."""
    frames, decoded = _open(job)
    for index in words["frames"]:
        job.target.write(_native(frames, decoded, index)[0])
        job.working()


def picture(job: "Job", words: Mapping[str, Any]) -> None:
    """Write the frame `words["frame"]`, counted from 0, as a picture, drawn as `words["rendering"]` says."""
    frames, decoded = _open(job)
    index, shape = int(words["frame"]), frames.shape
    job.make_room_for(frames.working_bytes + shape.rows * shape.columns * shape.samples * DRAWING_BYTES)
    data, interpretation = _native(frames, decoded, index)
    job.source.seek(0)
    header = dcmread(job.source, stop_before_pixels=True, force=True)
    if interpretation:
        header.PhotometricInterpretation = interpretation
    asked = dict(words["rendering"])
    window, viewport = asked.pop("window", None), asked.pop("viewport", None)
    rendering = Rendering(
        window=None if window is None else Window(*window),
        viewport=None if viewport is None else Viewport(*viewport),
        lines=tuple(asked.pop("lines", ())),
        **asked,
    )
    samples = _samples(data, frames, header, is_decoded=decoded is not None)
    job.target.write(render(samples, header, index, rendering))


def _open(job: "Job") -> tuple[FrameReader, EncapsulatedImage | None]:
    source = io.BufferedReader(job.source, READ_BYTES)
    transfer_syntax, position = open_data_set(source)
    source.seek(position)
    frames = FrameReader(source, transfer_syntax)
    if frames.fragments is None:
        job.make_room_for(frames.working_bytes)
        return frames, None
    layout = ImageLayout(frames.attributes)
    job.make_room(layout)
    frames.reader.seek(frames.position)
    return frames, EncapsulatedImage(frames.reader, layout, transfer_syntax)


def _native(frames: FrameReader, decoded: EncapsulatedImage | None, index: int) -> tuple[bytes, str]:
    """Give native samples, colour by pixel where they were decoded, and what they mean then."""
    if not 0 <= index < frames.shape.frames:
        raise TranscodeError(f"there is no frame {index + 1}: there are {frames.shape.frames}", Kind.NOT_FOUND)
    return (frames.stored(index), "") if decoded is None else decoded.frame(frames.reader, index)


def _samples(data: bytes, frames: FrameReader, header: Dataset, *, is_decoded: bool) -> NDArray[Any]:
    """Give the samples of a frame as rows by columns, and colours: their stored bits alone, the sign extended."""
    shape = frames.shape
    size = (shape.rows, shape.columns)
    if shape.bits == 1:
        bits = numpy.unpackbits(numpy.frombuffer(data, numpy.uint8), bitorder="little")
        header.BitsStored = 8
        return bits[: shape.rows * shape.columns].reshape(size) * 255
    signed = not shape.is_float and header.get("PixelRepresentation", 0) == 1
    kind = "f" if shape.is_float else "i" if signed else "u"
    samples = numpy.frombuffer(data, f"<{kind}{shape.bits // 8}")[: shape.frame_bits // shape.bits]
    if not shape.is_float:
        samples = _stored_bits(samples, header, shape.bits)
    if shape.samples == 1:
        return samples.reshape(size)
    if header.get("PlanarConfiguration", 0) == 1 and not is_decoded:
        return samples.reshape(shape.samples, *size).transpose(1, 2, 0)
    return samples.reshape(*size, shape.samples)


def _stored_bits(samples: NDArray[Any], header: Dataset, bits: int) -> NDArray[Any]:
    """Cut off what lies beside the stored bits, such as overlays."""
    stored, high = int(header.get("BitsStored", bits)), int(header.get("HighBit", header.get("BitsStored", bits) - 1))
    if not 0 < stored <= high + 1 <= bits or (stored == bits):
        return samples
    return samples << (bits - 1 - high) >> (bits - stored)
