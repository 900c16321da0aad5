"""What headers of compressed frames say (ISO/IEC 15444-1 A.5, A.6; 10918-1 B.2; 14495-1 C.2; PS3.5 G.5)."""

import struct
from itertools import pairwise
from typing import NamedTuple

from minipacs.pixels.elements import TranscodeError

CODESTREAM = b"\xff\x4f\xff\x51"
_JP2 = b"\0\0\0\x0cjP  "
_JPEG = b"\xff\xd8\xff"
FRAME_STARTS = (_JPEG, CODESTREAM, _JP2)
_SIZE, _CODING_STYLE, _TILE_PART = 0xFF51, 0xFF52, 0xFF90
_START_OF_IMAGE_BYTES, _START_OF_SCAN = 2, 0xDA
_LOSSLESS_PROCESSES = frozenset({0xC3, 0xC7, 0xCB, 0xCF})
_JPEG_LS = 0xF7
_LOSSY_ERROR_SHARE = 16
_FRAME_HEADERS = frozenset({*range(0xC0, 0xD0), 0xF7} - {0xC4, 0xC8, 0xCC})
_STANDALONE = frozenset({0x01, *range(0xD0, 0xD8)})
_RLE_HEADER = struct.Struct("<16I")


class Codestream(NamedTuple):
    """What the main header of a JPEG 2000 codestream says."""

    columns: int
    rows: int
    components: int
    precision: int
    signed: bool
    transformed: bool
    reversible: bool


class JpegFrame(NamedTuple):
    """What the headers of a JPEG or JPEG-LS image say. `max_error` is by how much a sample may differ from what was."""

    columns: int
    rows: int
    components: int
    precision: int
    max_error: int


def strip_jp2(frame: bytes) -> bytes:
    """Leave out the boxes around a codestream, which DICOM forbids: decoders would heed their colour space."""
    if not frame.startswith(_JP2):
        return frame
    start = frame.find(b"jp2c" + CODESTREAM)
    if start < 0:
        raise TranscodeError("no codestream in the JP2 file of the frame")
    return frame[start + 4 :]


def read_codestream(frame: bytes) -> Codestream:
    """Read the main header of a codestream."""
    pos, size, style = 2, 0, 0
    try:
        while not (size and style):
            marker, length = struct.unpack_from(">HH", frame, pos)
            if marker == _SIZE:
                size = pos
            elif marker == _CODING_STYLE:
                style = pos
            elif marker == _TILE_PART or marker < 0xFF00:
                raise TranscodeError("main header of the codestream is malformed")
            pos += 2 + length
        _, x, y, left, top, _, _, _, _, components = struct.unpack_from(">HIIIIIIIIH", frame, size + 4)
        depths = {struct.unpack_from("BBB", frame, size + 40 + 3 * index) for index in range(components)}
        transformed, transformation = frame[style + 8], frame[style + 13]
    except (struct.error, IndexError):
        raise TranscodeError("main header of the codestream is malformed") from None
    depth, *subsampling = depths.pop() if len(depths) == 1 else (0, 0, 0)
    if subsampling != [1, 1]:
        # openjpeg takes subsampled components for YCbCr and turns them to RGB, whatever they are.
        raise TranscodeError("components of the codestream differ")
    return Codestream(
        *(x - left, y - top, components, (depth & 0x7F) + 1),
        signed=depth >= 0x80,
        transformed=transformed == 1,
        reversible=transformation == 1,
    )


def lossy_error(precision: int) -> int:
    """Give by how much samples may differ where a code sets no bound: what no sensible loss exceeds."""
    return max((1 << precision) // _LOSSY_ERROR_SHARE, 1)


def read_jpeg(frame: bytes) -> JpegFrame:
    """Read the headers of a JPEG or JPEG-LS image, up to that of its first scan."""
    pos, process, size = _START_OF_IMAGE_BYTES, 0, (0, 0, 0, 0)
    try:
        while True:
            if frame[pos] != 0xFF:
                raise TranscodeError("header of the JPEG image is malformed")
            marker = frame[pos + 1]
            if marker == 0xFF:  # a fill byte
                pos += 1
                continue
            if marker in _STANDALONE:
                pos += 2
                continue
            if marker in _FRAME_HEADERS:
                process, size = marker, struct.unpack_from(">BHHB", frame, pos + 4)
            elif marker == _START_OF_SCAN:
                break
            pos += 2 + struct.unpack_from(">H", frame, pos + 2)[0]
        near, _, approximation = frame[pos + 5 + 2 * frame[pos + 4] :][:3]
    except (struct.error, IndexError, ValueError):
        raise TranscodeError("header of the JPEG image is malformed") from None
    if not process:
        raise TranscodeError("JPEG image without a frame header")
    precision, rows, columns, components = size
    if process == _JPEG_LS:
        max_error = near
    elif process in _LOSSLESS_PROCESSES:
        max_error = (1 << (approximation & 0xF)) - 1  # the point transform: that many bits are left out
    else:
        max_error = lossy_error(precision)
    return JpegFrame(columns, rows, components, precision, max_error)


def is_rle_header(data: bytes, segments: int) -> bool:
    """Tell whether a fragment begins as a frame of `segments` segments does."""
    return data.startswith(_RLE_HEADER.pack(segments, _RLE_HEADER.size, *[0] * 14)[:8])


def check_rle(frame: bytes, segments: int) -> None:
    """Refuse a frame whose header does not tell of `segments` segments, one behind the other."""
    if len(frame) < _RLE_HEADER.size:
        raise TranscodeError("RLE header is cut short")
    told, *offsets = _RLE_HEADER.unpack_from(frame)
    if told != segments:
        raise TranscodeError(f"{told} RLE segments, not {segments}")
    bounds = [*offsets[:told], len(frame)]
    if bounds[0] != _RLE_HEADER.size or any(a >= b for a, b in pairwise(bounds)):
        raise TranscodeError("offsets of the RLE segments are out of order")
