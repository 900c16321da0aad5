"""Data sets put together and taken apart by hand."""

import io
import struct

import pydicom
from pydicom.datadict import dictionary_has_tag, dictionary_VR
from pydicom.dataset import Dataset

from minipacs.dicom.data_set.part10 import file_meta
from minipacs.pixels.transcode import transcode

SEQUENCE_END = struct.pack("<II", 0xE0DDFFFE, 0)


def convert(file: bytes, uid: str) -> bytes:
    """Transcode a file; give the data set."""
    out = io.BytesIO()
    transcode(io.BytesIO(file), out, uid)
    return out.getvalue()


def as_file(data_set: bytes, uid: str) -> bytes:
    """Make a file of an encoded data set."""
    return file_meta("1.2.3", "1.2.3.4", uid) + data_set


def converted(file: bytes, uid: str) -> Dataset:
    """Transcode a file; give what pydicom reads."""
    return pydicom.dcmread(io.BytesIO(as_file(convert(file, uid), uid)))


def element(tag: int, vr: str, value: bytes, order: str = "<") -> bytes:
    """Encode an element in Explicit VR."""
    head = struct.pack(order + "HH2s", tag >> 16, tag & 0xFFFF, vr.encode())
    if vr in ["OB", "OD", "OF", "OL", "OV", "OW", "SQ", "SV", "UC", "UN", "UR", "UT", "UV", "XX"]:
        return head + struct.pack(order + "HI", 0, len(value)) + value
    return head + struct.pack(order + "H", len(value)) + value


def implicit(tag: int, value: bytes) -> bytes:
    """Encode an element in Implicit VR, or an item."""
    return struct.pack("<HHI", tag >> 16, tag & 0xFFFF, len(value)) + value


def sequence(tag: int, *items: bytes, vr: str = "SQ") -> bytes:
    """Encode a sequence in Explicit VR Little Endian, of undefined length as are its items."""
    head = struct.pack("<HH2sHI", tag >> 16, tag & 0xFFFF, vr.encode(), 0, 0xFFFFFFFF)
    return head + b"".join(map(undefined_item, items)) + SEQUENCE_END


def undefined_item(item: bytes) -> bytes:
    """Put a data set into an item of undefined length."""
    return struct.pack("<II", 0xE000FFFE, 0xFFFFFFFF) + item + struct.pack("<II", 0xE00DFFFE, 0)


def fragments(*parts: bytes, offsets: bytes = b"") -> bytes:
    """Encode Pixel Data of these fragments, with a Basic Offset Table."""
    head = struct.pack("<HH2sHI", 0x7FE0, 0x0010, b"OB", 0, 0xFFFFFFFF)
    return head + b"".join(implicit(0xFFFEE000, part) for part in (offsets, *parts)) + SEQUENCE_END


def values(data: bytes, *, is_implicit: bool = False) -> dict[tuple[int, ...], bytes]:
    """Read a little endian data set: each value by its path of tags and items, without group lengths.

    What the dictionary knows for a sequence is one, also if it stands as UN; an empty one counts as an empty value.
    """
    found: dict[tuple[int, ...], bytes] = {}
    _read_elements(data, 0, len(data), is_implicit, (), found)
    return found


def _read_elements(data: bytes, pos: int, end: int, is_implicit: bool, path: tuple[int, ...], found: dict) -> int:
    while pos < end:
        group, number, length = struct.unpack_from("<HHI", data, pos)
        tag, vr = group << 16 | number, ""
        pos += 8
        if tag == 0xFFFEE00D:
            break
        if not is_implicit:
            vr, length = data[pos - 4 : pos - 2].decode("latin-1"), length >> 16
            if vr in ["OB", "OD", "OF", "OL", "OV", "OW", "SQ", "SV", "UC", "UN", "UR", "UT", "UV"]:
                (length,) = struct.unpack_from("<I", data, pos)
                pos += 4
        known = dictionary_VR(tag) if dictionary_has_tag(tag) else ""
        if length and (vr == "SQ" or (vr in ("", "UN") and (known == "SQ" or length == 0xFFFFFFFF))):
            pos = _read_items(data, pos, length, is_implicit or vr == "UN", (*path, tag), found)
        elif length == 0xFFFFFFFF:
            pos = data.index(struct.pack("<II", 0xE0DDFFFE, 0), pos) + 8
        else:
            if number and tag != 0x00080001:
                found[(*path, tag)] = data[pos : pos + length]
            pos += length
    return pos


def _read_items(data: bytes, pos: int, length: int, is_implicit: bool, path: tuple[int, ...], found: dict) -> int:
    index, end = 0, len(data) if length == 0xFFFFFFFF else pos + length
    while pos < end:
        item, item_length = struct.unpack_from("<II", data, pos)
        pos += 8
        if item == 0xE0DDFFFE:
            break
        item_end = len(data) if item_length == 0xFFFFFFFF else pos + item_length
        pos = _read_elements(data, pos, item_end, is_implicit, (*path, index), found)
        index += 1
    return pos
