"""`minipacs conformance`: the conformance statement, its tables from the code and the configuration (PS3.2)."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import get_args

import click

from minipacs import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME
from minipacs.audit.events import EVENTS
from minipacs.cli.common import config_option
from minipacs.config import Config
from minipacs.config.schema import SECTIONS as SETTINGS
from minipacs.config.settings import settings_of
from minipacs.config.text import toml
from minipacs.daemon import extras
from minipacs.dicom.data_set.decode import DataSet, Element
from minipacs.dicom.matching.attribute import WILDCARD_VRS
from minipacs.dicom.matching.temporal import VRS as DATE_AND_TIME_VRS
from minipacs.dicom.tables.attributes import LEVELS, QUERY_RETRIEVE_LEVEL, Attribute, Key
from minipacs.dicom.tables.dictionary import is_retired, uid_name
from minipacs.dicom.tables.keys import KeyTable, extended_key
from minipacs.dicom.tables.sop_classes import (
    MODALITY_WORKLIST,
    PERFORMED_STEP,
    PERFORMED_STEP_RETRIEVE,
    QUERY_RETRIEVE,
    STORAGE,
    STORAGE_COMMITMENT,
    VERIFICATION,
)
from minipacs.dicom.tables.tags import tag_text
from minipacs.dicom.tables.transfer_syntaxes import TRANSFER_SYNTAXES
from minipacs.dicom.workflow.worklist import WORKLIST_KEYS
from minipacs.log import printable
from minipacs.net.identity.user_identity import Policy
from minipacs.services.dispatch import SERVICES
from minipacs.services.query_retrieve.query_keys import read_keys

_TEMPLATE = Path(__file__).with_suffix(".md")
_PLACE = re.compile(r"<!-- (\w+) -->\n")
_SHOWN_SECTIONS = ("ae", "storage", "query", "access")
_NOT_SHOWN = frozenset({"ae.workers", "storage.path", "storage.sync", "storage.min_free_bytes", "storage.sop_classes"})
"""Settings of these that no peer can tell, or that other tables show."""

_OPERATION_NAMES = {"find": "FIND", "move": "MOVE", "get": "GET"}
_MODEL_NAMES = {"PATIENT": "Patient Root", "STUDY": "Study Root", "PATIENT_STUDY_ONLY": "Patient/Study Only (Retired)"}
_KEY_TYPES = {"U": "unique", "R": "required", "O": "optional"}


_WORKFLOW = {
    MODALITY_WORKLIST: "Modality Worklist Information Model - FIND",
    PERFORMED_STEP: "Modality Performed Procedure Step",
    PERFORMED_STEP_RETRIEVE: "Modality Performed Procedure Step Retrieve",
    STORAGE_COMMITMENT: "Storage Commitment Push Model",
}


_IDENTITY_OUTCOMES: Mapping[str, tuple[str, str, str]] = {
    "no identity": ("accepted", "accepted", "refused"),
    "1, a name": ("accepted, not answered", "accepted if the user is known", "refused"),
    "2, a name and a passcode": ("accepted, not answered", "accepted if it is right", "accepted if it is right"),
    "3, 4, 5 (Kerberos, SAML, JWT), others": ("accepted, not answered", "accepted, not answered", "refused"),
}
"""What becomes of each type of user identity, under each policy."""


@click.command()
@config_option
def conformance(load: Callable[..., Config]) -> None:
    """Print the DICOM conformance statement of this archive, as it is configured, in Markdown."""
    click.echo(statement(load()), nl=False)


def statement(config: Config) -> str:
    """Write the conformance statement of an archive with this configuration, in Markdown."""
    return _PLACE.sub(lambda place: "\n".join(_TABLES[place[1]](config)) + "\n", _TEMPLATE.read_text())


def _table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> Iterator[str]:
    """Lay out a Markdown table."""
    for row in (header, ["---"] * len(header), *rows):
        yield f"| {' | '.join(_cell(value) for value in row)} |"


def _cell(value: object) -> str:
    return printable(str(value)).replace("|", "\\|")


def _identity(config: Config) -> Iterator[str]:
    rows = [
        ("Implementation Class UID", f"`{IMPLEMENTATION_CLASS_UID}`"),
        ("Implementation Version Name", f"`{IMPLEMENTATION_VERSION_NAME}`"),
    ]
    return _table(("item", "value"), rows)


def _services(config: Config) -> Iterator[str]:
    rows = [("Verification", f"`{VERIFICATION}`", "yes", "yes")]
    rows.append((f"Storage: {len(_names(config))} SOP classes, Annex A", "", "yes", "yes"))
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
    return _table(("SOP class", "UID", "SCU", "SCP"), rows)


def _timeouts(config: Config) -> Iterator[str]:
    rows = [
        (f"`timeouts.{key}`", f"{toml(getattr(config.timeouts, key))} s", row.help)
        for key, row in settings_of(type(config.timeouts)).items()
    ]
    return _table(("setting", "value", "how long a peer is waited for"), rows)


def _settings(config: Config) -> Iterator[str]:
    rows = [
        (f"`{name}.{key}`", f"`{toml(config.policy() if key == 'policy' else getattr(getattr(config, name), key))}`")
        for name in _SHOWN_SECTIONS
        for key in settings_of(SETTINGS[name])
        if f"{name}.{key}" not in _NOT_SHOWN
    ]
    return _table(("setting", "value"), rows)


def _user_identity(config: Config) -> Iterator[str]:
    rows = [(what, *outcomes) for what, outcomes in _IDENTITY_OUTCOMES.items()]
    return _table(("type", *(f"`{policy}`" for policy in get_args(Policy))), rows)


def _security_profiles(config: Config) -> Iterator[str]:
    tls, identity, audit = config.tls, config.access.identity, config.audit
    port = f"on, port {tls.port}, TLS {tls.minimum} and later" if tls.certificate else "off: `tls.certificate`"
    is_checked = f'on: `access.identity = "{identity}"`' if identity != "ignore" else "off: `access.identity`"
    by_name = is_checked if identity != "require" else f"{is_checked}, a passcode is needed too"
    rows = [
        ("B.12 BCP 195 RFC 8996, 9325 TLS Secure Transport Connection", port),
        ("B.4 Basic User Identity Association", by_name),
        ("B.5 User Identity plus Passcode Association", is_checked),
        ("A.5 Audit Trail Message Format", "on" if audit.is_on else "off: `audit.file`, `audit.syslog`"),
        ("A.6 Audit Trail Message Transmission - SYSLOG-TLS", _collector(config, "tls")),
        ("A.7 Audit Trail Message Transmission - SYSLOG-UDP", _collector(config, "udp")),
    ]
    return _table(("profile", "in this configuration"), rows)


def _collector(config: Config, scheme: str) -> str:
    is_used = config.audit.syslog.startswith(f"{scheme}://")
    return f"on: `{config.audit.syslog}`" if is_used else f'off: `audit.syslog = "{scheme}://..."`'


def _audit_events(config: Config) -> Iterator[str]:
    rows = [(e.section, e.code.value, e.code.meaning, " ".join(e.actions), e.when) for e in EVENTS.values()]
    return _table(("PS3.15", "EventID", "meaning", "actions", "told when"), rows)


def _peers(config: Config) -> Iterator[str]:
    rows = [
        (peer.title, peer.host or "any", peer.port if peer.destination else "", ", ".join(peer.allow), peer.charset)
        for peer in config.peers
    ]
    header = ("AE title", "host", "port", "services it may ask for", "character set of its objects that name none")
    return _table(header, rows or [("none", "", "", "", "")])


def _keys(config: Config) -> Iterator[str]:
    table = KeyTable([extended_key(text) for text in config.index.keys])
    for level in LEVELS:
        yield from (f"**{level}**", "")
        rows = [_key_row(attribute, table) for attribute in table.attributes if attribute.level == level]
        yield from _table(("attribute", "tag", "VR", "key", "matching, beside universal"), rows)
        yield ""


def _key_row(attribute: Attribute, table: KeyTable) -> tuple[str, ...]:
    key = _KEY_TYPES[attribute.key] + (", computed" if attribute.computed else "")
    matching = _matching(attribute) if _is_key(attribute, table) else "returned only: the zone of dates and times"
    return attribute.keyword, tag_text(attribute.tag), attribute.vr, key, matching


def _is_key(attribute: Attribute, table: KeyTable) -> bool:
    """Ask C-FIND itself whether it takes an attribute for a key; private ones are configured for that."""
    level = Element("CS", attribute.level.encode())
    identifier = DataSet({QUERY_RETRIEVE_LEVEL: level, attribute.tag: Element(attribute.vr)})
    keys = read_keys(identifier, "PATIENT", table).keys
    return bool(attribute.creator) or any(key is attribute for key, _ in keys)


def _worklist_keys(config: Config) -> Iterator[str]:
    rows = [
        (
            ("> " if key.in_step else "") + key.keyword,
            tag_text(key.tag),
            key.vr,
            key.return_type,
            _matching(key) if key.matched else "universal only",
        )
        for key in WORKLIST_KEYS
    ]
    return _table(("attribute", "tag", "VR", "return key type", "matching, beside universal"), rows)


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


def _web_resources(config: Config) -> Iterator[str]:
    """List what DICOMweb answers; without its packages there is nothing to list."""
    if not extras.has_web():
        return iter([f"(not answered: {extras.NEEDS_WEB})"])
    from minipacs.web.routes import ROUTES

    rows = [(r.method, f"`{r.path}`", r.summary, r.section, " or ".join(r.rights)) for r in ROUTES]
    return _table(("method", "path", "what", "PS3.18", "right"), rows)


def _web_returned(config: Config) -> Iterator[str]:
    if not extras.has_web():
        return iter([])
    from minipacs.web.dicomweb.search import ALWAYS

    return _table(("level", "attributes"), [(level, ", ".join(keywords)) for level, keywords in ALWAYS.items()])


def _storage_classes(config: Config) -> Iterator[str]:
    rows = [
        (name + (" (Retired)" if _is_retired(uid) else ""), f"`{uid}`")
        for uid, name in sorted(_names(config).items(), key=_by_uid)
    ]
    return _table((f"SOP class ({len(rows)})", "UID"), rows)


def _names(config: Config) -> Mapping[str, str]:
    """Give the storage SOP classes by UID, those of the configuration included."""
    return {**{uid: f"configured: {uid_name(uid)}" for uid in config.storage.sop_classes}, **STORAGE}


def _transfer_syntaxes(config: Config) -> Iterator[str]:
    rows = [
        (
            syntax.name + (" (Retired)" if _is_retired(uid) else ""),
            f"`{uid}`",
            "encapsulated" if syntax.encapsulated else "deflated" if syntax.deflated else "native",
        )
        for uid, syntax in sorted(TRANSFER_SYNTAXES.items(), key=_by_uid)
    ]
    return _table((f"transfer syntax ({len(rows)})", "UID", "Pixel Data"), rows)


def _is_retired(uid: str) -> bool:
    return is_retired(uid)


def _by_uid(entry: tuple[str, object]) -> list[int]:
    return [int(component) for component in entry[0].split(".")]


_TABLES: Mapping[str, Callable[[Config], Iterator[str]]] = {
    "identity": _identity,
    "services": _services,
    "timeouts": _timeouts,
    "settings": _settings,
    "user_identity": _user_identity,
    "security_profiles": _security_profiles,
    "audit_events": _audit_events,
    "peers": _peers,
    "keys": _keys,
    "worklist_keys": _worklist_keys,
    "web_resources": _web_resources,
    "web_returned": _web_returned,
    "storage_classes": _storage_classes,
    "transfer_syntaxes": _transfer_syntaxes,
}
"""What stands in the places of the template."""
