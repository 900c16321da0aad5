"""What minipacs leans on in pynetdicom, most of it outside the library's documented interface.

Fails when a name is gone or means something else, so that a new release of the library is not found out by a peer.
"""

import ast
import importlib
from importlib.metadata import version
from pathlib import Path

import pytest
from pynetdicom import pdu, pdu_items, pdu_primitives

import minipacs
from tests.support import wire

PACKAGE = Path(minipacs.__file__).parent

IMPORTED = {
    "pynetdicom": {"pdu", "pdu_items"},
    "pynetdicom.pdu_primitives": {
        "A_ASSOCIATE",
        "AsynchronousOperationsWindowNegotiation",
        "ImplementationClassUIDNotification",
        "ImplementationVersionNameNotification",
        "MaximumLengthNotification",
        "SOPClassExtendedNegotiation",
    },
}


def imports_of(path: Path) -> list[tuple[str, str]]:
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "pynetdicom":
            found += [(node.module, alias.name) for alias in node.names]
        elif isinstance(node, ast.Import):
            found += [(alias.name, "") for alias in node.names if alias.name.split(".")[0] == "pynetdicom"]
    return found


def test_the_list_of_names_here_is_whole():
    used: dict[str, set[str]] = {}
    for path in PACKAGE.rglob("*.py"):
        for module, name in imports_of(path):
            assert path == PACKAGE / "net" / "wire" / "acse.py", "one module knows the library"
            used.setdefault(module, set()).add(name)
    assert used == IMPORTED


def test_the_names_exist():
    assert version("pynetdicom").startswith("3.0."), "the pin in setup.cfg"
    for module, names in IMPORTED.items():
        for name in names:
            assert hasattr(importlib.import_module(module), name), (module, name)


def decoded() -> pdu.A_ASSOCIATE_RQ:
    user = wire.user_information(
        4096,
        wire.item(0x53, bytes((0, 2, 0, 3))),
        wire.item(0x56, b"\0\x051.2.3\1\2"),
        wire.item(0x57, b"\0\x051.2.3\0\x051.2.4\0\7\0\x051.2.5"),
    )
    found = pdu.A_ASSOCIATE_RQ()
    found.decode(wire.associate_rq([], user=user))
    return found


def test_a_request_is_decoded_into_what_we_read():
    found = decoded()
    assert found.protocol_version == 1
    assert found.application_context_name == "1.2.840.10008.3.1.1.1"
    assert found.user_information.maximum_length == 4096


def test_user_items_are_decoded_into_what_we_read():
    found = {type(i): i for i in decoded().user_information.user_data}
    extended = found[pdu_items.SOPClassExtendedNegotiationSubItem]
    assert (extended.uid, extended.app_info) == ("1.2.3", b"\1\2")
    common = found[pdu_items.SOPClassCommonExtendedNegotiationSubItem]
    assert (common.sop_class_uid, common.service_class_uid) == ("1.2.3", "1.2.4")
    assert common.related_general_sop_class_identification == ["1.2.5"]
    assert pdu_items.AsynchronousOperationsWindowSubItem in found


def test_without_user_information_there_is_none():
    found = pdu.A_ASSOCIATE_RQ()
    found.decode(wire.associate_rq(user=b""))
    assert found.user_information is None


def test_an_answer_is_encoded_and_decoded():
    window = pdu_primitives.AsynchronousOperationsWindowNegotiation()
    window.maximum_number_operations_invoked = window.maximum_number_operations_performed = 1
    length = pdu_primitives.MaximumLengthNotification()
    length.maximum_length_received = 8192
    primitive = pdu_primitives.A_ASSOCIATE()
    primitive.application_context_name = "1.2.840.10008.3.1.1.1"
    primitive.calling_ae_title = primitive.called_ae_title = "ANY"
    primitive.result, primitive.result_source = 0, 1
    primitive.presentation_context_definition_results_list = []
    primitive.user_information = [length, window]
    sent = pdu.A_ASSOCIATE_AC()
    sent.from_primitive(primitive)
    found = pdu.A_ASSOCIATE_AC()
    found.decode(sent.encode())
    assert found.user_information.maximum_length == 8192
    assert wire.sub_items(sent.encode()[6:], 0x53) == [bytes((0, 1, 0, 1))]


@pytest.mark.parametrize(
    ("name", "attributes"),
    [
        ("ImplementationClassUIDNotification", {"implementation_class_uid": "2.25.1"}),
        ("ImplementationVersionNameNotification", {"implementation_version_name": "NAME"}),
        ("SOPClassExtendedNegotiation", {"sop_class_uid": "1.2", "service_class_application_information": b"\1"}),
    ],
)
def test_user_items_keep_what_is_set(name, attributes):
    found = getattr(pdu_primitives, name)()
    for attribute, value in attributes.items():
        assert hasattr(type(found), attribute), "a property, so that a misspelt one is noticed"
        setattr(found, attribute, value)
        assert getattr(found, attribute) == value
