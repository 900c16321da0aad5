"""Writes the parts of docs/conformance.md that are tables of the code: to be run, by .venv/bin/python, on a change."""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from pydicom.uid import UID, UID_dictionary

from minipacs import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME
from minipacs.config.schema import TimeoutsConfig, settings_of
from minipacs.config.text import toml
from minipacs.dicom.attributes import LEVELS, QUERY_RETRIEVE_LEVEL, Attribute, Key
from minipacs.dicom.identifier import Element, Identifier
from minipacs.dicom.keys import STANDARD_KEYS
from minipacs.dicom.sop_classes import (
    MODALITY_WORKLIST,
    PROCEDURE_STEP,
    PROCEDURE_STEP_RETRIEVE,
    QUERY_RETRIEVE,
    STORAGE,
    STORAGE_COMMITMENT,
    VERIFICATION,
)
from minipacs.dicom.transfer_syntaxes import TRANSFER_SYNTAXES
from minipacs.dicom.worklist import WORKLIST_KEYS
from minipacs.index.matching import WILDCARD_VRS
from minipacs.index.temporal import VRS as DATE_AND_TIME_VRS
from minipacs.services.dispatch import SERVICES
from minipacs.services.query_keys import read_keys

STATEMENT = Path(__file__).parent.parent / "docs/conformance.md"
SECTION = re.compile(r"(<!-- (\w+): generated -->\n)(.*?)(<!-- end of \2 -->\n)", re.DOTALL)

_OPERATION_NAMES = {"find": "FIND", "move": "MOVE", "get": "GET"}
_MODEL_NAMES = {"PATIENT": "Patient Root", "STUDY": "Study Root", "PATIENT_STUDY_ONLY": "Patient/Study Only (Retired)"}
_KEY_TYPES = {"U": "unique", "R": "required", "O": "optional"}


_WORKFLOW = {
    MODALITY_WORKLIST: "Modality Worklist Information Model - FIND",
    PROCEDURE_STEP: "Modality Performed Procedure Step",
    PROCEDURE_STEP_RETRIEVE: "Modality Performed Procedure Step Retrieve",
    STORAGE_COMMITMENT: "Storage Commitment Push Model",
}


def generated() -> dict[Path, str]:
    """Give the text of the statement with every generated section as the code has it."""
    text = STATEMENT.read_text()
    return {STATEMENT: SECTION.sub(lambda found: found[1] + "\n".join(SECTIONS[found[2]]()) + "\n" + found[4], text)}


def table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> Iterator[str]:
    """Lay out a Markdown table."""
    for row in (header, ["---"] * len(header), *rows):
        yield f"| {' | '.join(map(str, row))} |"


def tag_name(tag: int) -> str:
    return f"({tag >> 16:04X},{tag & 0xFFFF:04X})"


def _identity() -> Iterator[str]:
    rows = [
        ("Implementation Class UID", f"`{IMPLEMENTATION_CLASS_UID}`"),
        ("Implementation Version Name", f"`{IMPLEMENTATION_VERSION_NAME}`"),
    ]
    return table(("item", "value"), rows)


def _services() -> Iterator[str]:
    rows = [("Verification", f"`{VERIFICATION}`", "yes", "yes")]
    rows.append((f"Storage: {len(STORAGE)} SOP classes, Annex A", "", "yes", "yes"))
    rows += [
        (
            f"{_MODEL_NAMES[entry.model]} Query/Retrieve Information Model - {_OPERATION_NAMES[entry.operation]}",
            f"`{uid}`",
            "no",
            "yes",
        )
        for uid, entry in QUERY_RETRIEVE.items()
    ]
    rows += [(name, f"`{uid}`", "no", "yes") for uid, name in _WORKFLOW.items() if uid in SERVICES]
    return table(("SOP class", "UID", "SCU", "SCP"), rows)


def _timeouts() -> Iterator[str]:
    settings = settings_of(TimeoutsConfig)
    rows = [(f"`timeouts.{key}`", f"{toml(row.default)} s", row.help) for key, row in settings.items()]
    return table(("setting", "default", "how long a peer is waited for"), rows)


def _keys() -> Iterator[str]:
    for level in LEVELS:
        yield from (f"**{level}**", "")
        rows = [_key_row(attribute) for attribute in STANDARD_KEYS.attributes if attribute.level == level]
        yield from table(("attribute", "tag", "VR", "key", "matching, beside universal"), rows)
        yield ""


def _key_row(attribute: Attribute) -> tuple[str, ...]:
    key = _KEY_TYPES[attribute.key] + (", computed" if attribute.computed else "")
    matching = _matching(attribute) if _is_key(attribute) else "not in C-FIND: kept for `minipacs find`"
    return attribute.keyword, tag_name(attribute.tag), attribute.vr, key, matching


def _is_key(attribute: Attribute) -> bool:
    """Ask C-FIND itself whether it takes an attribute for a key."""
    level = Element("CS", attribute.level.encode())
    identifier = Identifier({QUERY_RETRIEVE_LEVEL: level, attribute.tag: Element(attribute.vr)})
    return any(key is attribute for key, _ in read_keys(identifier, "PATIENT").keys)


def _worklist_keys() -> Iterator[str]:
    rows = [
        (
            ("> " if key.in_step else "") + key.keyword,
            tag_name(key.tag),
            key.vr,
            key.return_type,
            _matching(key) if key.matched else "universal only",
        )
        for key in WORKLIST_KEYS
    ]
    return table(("attribute", "tag", "VR", "return key type", "matching, beside universal"), rows)


def _matching(attribute: Key) -> str:
    if attribute.vr == "SQ":
        return "sequence"
    kinds = ["single value"]
    if attribute.vr in WILDCARD_VRS:
        kinds.append("wildcard")
    if attribute.vr in DATE_AND_TIME_VRS:
        kinds.append("range")
    if attribute.vr == "UI":
        kinds.append("UID list")
    return ", ".join(kinds) + ("; any of its values" if attribute.multi else "")


def _storage_classes() -> Iterator[str]:
    rows = [
        (name + (" (Retired)" if _is_retired(uid) else ""), f"`{uid}`")
        for uid, name in sorted(STORAGE.items(), key=_by_uid)
    ]
    return table((f"SOP class ({len(rows)})", "UID"), rows)


def _transfer_syntaxes() -> Iterator[str]:
    rows = [
        (
            syntax.name + (" (Retired)" if _is_retired(uid) else ""),
            f"`{uid}`",
            "encapsulated" if syntax.encapsulated else "deflated" if syntax.deflated else "native",
        )
        for uid, syntax in sorted(TRANSFER_SYNTAXES.items(), key=_by_uid)
    ]
    return table((f"transfer syntax ({len(rows)})", "UID", "Pixel Data"), rows)


def _is_retired(uid: str) -> bool:
    return uid in UID_dictionary and UID(uid).is_retired


def _by_uid(entry: tuple[str, object]) -> list[int]:
    return [int(component) for component in entry[0].split(".")]


SECTIONS = {
    "identity": _identity,
    "services": _services,
    "timeouts": _timeouts,
    "keys": _keys,
    "worklist_keys": _worklist_keys,
    "storage_classes": _storage_classes,
    "transfer_syntaxes": _transfer_syntaxes,
}

if __name__ == "__main__":
    for path, text in generated().items():
        path.write_text(text)
