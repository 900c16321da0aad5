"""Gives stored objects in another transfer syntax, for peers that do not take the stored one (PS3.5 A, PS3.4 C.4.2.3).

What is not pixels keeps its value bytes; group lengths, which tell of an encoding that is no more, are left out.
"""

import hashlib
import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO, NamedTuple

from minipacs.dicom.data_set.part10 import NeedMoreData, parse_file_meta
from minipacs.dicom.tables.tags import LENGTH_TO_END, PIXEL_DATA
from minipacs.dicom.tables.transfer_syntaxes import EXPLICIT_VR_LITTLE_ENDIAN, TRANSFER_SYNTAXES, TransferSyntax
from minipacs.errors import DataSetError
from minipacs.pixels.codecs import can_transcode
from minipacs.pixels.element_writer import ElementWriter
from minipacs.pixels.elements import (
    BITS_ALLOCATED,
    ElementReader,
    ImageAttributes,
    Step,
    StepKind,
    TranscodeError,
    check_pixel_order,
)
from minipacs.pixels.frame_encoder import FrameEncoder
from minipacs.pixels.frames import EncapsulatedImage
from minipacs.pixels.image import ElementChange, ImageLayout, NativeImage

_PREFIX_BYTES = 4096


OnImage = Callable[[ImageLayout], None]
"""Hears of each image before its first frame is decoded or encoded; what it raises ends the job."""


def transcode(
    source: BinaryIO,
    target: BinaryIO,
    transfer_syntax_uid: str,
    on_frame: Callable[[], None] = lambda: None,
    *,
    on_image: OnImage = lambda layout: None,
    normal: bool = False,
) -> None:
    """Write the data set of a DICOM file, without File Meta Information, in another transfer syntax.

    `source` can seek and stands at the start of the file; `target` is written where it stands, by pieces. Both stay
    the caller's. `on_frame` is called after each frame. `normal` has native pixels rearranged, too, as all others are:
    colour by pixel, so that equal images get equal bytes. Memory: however many frames there are, a few copies of one,
    encoded and decoded (`ImageLayout.working_bytes`), of at most `image.MAX_FRAME_BYTES` each; 16 bytes a fragment.

    Raises `TranscodeError` for whatever cannot be had right, damaged frames among it; what `target` holds by then is
    to be thrown away. PS3.3 C.7.6.3, PS3.5 8, A
    """
    with _buffered(source, io.BufferedReader) as reading, _buffered(target, io.BufferedWriter) as writing:
        stored, position = open_data_set(reading)
        if not can_transcode(stored.uid, transfer_syntax_uid):
            raise TranscodeError(f"no way from {stored.name} to {transfer_syntax_uid}")
        wanted = TRANSFER_SYNTAXES[transfer_syntax_uid]
        images: dict[int, _Recoding] = {}
        if stored.encapsulated or wanted.encapsulated or normal:
            reading.seek(position)
            images = _find_images(reading, stored, wanted, on_image)
        if wanted.encapsulated and not any(image.encoder for image in images.values()):
            raise TranscodeError("no pixels to encode")
        reading.seek(position)
        writer = ElementWriter(writing, wanted)
        _copy(ElementReader(reading, stored), writer, images, on_frame)
        writer.close()


def fingerprint(
    source: BinaryIO, on_frame: Callable[[], None] = lambda: None, on_image: OnImage = lambda layout: None
) -> str:
    """Digest all that a DICOM file says, its decoded pixels among it, whatever its transfer syntax.

    Two files have the same if every element and every pixel is the same. Raises `TranscodeError`; see `transcode`.
    """
    found = _Hash()
    with io.BufferedWriter(found) as target:
        transcode(source, target, EXPLICIT_VR_LITTLE_ENDIAN, on_frame, on_image=on_image, normal=True)
    return found.sha256.hexdigest()


