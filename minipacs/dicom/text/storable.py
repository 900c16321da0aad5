"""Text that any database can keep."""


def storable(text: str) -> str:
    """Replace what a database cannot keep as text: NUL and lone surrogates."""
    if text.isascii() and "\0" not in text:
        return text
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace").replace("\0", "\N{REPLACEMENT CHARACTER}")
