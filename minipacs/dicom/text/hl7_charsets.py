"""THE table of character sets of messages: MSH-18 by HL7 table 0211, as codecs of Python."""

from collections.abc import Mapping
from types import MappingProxyType

CODECS: Mapping[str, str] = MappingProxyType(
    {
        "ASCII": "ascii",
        **{f"8859/{part}": f"iso8859_{part}" for part in (*range(1, 10), 15)},
        "ISO IR14": "shift_jis",  # its single bytes are JIS X 0201
        "ISO IR87": "iso2022_jp_ext",
        "ISO IR159": "iso2022_jp_ext",
        "GB 18030-2000": "gb18030",
        "KS X 1001": "euc_kr",
        "BIG-5": "big5",
        "UNICODE": "utf_8",  # of all encodings of Unicode, only this one leaves the frame bytes alone
        "UNICODE UTF-8": "utf_8",
    }
)
"""By name. Table 0211 has CNS 11643-1992 as well, for which Python has no codec."""


def codec_of(names: str, default: str) -> str | None:
    """Return the codec for the repetitions of MSH-18, None if one is not known.

    With several, escape sequences switch between them: the last of those says how to read all, since each Japanese
    codec knows the sets before it.
    """
    given = [name.strip().upper() for name in names.split("~")] if names.strip() else [default.upper()]
    if any(name and name not in CODECS for name in given):
        return None
    named = [name for name in given if name]
    return CODECS[named[-1] if named else default.upper()]