class _Hash(io.RawIOBase):
    """Takes in what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.sha256 = hashlib.sha256()

    def writable(self) -> bool:
        return True

    def write(self, data: Any, /) -> int:
        self.sha256.update(data)
        return memoryview(data).nbytes


class _Recoding(NamedTuple):
    """An image whose pixels are to be written otherwise, and what changes with them; no encoder: natively."""

    image: EncapsulatedImage | NativeImage
    encoder: FrameEncoder | None
    changes: list[ElementChange]


@contextmanager
def _buffered(file: BinaryIO, kind: type[io.BufferedReader] | type[io.BufferedWriter]) -> Iterator[BinaryIO]:
    """Put a buffer around a raw file for the time being: elements are read and written by a few bytes."""
    if not isinstance(file, io.RawIOBase):
        yield file
        return
    buffered = kind(file)
    try:
        yield buffered
    finally:
        buffered.detach()


def open_data_set(source: BinaryIO) -> tuple[TransferSyntax, int]:
    """Read File Meta Information; give the transfer syntax and where the data set starts."""
    start, prefix = source.tell(), b""
    while True:
        more = source.read(_PREFIX_BYTES)
        prefix += more
        try:
            meta = parse_file_meta(prefix)
        except NeedMoreData as error:
            if not more:
                raise TranscodeError(str(error)) from None
        except DataSetError as error:
            raise TranscodeError(str(error)) from None
        else:
            break
    if meta.transfer_syntax_uid not in TRANSFER_SYNTAXES:
        raise TranscodeError("file in an unknown transfer syntax")
    return TRANSFER_SYNTAXES[meta.transfer_syntax_uid], start + meta.data_set_offset


def _find_images(
    source: BinaryIO, stored: TransferSyntax, wanted: TransferSyntax, on_image: OnImage
) -> dict[int, _Recoding]:
    """Find what must be recoded, the object's own pixels and icons, each by where its data set starts.

    Ahead of the copy: what decoders make of an image shows in elements that stand before its pixels. Icons end up
    native, which they may be in any transfer syntax (PS3.5 A.4).
    """
    images: dict[int, _Recoding] = {}
    reader = ElementReader(source, stored)
    for step in reader.walk():
        attributes = reader.nesting[-1]
        is_own = step.tag == PIXEL_DATA and len(reader.nesting) == 1
        if step.kind is StepKind.FRAGMENTS:
            on_image(layout := ImageLayout(attributes))
            image = EncapsulatedImage(reader, layout, stored)
            images[attributes.position] = _recoding(image, attributes, wanted if is_own else None)
        elif is_own and step.length and stored.encapsulated:
            raise TranscodeError("native Pixel Data in an encapsulated transfer syntax")
        elif is_own and step.length:
            on_image(layout := ImageLayout(attributes))
            images[attributes.position] = _recoding(NativeImage(step, layout), attributes, wanted)
    return images


def _recoding(
    image: EncapsulatedImage | NativeImage, attributes: ImageAttributes, wanted: TransferSyntax | None
) -> _Recoding:
    encoder = None
    if wanted is not None and wanted.encapsulated:
        encoder = FrameEncoder(image.layout, image.interpretation, wanted.uid)
    interpretation = image.interpretation if encoder is None else encoder.interpretation
    return _Recoding(image, encoder, image.layout.changes(attributes, interpretation, lossy=image.lossy))


def _copy(
    reader: ElementReader, writer: ElementWriter, images: dict[int, _Recoding], on_frame: Callable[[], None]
) -> None:
    for step in reader.walk():
        if step.kind is StepKind.ELEMENT and (step.tag & 0xFFFF == 0 or step.tag == LENGTH_TO_END):
            continue
        recoding = images.get(reader.nesting[-1].position) if step.tag else None
        if recoding is not None and _change(step.tag, recoding, writer):
            continue
        if recoding is not None and step.tag == PIXEL_DATA and step.kind in (StepKind.FRAGMENTS, StepKind.ELEMENT):
            _write_pixels(step, recoding, reader, writer, on_frame)
        elif step.kind is StepKind.FRAGMENTS:
            raise TranscodeError("fragments in a native transfer syntax")
        elif step.kind is StepKind.ELEMENT:
            _write_element(step, reader, writer)
        else:
            writer.structure(step)


def _change(tag: int, image: _Recoding, writer: ElementWriter) -> bool:
    """Write the changed elements up to `tag`; tell whether the element `tag` is one of them."""
    while image.changes and image.changes[0][0] <= tag:
        changed, vr, value = image.changes.pop(0)
        if value is not None:
            writer.element(changed, vr, value)
        if changed == tag:
            return True
    return False


def _write_pixels(
    step: Step, recoding: _Recoding, reader: ElementReader, writer: ElementWriter, on_frame: Callable[[], None]
) -> None:
    image, layout = recoding.image, recoding.image.layout
    frames = _told(image.frames(reader, step), on_frame)
    if recoding.encoder is not None:
        writer.fragments(PIXEL_DATA, map(recoding.encoder.encode, frames))
        return
    vr = b"OB" if layout.bits_allocated == 8 else b"OW"
    size_bytes = layout.frame_bytes * layout.frames
    writer.header(PIXEL_DATA, vr, size_bytes + size_bytes % 2)
    for frame in frames:
        writer.value(PIXEL_DATA, vr, frame)
    if size_bytes % 2:
        writer.value(PIXEL_DATA, b"OB", b"\0")


def _told(frames: Iterator[bytes], on_frame: Callable[[], None]) -> Iterator[bytes]:
    for frame in frames:
        yield frame
        on_frame()


def _write_element(step: Step, reader: ElementReader, writer: ElementWriter) -> None:
    vr = step.vr
    if step.tag == PIXEL_DATA:
        bits_allocated = reader.nesting[-1].number(BITS_ALLOCATED)
        check_pixel_order(step, bits_allocated)
        if bits_allocated > 8:
            vr = b"OW"  # PS3.5 A.2, whatever the writer called it
    writer.header(step.tag, vr, step.length)
    pieces = reader.pieces(step.length) if step.value is None else (step.value,)
    for piece in pieces:
        writer.value(step.tag, vr, piece, big_endian=step.big_endian)
