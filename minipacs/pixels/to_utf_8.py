"""A data set with all its text in ISO_IR 192, in the same transfer syntax, for values that its own set cannot hold."""

from typing import BinaryIO

from minipacs.dicom.tables.attributes import SPECIFIC_CHARACTER_SET
from minipacs.dicom.tables.tags import LENGTH_TO_END, tag_text
from minipacs.dicom.tables.transfer_syntaxes import TransferSyntax
from minipacs.dicom.tables.value_representations import MAX_SHORT_LENGTH, TEXT_VRS
from minipacs.dicom.text import charset
from minipacs.pixels.element_writer import ElementWriter
from minipacs.pixels.elements import ElementReader, Step, StepKind, TranscodeError, is_short

MAX_TEXT_BYTES = 1 << 24
"""Of one value; a data set with a longer one that is not ASCII cannot be converted."""

_UTF_8_NAME = b"ISO_IR 192"
_NOT_ASCII_TERMS = ("ISO_IR 13", "ISO 2022 IR 13")
_TEXT_VRS = frozenset(vr.encode() for vr in TEXT_VRS)


def to_utf_8(source: BinaryIO, target: BinaryIO, transfer_syntax: TransferSyntax, assumed: str) -> None:
    """Write the data set that begins where `source` stands, its text in ISO_IR 192.

    `assumed` is the character set of what names none. What is not text keeps its value bytes, text of a VR that is not
    known among it; group lengths are left out. Raises TranscodeError for text that cannot be understood: nobody is to
    see a wrong name.
    """
    reader, writer = ElementReader(source, transfer_syntax), ElementWriter(target, transfer_syntax)
    named: list[tuple[str, ...]] = []
    has_named = False
    for step in reader.walk():
        depth = len(reader.nesting)
        del named[depth:]
        while len(named) < depth:
            named.append(named[-1] if named else charset.terms(assumed))
        if depth == 1 and not has_named and step.tag > SPECIFIC_CHARACTER_SET:
            writer.element(SPECIFIC_CHARACTER_SET, b"CS", _UTF_8_NAME)
            has_named = True
        if step.kind is StepKind.FRAGMENTS:
            _copy_fragments(step, reader, writer)
        elif step.kind is not StepKind.ELEMENT:
            if step.kind is StepKind.ITEM:
                del named[depth:]
            writer.structure(step)
        elif step.tag == SPECIFIC_CHARACTER_SET:
            named[-1] = charset.terms((step.value or b"").decode("ascii", "replace")) or named[-1]
            writer.element(step.tag, b"CS", _UTF_8_NAME)
            has_named = has_named or depth == 1
        elif step.tag & 0xFFFF and step.tag != LENGTH_TO_END:
            _copy_element(step, reader, writer, named[-1])
    if not has_named:
        writer.element(SPECIFIC_CHARACTER_SET, b"CS", _UTF_8_NAME)
    writer.close()


def _copy_element(step: Step, reader: ElementReader, writer: ElementWriter, charsets: tuple[str, ...]) -> None:
    if step.vr in _TEXT_VRS and step.length <= MAX_TEXT_BYTES:
        raw = reader.read(step.length) if step.value is None else step.value
        writer.element(step.tag, step.vr, _converted(step, raw, charsets))
        return
    if step.vr in _TEXT_VRS:
        raise TranscodeError(f"{tag_text(step.tag)}: text of more than {MAX_TEXT_BYTES} bytes")
    writer.header(step.tag, step.vr, step.length)
    for piece in reader.pieces(step.length) if step.value is None else (step.value,):
        writer.value(step.tag, step.vr, piece, big_endian=step.big_endian)


def _converted(step: Step, raw: bytes, charsets: tuple[str, ...]) -> bytes:
    if raw.isascii() and b"\x1b" not in raw and not (charsets and charsets[0] in _NOT_ASCII_TERMS):
        return raw
    text = charset.decode(raw, charsets, step.vr.decode())
    if "\ufffd" in text or charset.unknown(charsets) or not charsets:
        raise TranscodeError(f"{tag_text(step.tag)}: text that cannot be read, in {'/'.join(charsets) or 'ASCII'}")
    new = text.encode()
    new += b" " * (len(new) & 1)
    if is_short(step.vr) and len(new) > MAX_SHORT_LENGTH:
        raise TranscodeError(f"{tag_text(step.tag)}: text that is too long for ISO_IR 192")
    return new


def _copy_fragments(step: Step, reader: ElementReader, writer: ElementWriter) -> None:
    """Copy encapsulated Pixel Data as it is."""
    start = reader.position
    for _ in reader.fragments():
        pass
    end = reader.position
    reader.seek(start)
    writer.header(step.tag, step.vr, step.length)
    for piece in reader.pieces(end - start):
        writer.value(step.tag, b"OB", piece)
