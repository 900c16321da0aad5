"""The data dictionary and the registry of UIDs (PS3.6), from pydicom's tables.

The two tables are read without the library around them: to import that takes many times as long, and every command
would wait for it, though only what touches pixels needs it.
"""

import re
import sys
from collections.abc import Mapping
from functools import cache
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
from types import MappingProxyType, ModuleType

from minipacs.dicom.tables.transfer_syntaxes import TRANSFER_SYNTAXES

_TAG = re.compile("[0-9A-Fa-f]{8}")


def _module(name: str) -> ModuleType:
    loaded = sys.modules.get(f"pydicom.{name}")
    if loaded is not None:
        return loaded
    package = find_spec("pydicom")
    assert package is not None  # noqa: S101  we depend on it
    folder = Path((package.submodule_search_locations or [""])[0])
    spec = spec_from_file_location(f"{__name__}.{name}", folder / f"{name}.py")
    assert spec is not None  # noqa: S101
    assert spec.loader is not None  # noqa: S101
    found = module_from_spec(spec)
    spec.loader.exec_module(found)
    return found


ELEMENTS: Mapping[int, tuple[str, str, str, str, str]] = MappingProxyType(_module("_dicom_dict").DicomDictionary)
"""VR (or several, as `US or SS`), VM, name, "Retired" or "", and keyword of each public element, by tag."""

UIDS: Mapping[str, tuple[str, str, str, str, str]] = MappingProxyType(_module("_uid_dict").UID_dictionary)
"""Name, kind, further words, "Retired" or "", and keyword of each UID of the standard."""


@cache
def _tags() -> Mapping[str, int]:
    return {keyword: tag for tag, (*_, keyword) in ELEMENTS.items() if keyword}


def tag_of(keyword: str) -> int | None:
    """Return the tag of a keyword, None if there is none."""
    return _tags().get(keyword)


def tag_told(name: str) -> int | None:
    """Return the tag that a keyword or eight hexadecimal digits stand for, None if neither (PS3.18 8.3.4.1)."""
    return int(name, 16) if _TAG.fullmatch(name) else tag_of(name)


def tag_named(keyword: str) -> int:
    """Return the tag of a keyword that the dictionary must know. Raises KeyError."""
    return _tags()[keyword]


def keyword_of(tag: int) -> str:
    """Give the keyword of an element that the dictionary knows, else its tag as eight hexadecimal digits."""
    known = ELEMENTS.get(tag)
    return known[4] if known else f"{tag:08X}"


def first_vr(tag: int, otherwise: str) -> str:
    """Give the VR of an element, the first if the standard leaves a choice; `otherwise` if it is unknown."""
    known = ELEMENTS.get(tag)
    return known[0][:2] if known else otherwise


def uid_name(uid: str) -> str:
    """Give the name of a UID, itself if it is not known."""
    known = UIDS.get(uid)
    newer = TRANSFER_SYNTAXES.get(uid)
    return known[0] if known else newer.name if newer else uid


def is_retired(uid: str) -> bool:
    """Tell whether a UID is one of the standard that was retired."""
    known = UIDS.get(uid)
    return known is not None and known[3] == "Retired"
