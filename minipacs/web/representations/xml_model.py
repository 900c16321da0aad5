"""Data sets as the Native DICOM Model, the XML that DICOMweb has beside JSON (PS3.19 A.1, PS3.18 8.7.3.2)."""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any
from xml.sax.saxutils import escape, quoteattr

from minipacs.dicom.tables.dictionary import keyword_of
from minipacs.web.representations.accept import Offer
from minipacs.web.representations.multipart import Writer

XML = Offer("application/dicom+xml", is_multipart=True)
NAMESPACE = "http://dicom.nema.org/PS3.19/models/NativeDICOM"

_NAME_PARTS = ("FamilyName", "GivenName", "MiddleName", "NamePrefix", "NameSuffix")
_NOT_IN_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""What XML 1.0 has no way to write, 2.2."""

Model = Mapping[str, Any]


def parts(writer: Writer, documents: Iterator[bytes]) -> Iterator[bytes]:
    """Give data sets, each written as JSON, as the parts of a body in XML."""
    for document in documents:
        yield writer.head(XML.media_type) + as_xml(json.loads(document))
    yield writer.close()


def as_xml(model: Model) -> bytes:
    """Write a data set that is in DICOM JSON as a document in XML."""
    head = f'<?xml version="1.0" encoding="UTF-8"?>\n<NativeDicomModel xmlns="{NAMESPACE}" xml:space="preserve">'
    return f"{head}{''.join(_attributes(model))}</NativeDicomModel>\n".encode("utf-8", "replace")


def _attributes(model: Model) -> Iterator[str]:
    for tag, found in model.items():
        yield f"<DicomAttribute{_naming(tag, model)} vr={quoteattr(found['vr'])}>"
        if "BulkDataURI" in found:
            yield f"<BulkData uri={_quoted(found['BulkDataURI'])}/>"
        elif "InlineBinary" in found:
            yield f"<InlineBinary>{found['InlineBinary']}</InlineBinary>"
        else:
            for number, value in enumerate(found.get("Value", ()), 1):
                yield from _value(found["vr"], number, value)
        yield "</DicomAttribute>"


def _naming(tag: str, model: Model) -> str:
    """Name an attribute: a private one by its creator, its block left out of the tag."""
    if int(tag[3], 16) % 2 and tag[4:6] != "00":
        creator = (model.get(f"{tag[:4]}00{tag[4:6]}", {}).get("Value") or [""])[0]
        if creator:
            return f' tag="{tag[:4]}00{tag[6:]}" privateCreator={_quoted(str(creator))}'
    keyword = keyword_of(int(tag, 16))
    return f' tag="{tag}"' + (f' keyword="{keyword}"' if keyword != tag else "")


def _value(vr: str, number: int, value: Any) -> Iterator[str]:
    if value is None:
        return
    if vr == "SQ":
        yield f'<Item number="{number}">'
        yield from _attributes(value)
        yield "</Item>"
    elif vr == "PN":
        yield f'<PersonName number="{number}">'
        for group, text in value.items():
            named = zip(_NAME_PARTS, text.split("^"), strict=False)
            yield f"<{group}>{''.join(f'<{name}>{_text(part)}</{name}>' for name, part in named if part)}</{group}>"
        yield "</PersonName>"
    else:
        yield f'<Value number="{number}">{_text(value)}</Value>'


def _text(value: object) -> str:
    return escape(_NOT_IN_XML.sub("\ufffd", str(value)), {"\r": "&#13;"})


def _quoted(value: str) -> str:
    return quoteattr(_NOT_IN_XML.sub("\ufffd", value))
