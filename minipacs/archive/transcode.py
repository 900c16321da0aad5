"""Gives stored objects in an uncompressed transfer syntax, for peers that take no other (PS3.5 A, PS3.4 C.4.2.3).

What is not pixels keeps its value bytes; group lengths, which tell of an encoding that is no more, are left out.
"""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO

from minipacs.archive.element_writer import ElementWriter
from minipacs.archive.elements import (
    BITS_ALLOCATED,
    PIXEL_DATA,
    ElementReader,
    Event,
    Kind,
    TranscodeError,
    tag_name,
)
from minipacs.archive.frames import EncapsulatedImage, can_decode
from minipacs.dicom.part10 import NeedMoreData, parse_file_meta
from minipacs.dicom.transfer_syntaxes import TRANSFER_SYNTAXES, TransferSyntax
from minipacs.errors import DataSetError

__all__ = ["TranscodeError", "can_transcode", "transcode"]

_PREFIX_BYTES = 4096
_LENGTH_TO_END = 0x00080001


def can_transcode(stored_uid: str, target_uid: str) -> bool:
    """Tell, from the transfer syntaxes alone, whether an object stored in the one can be had in the other.

    The first question about an encapsulated one imports its decoders.
    """
    stored, target = TRANSFER_SYNTAXES.get(stored_uid), TRANSFER_SYNTAXES.get(target_uid)
    if stored is None or target is None or target.encapsulated:
        return False
    return not stored.encapsulated or can_decode(stored_uid)


def transcode(source: BinaryIO, target: BinaryIO, transfer_syntax_uid: str) -> None:
    """Write the data set of a DICOM file, without File Meta Information, in another transfer syntax.

    `source` can seek and stands at the start of the file; `target` is written where it stands, by pieces. Both stay
    the caller's. Memory: however many frames there are, a few copies of one, encoded and decoded, of at most
    `frames.MAX_FRAME_BYTES` each, and the first one decoded; 16 bytes for each fragment.

    Raises `TranscodeError` for whatever cannot be had right, damaged frames among it; what `target` holds by then is
    to be thrown away. PS3.3 C.7.6.3, PS3.5 8, A
    """
    with _buffered(source, io.BufferedReader) as reading, _buffered(target, io.BufferedWriter) as writing:
        stored, position = _open(reading)
        if not can_transcode(stored.uid, transfer_syntax_uid):
            raise TranscodeError(f"no way from {stored.name} to {transfer_syntax_uid}")
        reading.seek(position)
        images = _find_images(reading, stored) if stored.encapsulated else {}
        reading.seek(position)
        writer = ElementWriter(writing, TRANSFER_SYNTAXES[transfer_syntax_uid])
        _copy(ElementReader(reading, stored), writer, images)
        writer.close()


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


def _open(source: BinaryIO) -> tuple[TransferSyntax, int]:
    """Read File Meta Information; give the transfer syntax and where the data set starts."""
    start, prefix = source.tell(), b""
    while True:
        more = source.read(_PREFIX_BYTES)
        prefix += more
        try:
            meta = parse_file_meta(prefix)
        except NeedMoreData as error:
            if not more:
                raise TranscodeError(error.comment) from None
        except DataSetError as error:
            raise TranscodeError(error.comment) from None
        else:
            break
    if meta.transfer_syntax_uid not in TRANSFER_SYNTAXES:
        raise TranscodeError("file in an unknown transfer syntax")
    return TRANSFER_SYNTAXES[meta.transfer_syntax_uid], start + meta.data_set_offset


def _find_images(source: BinaryIO, stored: TransferSyntax) -> dict[int, EncapsulatedImage]:
    """Find what must be decoded, the object's own pixels and icons, each by where its data set starts.

    Ahead of the copy: what decoders make of an image shows in elements that stand before its pixels.
    """
    images: dict[int, EncapsulatedImage] = {}
    reader = ElementReader(source, stored)
    for event in reader.walk():
        if event.kind is Kind.FRAGMENTS:
            level = reader.levels[-1]
            images[level.position] = EncapsulatedImage(reader, level, stored)
        elif event.tag == PIXEL_DATA and event.length and len(reader.levels) == 1:
            raise TranscodeError("native Pixel Data in an encapsulated transfer syntax")
    return images


def _copy(reader: ElementReader, writer: ElementWriter, images: dict[int, EncapsulatedImage]) -> None:
    for event in reader.walk():
        if event.kind is Kind.ELEMENT and (event.tag & 0xFFFF == 0 or event.tag == _LENGTH_TO_END):
            continue
        image = images.get(reader.levels[-1].position) if event.tag else None
        if image is not None and _change(event.tag, image, writer):
            continue
        if event.kind is Kind.FRAGMENTS:
            if image is None:
                raise TranscodeError("fragments in a native transfer syntax")
            _write_pixels(image, reader, writer)
        elif event.kind is Kind.ELEMENT:
            _write_element(event, reader, writer)
        else:
            writer.structure(event)


def _change(tag: int, image: EncapsulatedImage, writer: ElementWriter) -> bool:
    """Write the changed elements up to `tag`; tell whether the element `tag` is one of them."""
    while image.changes and image.changes[0][0] <= tag:
        changed, vr, value = image.changes.pop(0)
        if value is not None:
            writer.element(changed, vr, value)
        if changed == tag:
            return True
    return False


def _write_pixels(image: EncapsulatedImage, reader: ElementReader, writer: ElementWriter) -> None:
    padding_bytes = image.size_bytes % 2
    writer.header(PIXEL_DATA, image.vr, image.size_bytes + padding_bytes)
    for frame in image.frames(reader):
        writer.value(PIXEL_DATA, image.vr, frame)
    if padding_bytes:
        writer.value(PIXEL_DATA, b"OB", b"\0")


def _write_element(event: Event, reader: ElementReader, writer: ElementWriter) -> None:
    vr = event.vr
    if event.tag == PIXEL_DATA:
        bits_allocated = reader.levels[-1].number(BITS_ALLOCATED)
        if bits_allocated > 8:
            vr = b"OW"  # PS3.5 A.2, whatever the writer called it
        if bits_allocated > 16 and event.big_endian and event.length:
            # The standard turns round the bytes of 16 bit words, many writers those of each pixel.
            raise TranscodeError(f"byte order of {tag_name(event.tag)} is uncertain: {bits_allocated} bit, big endian")
    writer.header(event.tag, vr, event.length)
    pieces = reader.pieces(event.length) if event.value is None else (event.value,)
    for piece in pieces:
        writer.value(event.tag, vr, piece, big_endian=event.big_endian)
