"""What there is, told from THE table of resources (PS3.18 8.9)."""

import json
from collections.abc import Iterable
from typing import Any

from starlette.responses import Response

from minipacs import __version__
from minipacs.web.entity import etag, matches
from minipacs.web.environment import DICOM_WEB
from minipacs.web.routes import Route

EVERYTHING = frozenset({"/", "*", DICOM_WEB, f"{DICOM_WEB}/"})
"""Paths at which all resources are told."""


def document(routes: Iterable[Route]) -> dict[str, Any]:
    """Describe resources: their paths, and of each method what it does, who may, and where the standard has it."""
    paths: dict[str, list[dict[str, Any]]] = {}
    for route in routes:
        told = {"method": route.method, "summary": route.summary, "rights": list(route.rights)}
        paths.setdefault(route.path, []).append({**told, **({"section": route.section} if route.section else {})})
    resources = [{"path": path, "methods": methods} for path, methods in paths.items()]
    return {"server": "minipacs", "version": __version__, "resources": resources}


def answer(routes: Iterable[Route], allowed: Iterable[str], has_already: str = "") -> Response:
    """Answer OPTIONS for some resources; `has_already` is If-None-Match (PS3.18 8.9.3.1)."""
    body = json.dumps(document(routes))
    tag = etag([], body)
    more = {"Allow": ", ".join(sorted({*allowed, "OPTIONS"})), "Cache-Control": "no-cache", "ETag": tag}
    if matches(has_already, tag):
        return Response(status_code=304, headers=more)
    return Response(body, media_type="application/json", headers=more)
