"""What an order message asks for: the steps of studies, scheduled, or taken back (IHE RAD-4, RAD-13)."""

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from minipacs.dicom.data_set.values import MutableValues, Values, items, text
from minipacs.dicom.tables.dictionary import tag_named
from minipacs.dicom.workflow.orders import StudyName, StudyOrder
from minipacs.dicom.workflow.worklist import STEP_SEQUENCE
from minipacs.hl7 import mapping, patient
from minipacs.hl7.controls import CONTROLS, Deed
from minipacs.hl7.faults import DATA_TYPE, MISSING, SEGMENT_SEQUENCE, TABLE_VALUE, Refused
from minipacs.hl7.measurements import measured
from minipacs.hl7.message import Message
from minipacs.hl7.segments import Segment

MAX_STEPS = 100
"""Of one message."""


@dataclass(frozen=True, slots=True)
class Station:
    """Whose worklist an order goes to that names no station: of a modality, at a location by wild cards; "" for any."""

    title: str
    modality: str = ""
    location: str = ""

    def fits(self, modality: str, locations: Iterable[str]) -> bool:
        """Tell whether an order belongs here."""
        is_there = not self.location or any(fnmatchcase(found, self.location) for found in locations)
        return self.modality in ("", modality) and is_there


@dataclass(frozen=True, slots=True)
class Rules:
    """How orders are read: whose identifier is the Patient ID, and which stations there are."""

    authority: str = ""
    stations: Sequence[Station] = ()


_ACCESSION, _REQUEST_ID, _STUDY, _FILLER = map(
    tag_named,
    ("AccessionNumber", "RequestedProcedureID", "StudyInstanceUID", "FillerOrderNumberImagingServiceRequest"),
)
_STEP_ID, _MODALITY, _STATION, _CODES = map(
    tag_named,
    ("ScheduledProcedureStepID", "Modality", "ScheduledStationAETitle", "ScheduledProtocolCodeSequence"),
)
_DATE, _TIME = map(tag_named, ("ScheduledProcedureStepStartDate", "ScheduledProcedureStepStartTime"))
_SHORT = 16


def read_orders(message: Message, rules: Rules) -> list[StudyOrder]:
    """Read what a message asks for, a study each. Raises Refused."""
    is_omi = message.head.type == "OMI"
    shared, orders = _grouped(message)
    pid = shared.get("PID")
    if pid is None:
        raise Refused(SEGMENT_SEQUENCE, "no PID segment", "PID^1")
    whose = {**patient.identity(pid, 3, rules.authority), **mapping.values_of(mapping.PATIENT, shared)}
    body = measured(message.all("OBX"))
    found: dict[StudyName, StudyOrder] = {}
    if len(orders) > MAX_STEPS:
        raise Refused(DATA_TYPE, f"more than {MAX_STEPS} steps in one message")
    for context in orders:
        deed = _deed(context)
        visit = mapping.values_of(mapping.VISIT, context)
        request = mapping.values_of(mapping.REQUEST, context, is_omi=is_omi)
        name = _name(request)
        order = found.setdefault(name, StudyOrder(name, whose))
        step = mapping.values_of(mapping.STEP, context, is_omi=is_omi)
        step_id = _step_id(step, request)
        if deed is Deed.SCHEDULE:
            request.setdefault(_REQUEST_ID, _short(name.accession_number) or step_id)
            _schedule(order, {**whose, **body, **visit, **request}, _complete(step, step_id, context, rules))
        else:
            (order.taken_back if deed is Deed.TAKE_BACK else order.completed).append(step_id)
    return list(found.values())


