"""Tags as numbers of 32 bits, and as people read them."""


def tag_text(tag: int) -> str:
    """Write a tag as `(GGGG,EEEE)` (PS3.5 7.1.1)."""
    return f"({tag >> 16:04X},{tag & 0xFFFF:04X})"
