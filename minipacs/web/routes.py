"""THE table of resources: what answers each path and method, who may, and where the standard says so."""

from collections.abc import Sequence
from dataclasses import dataclass

from minipacs.dicom.tables.attributes import Level
from minipacs.net.identity.rights import Right
from minipacs.web.api import change_feed, objects, operations, queues, sending, session
from minipacs.web.api import worklist as schedule
from minipacs.web.dicomweb.bulk_data import bulk_data
from minipacs.web.dicomweb.delete import delete
from minipacs.web.dicomweb.frames import frames
from minipacs.web.dicomweb.metadata import metadata
from minipacs.web.dicomweb.rendered import rendered, thumbnail
from minipacs.web.dicomweb.retrieve import retrieve
from minipacs.web.dicomweb.search import counting, searching
from minipacs.web.dicomweb.store import store
from minipacs.web.dicomweb.wado_uri import wado
from minipacs.web.environment import DICOM_WEB, Handler
from minipacs.web.site import ohif, page
from minipacs.web.workflow import commitment, performed_steps, worklist


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

_SCHEDULED = f"{DICOM_WEB}/modality-scheduled-procedure-steps"
_PERFORMED = f"{DICOM_WEB}/modality-performed-procedure-steps/{{step}}"
_COMMITMENT = f"{DICOM_WEB}/commitment-requests/{{transaction}}"

_API = "/api/v1"

_SEARCHES: tuple[tuple[str, Level, str], ...] = (
    ("/patients", "PATIENT", "patients"),
    ("/studies", "STUDY", "studies"),
    ("/series", "SERIES", "series"),
    ("/instances", "IMAGE", "instances"),
    ("/studies/{study}/series", "SERIES", "series of a study"),
    ("/studies/{study}/instances", "IMAGE", "instances of a study"),
    ("/studies/{study}/series/{series}/instances", "IMAGE", "instances of a series"),
)