def _grouped(message: Message) -> tuple[dict[str, Segment], list[mapping.Context]]:
    """Sort the segments: those of the patient, and for each step those that it may be read from."""
    shared: dict[str, Segment] = {}
    orders: list[tuple[dict[str, Segment], list[Segment]]] = []
    notes_of = "PID"
    for segment in message.segments:
        name = segment.name
        if name == "ORC" or (name == "OBR" and (not orders or "OBR" in orders[-1][0])):
            orders.append(({}, []))
        if name in ("PID", "OBR"):
            notes_of = name
        if name == "NTE":
            (orders[-1][0] if orders else shared).setdefault(f"{notes_of}>NTE", segment)
        elif name == "IPC" and orders:
            orders[-1][1].append(segment)
        elif name in ("ORC", "OBR", "TQ1", "ZDS") and orders:
            orders[-1][0].setdefault(name, segment)
        else:
            shared.setdefault(name, segment)
    if not orders:
        raise Refused(SEGMENT_SEQUENCE, "no ORC segment", "ORC^1")
    zds = next((order["ZDS"] for order, _ in orders if "ZDS" in order), None)
    if zds is not None:
        shared.setdefault("ZDS", zds)
    contexts: list[mapping.Context] = []
    for order, ipcs in orders:
        contexts += [{**shared, **order, "IPC": ipc} for ipc in ipcs] or [{**shared, **order}]
    return shared, contexts


def _deed(context: mapping.Context) -> Deed:
    orc = context.get("ORC")
    if orc is None:
        raise Refused(SEGMENT_SEQUENCE, "an OBR without an ORC before it", "ORC^1")
    control, status = orc.text(1).upper(), orc.text(5).upper()
    deed = CONTROLS.get((control, status))
    if deed is None:
        raise Refused(TABLE_VALUE, "order control and order status (ORC-1, ORC-5) that mean nothing here", "ORC^1^1")
    return deed


def _name(request: Values) -> StudyName:
    name = StudyName(*(text(request, tag) for tag in (_STUDY, _FILLER, _ACCESSION, _REQUEST_ID)))
    if not any(name):
        raise Refused(MISSING, "no study, order, accession or requested procedure is named", "OBR^1^18")
    return name


def _short(identifier: str) -> str:
    return identifier if len(identifier) <= _SHORT else ""


def _step_id(step: Values, request: Values) -> str:
    """Return the ID of a step; of one without, the request's."""
    named = text(step, _STEP_ID) or text(request, _REQUEST_ID) or text(request, _ACCESSION)
    found = named or _short(text(request, _FILLER))
    if not found:
        raise Refused(MISSING, "no scheduled procedure step ID, nor one of its request", "OBR^1^20")
    return found


def _complete(step: MutableValues, step_id: str, context: mapping.Context, rules: Rules) -> MutableValues:
    """Say what an order left open: when, and at which station."""
    step[_STEP_ID] = step_id
    if not text(step, _DATE):
        step[_DATE], step[_TIME] = time.strftime("%Y%m%d"), time.strftime("%H%M%S")
    if not text(step, _MODALITY):
        raise Refused(MISSING, "no modality", "IPC^1^5" if "IPC" in context else "OBR^1^24")
    if not text(step, _STATION):
        step[_STATION] = _station(text(step, _MODALITY), list(_locations(context)), rules.stations)
    return step


def _locations(context: mapping.Context) -> Iterator[str]:
    for name, number in (("PV1", 3), ("IPC", 8)):
        if name in context:
            yield context[name].text(number)


def _station(modality: str, locations: Sequence[str], stations: Iterable[Station]) -> str:
    for station in stations:
        if station.fits(modality, locations):
            return station.title
    raise Refused(MISSING, "no station is named, and none of [[station]] fits the order", "ORC^1^18")


def _schedule(order: StudyOrder, request: Values, step: Values) -> None:
    """Add a step; the same one again adds its protocol code (RAD-4: an ORC and OBR for each)."""
    for position, known in enumerate(order.requests):
        (item,) = items(known, STEP_SEQUENCE)
        if text(item, _STEP_ID) == text(step, _STEP_ID):
            codes = (*items(item, _CODES), *(code for code in items(step, _CODES) if code not in items(item, _CODES)))
            order.requests[position] = {**known, STEP_SEQUENCE: ({**item, **({_CODES: codes} if codes else {})},)}
            return
    order.requests.append({**request, STEP_SEQUENCE: (step,)})
