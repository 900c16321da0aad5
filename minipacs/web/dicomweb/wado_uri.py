"""WADO-URI: one object, or a picture of it, by the parameters of old viewers (PS3.18 9)."""

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType

from starlette.responses import Response

from minipacs.dicom.tables.uids import is_uid
from minipacs.web.answers import Refusal
from minipacs.web.dicomweb.intake import DICOM
from minipacs.web.dicomweb.rendered import PICTURES, rendered
from minipacs.web.dicomweb.retrieve import retrieve
from minipacs.web.environment import Ask

_UIDS: Mapping[str, str] = MappingProxyType({"study": "studyuid", "series": "seriesuid", "instance": "objectuid"})
_PICTURES = tuple(offer.media_type for offer in PICTURES)

_NOT_DONE = ("anonymize", "presentationuid", "presentationseriesuid")
"""Parameters that would change what is shown, and are refused rather than passed over (PS3.18 9.1.2)."""


async def wado(ask: Ask) -> Response:
    """Answer as the resource that the parameters stand for. Raises Refusal 400, 406."""
    if (ask.parameter("requesttype") or "").upper() != "WADO":
        raise Refusal(400, "requestType must be WADO")
    for name in _NOT_DONE:
        if ask.parameter(name):
            raise Refusal(406, f"{name} is not done here")
    path = {part: ask.parameter(name) or "" for part, name in _UIDS.items()}
    if not all(map(is_uid, path.values())):
        raise Refusal(400, "studyUID, seriesUID and objectUID are UIDs")
    wished = [word.partition(";")[0].strip().lower() for word in (ask.parameter("contenttype") or "").split(",")]
    if DICOM in wished:
        syntax = ask.parameter("transfersyntax") or ""
        accept = f"{DICOM}; transfer-syntax={syntax}" if is_uid(syntax) else DICOM
        return await retrieve(_asking(ask, path, [("accept", accept)]))
    pictures = [word for word in wished if word in _PICTURES]
    if not pictures and wished != [""] and "*/*" not in wished and "image/*" not in wished:
        raise Refusal(406, f"contentType may be {DICOM}, {', '.join(_PICTURES)}")
    frame = ask.parameter("framenumber")
    if frame is not None:
        path["frames"] = frame
    return await rendered(_asking(ask, path, [("accept", pictures[0] if pictures else _PICTURES[0]), *_rendering(ask)]))


def _rendering(ask: Ask) -> list[tuple[str, str]]:
    """Put the parameters of a picture in the words of WADO-RS."""
    found: list[tuple[str, str]] = []
    center, width = ask.parameter("windowcenter"), ask.parameter("windowwidth")
    if (center is None) != (width is None):
        raise Refusal(400, "windowCenter and windowWidth come together")
    if center is not None:
        found.append(("window", f"{center},{width},linear"))
    rows, columns = ask.parameter("rows"), ask.parameter("columns")
    if rows is not None or columns is not None:
        found.append(("viewport", f"{columns or rows},{rows or columns}"))
    if ask.parameter("region") is not None:
        raise Refusal(406, "region is not done here: WADO-RS has viewport")
    quality = ask.parameter("imagequality")
    if quality is not None:
        found.append(("quality", quality))
    annotation = ask.parameter("annotation")
    if annotation is not None:
        found.append(("annotation", annotation))
    return found


def _asking(ask: Ask, path: Mapping[str, str], parameters: list[tuple[str, str]]) -> Ask:
    """Make the request that WADO-RS would have been sent; what it is to be says the query alone, no Accept."""
    headers = [(name, value) for name, value in ask.scope["headers"] if name != b"accept"]
    return replace(ask, scope={**ask.scope, "headers": headers}, path=path, parameters=parameters)
