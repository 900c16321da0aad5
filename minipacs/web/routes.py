"""THE table of resources: what answers each path and method, who may, and where the standard says so."""

from collections.abc import Sequence
from dataclasses import dataclass

from minipacs.net.identity.rights import Right
from minipacs.web.environment import DICOM_WEB, Handler
from minipacs.web.metadata import metadata
from minipacs.web.retrieve import retrieve


@dataclass(frozen=True, slots=True)
class Route:
    """A row: `path` is a template, its variable parts in braces; `rights` of which one is enough, none needs none."""

    method: str
    path: str
    handler: Handler
    rights: Sequence[Right]
    section: str
    summary: str


_STUDY = f"{DICOM_WEB}/studies/{{study}}"
_SERIES = f"{_STUDY}/series/{{series}}"
_INSTANCE = f"{_SERIES}/instances/{{instance}}"

ROUTES: tuple[Route, ...] = (
    *(
        Route("GET", f"{path}/metadata", metadata, ("read",), "10.4.1.1.2", f"metadata of {what}")
        for path, what in ((_STUDY, "a study"), (_SERIES, "a series"), (_INSTANCE, "an instance"))
    ),
    Route("GET", _STUDY, retrieve, ("read",), "10.4", "the instances of a study"),
    Route("GET", _SERIES, retrieve, ("read",), "10.4", "the instances of a series"),
    Route("GET", _INSTANCE, retrieve, ("read",), "10.4", "an instance"),
)
