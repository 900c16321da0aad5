"""Tags as numbers of 32 bits, and as people read them."""

ITEM, ITEM_DELIMITER, SEQUENCE_DELIMITER = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
"""What stands between the elements of sequences (PS3.5 7.5)."""

UNDEFINED_LENGTH = 0xFFFFFFFF


def tag_text(tag: int) -> str:
    """Write a tag as `(GGGG,EEEE)` (PS3.5 7.1.1)."""
    return f"({tag >> 16:04X},{tag & 0xFFFF:04X})"
