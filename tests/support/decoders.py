"""Every decoder that meets bytes from outside: what it may raise, and bytes that it understands, to begin from."""

import io
import json
from collections.abc import Callable
from typing import NamedTuple

from minipacs.dicom.data_set import command_set, json_values, values
from minipacs.dicom.data_set.decode import decode_data_set, decode_items
from minipacs.dicom.data_set.header import HeaderScanner
from minipacs.dicom.data_set.part10 import file_meta, meta_of_data_set, parse_file_meta
from minipacs.dicom.tables.transfer_syntaxes import (
    DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN,
    EXPLICIT_VR_BIG_ENDIAN,
    EXPLICIT_VR_LITTLE_ENDIAN,
    IMPLICIT_VR_LITTLE_ENDIAN,
    TRANSFER_SYNTAXES,
)
from minipacs.dicom.text import charset, person_name
from minipacs.errors import MinipacsError
from minipacs.net.wire import acse
from minipacs.net.wire.items import ProposedContext
from minipacs.net.wire.stream import PduReader, ProtocolError
from minipacs.pixels.elements import ElementReader, StepKind
from minipacs.pixels.transcode import transcode
from tests.support.elements import convert, element, fragments, sequence, undefined_item
from tests.support.objects import ct, encode

NATIVE = (
    IMPLICIT_VR_LITTLE_ENDIAN,
    EXPLICIT_VR_LITTLE_ENDIAN,
    EXPLICIT_VR_BIG_ENDIAN,
    DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN,
)
RLE = "1.2.840.10008.1.2.5"
MAX_INPUT_BYTES = 4096


class Decoder(NamedTuple):
    """`decode` raises nothing but `raises`, whatever the bytes. `seeds` are bytes that it takes."""

    decode: Callable[[bytes], object]
    raises: tuple[type[Exception], ...]
    seeds: tuple[bytes, ...]


def _syntax(data: bytes) -> tuple[str, bytes]:
    """Let the first byte choose the transfer syntax."""
    return (*NATIVE, RLE)[data[0] % 5 if data else 0], data[1:]


def _scan(data: bytes) -> None:
    uid, raw = _syntax(data)
    scanner = HeaderScanner(TRANSFER_SYNTAXES[uid])
    for at in range(0, len(raw), 100):  # in pieces: what a piece ends in is half of the work
        scanner.feed(raw[at : at + 100])
    scanner.finish().values()


def _identifier(data: bytes) -> None:
    uid, raw = _syntax(data)
    found, sequences = values.read(decode_data_set(raw, TRANSFER_SYNTAXES[uid]))
    values.encode(found, ["ISO_IR 192"], implicit=True)
    assert all(isinstance(tag, int) for tag in sequences)


def _elements(data: bytes) -> None:
    uid, raw = _syntax(data)
    reader = ElementReader(io.BytesIO(raw), TRANSFER_SYNTAXES[uid])
    for step in reader.walk():
        if step.kind is StepKind.FRAGMENTS:
            list(reader.fragments())


def _transcode(data: bytes) -> None:
    transcode(io.BytesIO(data), io.BytesIO(), EXPLICIT_VR_LITTLE_ENDIAN)


def _pdus(data: bytes) -> None:
    reader, pos = PduReader(), 0
    while pos < len(data):
        space = reader.space()
        size = min(len(space), len(data) - pos, 1 + data[pos])
        space[:size] = data[pos : pos + size]
        reader.filled(size)
        pos += size
        while reader.next() is not None:
            pass


def _text(data: bytes) -> None:
    terms = (*charset.terms("\\ISO 2022 IR 87\\ISO 2022 IR 149"), "GB18030", "ISO_IR 192", "ISO 2022 IR 58")
    chosen = terms[data[0] % len(terms) :][:2] if data else ()
    name = charset.decode(data[1:], chosen, "PN")
    person_name.groups(name)
    person_name.fold(name)
    charset.encode(name, chosen, "PN")


def _data_sets() -> tuple[bytes, ...]:
    ds = ct(rows=4)
    own = encode(ds)
    nested = sequence(0x00400100, element(0x00400001, "AE", b"AE"), element(0x00400002, "DA", b"20240101"))
    file = file_meta("1.2", "1.2.3", EXPLICIT_VR_LITTLE_ENDIAN) + own + nested
    encapsulated = own[: own.rindex(b"\xe0\x7f\x10\x00")] + fragments(bytes(64))
    return (*(bytes([at]) + convert(file, uid) for at, uid in enumerate(NATIVE)), bytes([len(NATIVE)]) + encapsulated)


def _decoders() -> dict[str, Decoder]:
    from tests.support.wire import associate_rq, context, store_rq

    data_sets = _data_sets()
    command = store_rq("1.2.840.10008.5.1.4.1.1.2", "1.2.3")
    request = associate_rq([context(1, "1.2.840.10008.1.1", IMPLICIT_VR_LITTLE_ENDIAN)])
    file = file_meta("1.2", "1.2.3", EXPLICIT_VR_LITTLE_ENDIAN) + data_sets[1][1:]
    proposed = [ProposedContext(1, "1.2.840.10008.1.1", (IMPLICIT_VR_LITTLE_ENDIAN,))]
    document = json.dumps({"PatientName": "A^B", "00400100": [{"Modality": "CT"}]}).encode()
    refused = (MinipacsError,)
    return {
        "header scan": Decoder(_scan, refused, data_sets),
        "identifier": Decoder(_identifier, refused, data_sets[: len(NATIVE)]),
        "items": Decoder(
            lambda data: decode_items(data, implicit=False, big_endian=False, charsets=()),
            refused,
            (undefined_item(data_sets[1][1:]),),
        ),
        "command set": Decoder(lambda data: command_set.encode(command_set.decode(data)), refused, (command,)),
        "PDU stream": Decoder(_pdus, (ProtocolError,), (request,)),
        "A-ASSOCIATE-RQ": Decoder(acse.decode_request, (ProtocolError,), (request[6:],)),
        "A-ASSOCIATE-AC": Decoder(lambda data: acse.decode_accept(data, proposed), (ProtocolError,), (request[6:],)),
        "character sets": Decoder(_text, (), (b"\0Yamada^Tarou=\x1b$B;3ED\x1b(B^\x1b$BB@O:\x1b(B", b"\2\xb0\xa1")),
        "elements": Decoder(_elements, refused, data_sets),
        "transcode": Decoder(_transcode, refused, (file,)),
        "File Meta": Decoder(parse_file_meta, refused, (file,)),
        "data set without File Meta": Decoder(meta_of_data_set, refused, (file[132:], data_sets[0][1:])),
        "JSON": Decoder(lambda data: json_values.parse(json.loads(data)), (ValueError, RecursionError), (document,)),
    }


DECODERS = _decoders()
