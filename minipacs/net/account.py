"""An account of an association as it is kept: a short document, and what a person or a program is told of it."""

import json
import zlib
from dataclasses import asdict
from typing import Any

from minipacs.dicom.tables.dictionary import uid_name
from minipacs.net.explanation import REASONS, Explanation

_COMPRESSION = 1
_UNANSWERED = -1


def packed(told: Explanation) -> bytes:
    """Make the document."""
    return zlib.compress(json.dumps(asdict(told), separators=(",", ":")).encode(), _COMPRESSION)


def unpacked(document: bytes) -> dict[str, Any]:
    """Return the fields of the Explanation that was packed."""
    found: dict[str, Any] = json.loads(zlib.decompress(document))
    return found


def described(account: dict[str, Any]) -> dict[str, Any]:
    """Replace rows of contexts by what they mean, with names and reasons; times stay seconds since 1970."""
    return {**account, "contexts": [_context(*row) for row in account["contexts"]]}


def _context(
    context_id: int, abstract_syntax: str, proposed: list[str], result: int, accepted: str
) -> dict[str, object]:
    reason, remedy = REASONS.get(result, ("", ""))
    return {
        "context_id": context_id,
        "abstract_syntax": abstract_syntax,
        "name": uid_name(abstract_syntax),
        "proposed_transfer_syntaxes": proposed,
        "result": None if result == _UNANSWERED else result,
        "accepted_transfer_syntax": accepted or None,
        "reason": reason or None,
        "remedy": remedy or None,
    }
