"""Tags as numbers of 32 bits, and as people read them."""

ITEM, ITEM_DELIMITER, SEQUENCE_DELIMITER = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
"""What stands between the elements of sequences (PS3.5 7.5)."""

LENGTH_TO_END = 0x00080001
"""Retired: what it counts is wrong as soon as anything changes."""

FLOAT_PIXEL_DATA, DOUBLE_FLOAT_PIXEL_DATA, PIXEL_DATA = 0x7FE00008, 0x7FE00009, 0x7FE00010
ANY_PIXEL_DATA = frozenset({FLOAT_PIXEL_DATA, DOUBLE_FLOAT_PIXEL_DATA, PIXEL_DATA})

UNDEFINED_LENGTH = 0xFFFFFFFF


def tag_text(tag: int) -> str:
    """Write a tag as `(GGGG,EEEE)` (PS3.5 7.1.1)."""
    return f"({tag >> 16:04X},{tag & 0xFFFF:04X})"
