"""Whether an audit message is one: by the schema of PS3.15 A.5.1.1 and by the rows of A.5.3."""

from base64 import b64decode
from collections import Counter
from functools import cache
from pathlib import Path

import rnc2rng
from lxml import etree

from minipacs.audit.events import EVENTS, Event

KINDS = {("1", "1"): "patient", ("2", "13"): "resource"}


@cache
def schema() -> etree.RelaxNG:
    source = rnc2rng.load(str(Path(__file__).with_name("audit_message.rnc")))
    return etree.RelaxNG(etree.fromstring(rnc2rng.dumps(source).encode()))


def check(line: bytes) -> etree._Element:
    """Parse a message; raise AssertionError with what is wrong with it."""
    assert b"\n" not in line
    root = etree.fromstring(line)
    schema().validate(root)
    assert not schema().error_log, schema().error_log
    event = EVENTS[root.find("EventIdentification/EventID").get("csd-code")]
    check_event(root, event)
    check_participants(root, event)
    check_objects(root, event)
    return root


def check_event(root: etree._Element, event: Event) -> None:
    found = root.find("EventIdentification")
    assert found.find("EventID").get("originalText") == event.code.meaning
    assert found.get("EventActionCode") in event.actions
    types = [type_.get("csd-code") for type_ in found.findall("EventTypeCode")]
    assert len(types) == bool(event.types)
    assert set(types) <= {code.value for code in event.types}
    assert found.get("EventDateTime").endswith("+00:00")


def check_participants(root: etree._Element, event: Event) -> None:
    found = root.findall("ActiveParticipant")
    assert sum(p.get("UserIsRequestor") == "true" for p in found) <= 1
    roles = Counter(role.get("csd-code") if (role := p.find("RoleIDCode")) is not None else None for p in found)
    known = {code and code.value: bounds for code, bounds in event.roles.items()}
    assert set(roles) <= set(known), (roles, known)
    for role, (least, most) in known.items():
        assert least <= roles[role] <= most, (role, roles)


def check_objects(root: etree._Element, event: Event) -> None:
    kinds: Counter[str] = Counter()
    for found in root.findall("ParticipantObjectIdentification"):
        place = found.get("ParticipantObjectTypeCode"), found.get("ParticipantObjectTypeCodeRole")
        kinds[KINDS.get(place) or ("query" if found.find("ParticipantObjectQuery") is not None else "study")] += 1
        for detail in found.findall("ParticipantObjectDetail"):
            b64decode(detail.get("value"), validate=True)
    assert set(kinds) <= set(event.objects)
    for kind, (least, most) in event.objects.items():
        assert least <= kinds[kind] <= most, kinds
