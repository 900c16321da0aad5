"""The XML of searches and metadata says what their JSON says."""

from typing import Any
from xml.etree import ElementTree

import pytest

from minipacs.web.representations.xml_model import NAMESPACE, as_xml
from tests.support.objects import ct
from tests.support.web import Web
from tests.web.test_retrieve import FOLDER, parts, path_of

ACCEPT = 'multipart/related; type="application/dicom+xml"'


def tag(name: str) -> str:
    return f"{{{NAMESPACE}}}{name}"


def read(element: ElementTree.Element) -> dict[str, Any]:
    """Read a data set back to DICOM JSON, values as text."""
    found: dict[str, Any] = {}
    for attribute in element.findall(tag("DicomAttribute")):
        vr, values = attribute.get("vr"), []
        for child in attribute:
            if child.tag == tag("Item"):
                values.append(read(child))
            elif child.tag == tag("PersonName"):
                values.append({part.tag.rpartition("}")[2]: "^".join(t.text or "" for t in part) for part in child})
            elif child.tag == tag("Value"):
                values.append(child.text or "")
            elif child.tag == tag("BulkData"):
                values.append(child.get("uri"))
            else:
                values.append(child.text)
        found[f"{attribute.get('privateCreator', '')}{attribute.get('tag')}"] = (vr, values)
    return found


def flattened(model: dict[str, Any]) -> dict[str, Any]:
    """Give DICOM JSON in the same form."""
    found: dict[str, Any] = {}
    for name, attribute in model.items():
        values = attribute.get("Value", ())
        if attribute["vr"] == "SQ":
            values = [flattened(item) for item in values]
        elif attribute["vr"] == "PN":
            values = [{k: "^".join(filter(None, v.split("^"))) for k, v in value.items()} for value in values if value]
        else:
            values = [str(value) for value in values if value is not None]
        values += [attribute[kind] for kind in ("BulkDataURI", "InlineBinary") if kind in attribute]
        if int(name[3], 16) % 2 and name[4:6] != "00":
            creator = model[f"{name[:4]}00{name[4:6]}"]["Value"][0]
            name = f"{creator}{name[:4]}00{name[6:]}"
        found[name] = (attribute["vr"], values)
    return found


@pytest.mark.parametrize("name", ["CT_small.dcm", "rtplan.dcm", "test-SR.dcm", "examples_palette.dcm"])
def test_metadata(web: Web, name: str):
    ds = web.store_file(FOLDER / name)
    path = f"{path_of(ds, 'series')}/metadata"
    ((kind, document),) = parts(web.get(path, accept=ACCEPT))
    assert kind == "application/dicom+xml"
    assert read(ElementTree.fromstring(document)) == flattened(web.get(path).json[0])


def test_searches(web: Web):
    web.store(ct(PatientName="Doe^Jane"), ct(PatientName="<Roe>&^\"John'"))
    found = parts(web.get("/studies", accept=ACCEPT))
    wanted = [flattened(row) for row in web.get("/studies").json]
    assert [read(ElementTree.fromstring(document)) for _, document in found] == wanted
    nothing = web.get("/studies?PatientID=nobody", accept=ACCEPT)  # a multipart body has at least one part
    assert (nothing.status, nothing.body) == (204, b"")


def test_what_xml_cannot_write():
    document = as_xml({"00104000": {"vr": "LT", "Value": ["a\x1b\x00\ufffeb\ud800"]}})
    (value,) = ElementTree.fromstring(document).iter(tag("Value"))
    assert value.text is not None
    assert value.text.startswith("a\ufffd")


def test_json_is_the_default(web: Web):
    web.store(ct())
    for accept in ("*/*", f"{ACCEPT}; q=0.5, application/dicom+json"):
        assert web.get("/studies", accept=accept).headers["content-type"] == "application/dicom+json"