ROUTES: tuple[Route, ...] = (
    *(
        Route("GET", f"{DICOM_WEB}{path}", searching(level), ("read",), "10.6", f"search for {what}")
        for path, level, what in _SEARCHES
    ),
    *(
        Route("GET", f"{DICOM_WEB}{path}/count", counting(level), ("read",), "", f"the number of {what}")
        for path, level, what in _SEARCHES
    ),
    *(
        Route("GET", f"{path}/metadata", metadata, ("read",), "10.4.1.1.2", f"metadata of {what}")
        for path, what in ((_STUDY, "a study"), (_SERIES, "a series"), (_INSTANCE, "an instance"))
    ),
    Route("GET", f"{_INSTANCE}/frames/{{frames}}", frames, ("read",), "10.4.1.1.6", "frames of an instance"),
    *(
        Route("GET", f"{path}/{name}", handler, ("read",), section, f"{what} of {of}")
        for name, handler, section, what in (
            ("rendered", rendered, "10.4.1.1.3", "a picture"),
            ("thumbnail", thumbnail, "10.4.1.1.4", "a small picture"),
        )
        for path, of in (
            (_STUDY, "a study"),
            (_SERIES, "a series"),
            (_INSTANCE, "an instance"),
            (f"{_INSTANCE}/frames/{{frames}}", "a frame"),
        )
    ),
    Route("GET", f"{_INSTANCE}/bulkdata/{{element}}", bulk_data, ("read",), "10.4.1.1.5", "a value of an instance"),
    Route(
        "GET", f"{_STUDY}/instances/{{instance}}/bulkdata/{{element}}", bulk_data, ("read",), "10.4.1.1.5", "the same"
    ),
    Route("GET", _SCHEDULED, worklist.search, ("read", "worklist"), "14.4", "search for scheduled procedure steps"),
    Route(
        "POST", _PERFORMED, performed_steps.post, ("mpps", "admin"), "15.4, 15.5", "begin or change a performed step"
    ),
    Route("GET", _PERFORMED, performed_steps.get, ("read", "mpps"), "15.6", "a performed procedure step"),
    Route("POST", _COMMITMENT, commitment.ask_for, ("commit", "store"), "13.4", "ask for storage commitment"),
    Route("GET", _COMMITMENT, commitment.result, ("commit", "store"), "13.5", "what became of it"),
    Route("POST", f"{DICOM_WEB}/studies", store, ("store",), "10.5", "store instances"),
    Route("POST", _STUDY, store, ("store",), "10.5", "store instances of a study"),
    *(
        Route("DELETE", path, delete, ("delete",), "", f"remove {what}")
        for path, what in ((_STUDY, "a study"), (_SERIES, "a series"), (_INSTANCE, "an instance"))
    ),
    Route("GET", _STUDY, retrieve, ("read",), "10.4", "the instances of a study"),
    Route("GET", _SERIES, retrieve, ("read",), "10.4", "the instances of a series"),
    Route("GET", _INSTANCE, retrieve, ("read",), "10.4", "an instance"),
    Route("GET", "/wado", wado, ("read",), "9", "an object, or a picture of it, by WADO-URI"),
    Route("GET", f"{DICOM_WEB}/changefeed", change_feed.feed, ("read",), "", "changes of the archive"),
    Route("GET", f"{DICOM_WEB}/changefeed/latest", change_feed.latest, ("read",), "", "the last change"),
    Route("GET", f"{DICOM_WEB}/extendedquerytags", change_feed.tags, ("read",), "", "keys that were added"),
    Route("GET", f"{DICOM_WEB}/extendedquerytags/{{tag}}", change_feed.tag, ("read",), "", "a key that was added"),
    *(
        Route("GET", f"{_API}/{path}", handler, ("admin",), "", what)
        for path, handler, what in (
            ("statistics", operations.statistics, "how much there is"),
            ("associations", operations.associations, "the last associations"),
            ("associations/{association}", operations.association, "one association"),
            ("quarantine", operations.quarantine, "files that were set aside"),
            ("conflicts", operations.conflicts, "objects that disagree"),
            ("growth", operations.growth, "what came on each day"),
            ("health", operations.health, "whether objects can be stored, and what was found wrong"),
            ("queue", queues.listing, "what waits to be done for others"),
            ("commitments", queues.commitments, "storage commitments"),
        )
    ),
    Route("POST", f"{_API}/queue/{{item}}/retry", queues.retry, ("admin",), "", "let an item be tried now"),
    Route("DELETE", f"{_API}/queue/{{item}}", queues.drop, ("admin",), "", "forget an item"),
    Route(
        "POST",
        f"{_API}/commitments/{{item}}/retry",
        queues.retry_commitment,
        ("admin",),
        "",
        "let a peer be told again",
    ),
    Route("GET", f"{_API}/session", session.show, (), "", "who asks, and what they may"),
    Route("POST", f"{_API}/session", session.sign_in, (), "", "sign in"),
    Route("DELETE", f"{_API}/session", session.sign_out, (), "", "sign out"),
    Route("POST", f"{_API}/presence", objects.presence, ("read", "store"), "", "which of many instances are stored"),
    Route("GET", f"{_API}/removal", objects.removal, ("delete",), "", "what a removal would take"),
    Route("GET", f"{_API}/peers", sending.peers, ("read", "retrieve"), "", "peers that one can send to"),
    Route("POST", f"{_API}/sends", sending.order, ("read", "retrieve"), "", "send to a peer"),
    Route("GET", f"{_API}/sends", sending.listing, ("read", "retrieve"), "", "what was sent to peers, or is to be"),
    Route("GET", f"{_API}/sends/{{send}}", sending.show, ("read", "retrieve"), "", "how far that is"),
    Route("DELETE", f"{_API}/sends/{{send}}", sending.drop, ("read", "retrieve"), "", "call it off"),
    Route("GET", f"{_API}/worklist", schedule.listing, ("read", "worklist", "admin"), "", "steps with their ids"),
    Route("POST", f"{_API}/worklist", schedule.add, ("admin",), "", "schedule a step"),
    Route("POST", f"{_API}/worklist/{{item}}/cancel", schedule.cancel, ("admin",), "", "cancel a step"),
    Route("DELETE", f"{_API}/worklist/{{item}}", schedule.remove, ("admin",), "", "remove a step"),
    Route("GET", "/", page.page, (), "", "the page"),
    Route("GET", "/assets/{file}", page.asset, (), "", "a part of the page"),
    Route("GET", "/ohif", ohif.enter, (), "", "the way to OHIF"),
    Route("GET", "/ohif/", ohif.ohif, (), "", "OHIF, where it is installed"),
    Route("GET", "/ohif/{path}", ohif.ohif, (), "", "a part of OHIF"),
)
