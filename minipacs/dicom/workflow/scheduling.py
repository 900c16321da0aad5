"""The one way into the worklist: what somebody knows of a request becomes steps with all that an answer must hold.

The same request gives the same identifiers whenever it comes: they are derived from it where it names none, so that
images come with the Study Instance UID that was answered before (PS3.4 K.6.1.2.2).
"""

import re
import uuid
from collections.abc import Iterable
from hashlib import sha256

from minipacs.dicom.data_set.json_values import dumps
from minipacs.dicom.data_set.values import MutableValues, Values, items, text
from minipacs.dicom.tables.uids import is_uid
from minipacs.dicom.workflow.worklist import BY_KEYWORD, REQUEST_KEYS, STEP_KEYS, STEP_SEQUENCE, WorklistKey
from minipacs.errors import MinipacsError

MAX_STEPS = 100
"""Of one request."""

_NAMESPACE = uuid.UUID("6f5d9a1e-5a0c-4c53-9d4c-0c2f0f1c7d7b")
_CODE_MEANING = 0x00080104
_DERIVED_ID_LENGTH = 12

_DATE = re.compile(r"\d{4}\.?(0[1-9]|1[0-2])\.?(0[1-9]|[12]\d|3[01])", re.ASCII)
_TIME = re.compile(r"([01]\d|2[0-3])(:?[0-5]\d(:?([0-5]\d|60)(\.\d{1,6})?)?)?", re.ASCII)
_AE_TITLES = re.compile(r"[ -\[\]-~]{1,16}(\\[ -\[\]-~]{1,16})*")

_REQUIRED = {
    "PatientName": None,
    "PatientID": None,
    "ScheduledStationAETitle": _AE_TITLES,
    "ScheduledProcedureStepStartDate": _DATE,
    "ScheduledProcedureStepStartTime": _TIME,
    "Modality": None,
}
"""What cannot be derived, with the form that it must have."""

_DESCRIPTION = BY_KEYWORD["RequestedProcedureDescription"].tag
_CODES = BY_KEYWORD["RequestedProcedureCodeSequence"].tag
_STEP_DESCRIPTION = BY_KEYWORD["ScheduledProcedureStepDescription"].tag
_PROTOCOL_CODES = BY_KEYWORD["ScheduledProtocolCodeSequence"].tag
_REQUEST_ID = BY_KEYWORD["RequestedProcedureID"].tag
_STEP_ID = BY_KEYWORD["ScheduledProcedureStepID"].tag
_STUDY_UID = BY_KEYWORD["StudyInstanceUID"].tag
_MODALITY = BY_KEYWORD["Modality"].tag


class Unschedulable(MinipacsError):
    """A request that lacks something, or has something malformed; the message names it."""


def steps_of(values: Values) -> list[Values]:
    """Make one set of values for each scheduled step of a request, complete by PS3.4 Table K.6-1.

    Attributes of a step that stand beside the Scheduled Procedure Step Sequence hold for all its steps. Raises
    Unschedulable.
    """
    shared = {tag: value for tag, value in values.items() if tag in STEP_KEYS}
    request = {tag: value for tag, value in values.items() if tag not in STEP_KEYS and tag != STEP_SEQUENCE}
    given = items(values, STEP_SEQUENCE) or ({},)
    if len(given) > MAX_STEPS:
        raise Unschedulable(f"has more than {MAX_STEPS} scheduled procedure steps")
    steps = [dict(_described({**shared, **step}, request)) for step in given]
    _identify(request, steps)
    request = {**_empty(REQUEST_KEYS.values()), **request}
    complete: list[Values] = []
    for step in steps:
        _check(request, step)
        complete.append({**request, STEP_SEQUENCE: ({**_empty(STEP_KEYS.values()), **step},)})
    if len({text(step, _STEP_ID) for step in steps}) < len(steps):
        raise Unschedulable("has the same ScheduledProcedureStepID twice")
    return complete


def _described(step: Values, request: Values) -> Values:
    """Give a step its description if nothing else says what is to be done."""
    if text(step, _STEP_DESCRIPTION) or items(step, _PROTOCOL_CODES):
        return step
    codes = items(request, _CODES)
    found = text(request, _DESCRIPTION) or (text(codes[0], _CODE_MEANING) if codes else "") or text(step, _MODALITY)
    return {**step, _STEP_DESCRIPTION: found}


def _identify(request: MutableValues, steps: list[MutableValues]) -> None:
    """Fill in what names the request and its steps, and its description if it has neither that nor a code."""
    derived = sha256(dumps({**request, STEP_SEQUENCE: tuple(steps)}).encode()).hexdigest()[:_DERIVED_ID_LENGTH].upper()
    for position, step in enumerate(steps, 1):
        if not text(step, _STEP_ID):
            step[_STEP_ID] = derived if len(steps) == 1 else f"{derived}-{position}"
    if not text(request, _REQUEST_ID):
        request[_REQUEST_ID] = text(request, BY_KEYWORD["AccessionNumber"].tag) or derived
    if not text(request, _DESCRIPTION) and not items(request, _CODES):
        request[_DESCRIPTION] = text(steps[0], _STEP_DESCRIPTION) or text(steps[0], _MODALITY)
    if not text(request, _STUDY_UID):
        names = ("IssuerOfPatientID", "PatientID", "AccessionNumber", "RequestedProcedureID")
        identity = "\n".join(text(request, BY_KEYWORD[name].tag) for name in names)
        request[_STUDY_UID] = f"2.25.{uuid.uuid5(_NAMESPACE, identity).int}"


def _check(request: Values, step: Values) -> None:
    missing = [name for name in _REQUIRED if not _value(request, step, BY_KEYWORD[name])]
    if missing:
        raise Unschedulable(f"lacks {', '.join(missing)}")
    for name, form in _REQUIRED.items():
        if form is not None and not form.fullmatch(_value(request, step, BY_KEYWORD[name])):
            raise Unschedulable(f"has a malformed {name}")
    if not is_uid(text(request, _STUDY_UID)):
        raise Unschedulable("has a malformed StudyInstanceUID")


def _value(request: Values, step: Values, key: WorklistKey) -> str:
    return text(step if key.in_step else request, key.tag)


def _empty(keys: Iterable[WorklistKey]) -> MutableValues:
    """Give what must be in an answer even without a value: the return keys of type 2 (PS3.4 K.2.2.1.2)."""
    return {k.tag: () if k.vr == "SQ" else "" for k in keys if k.return_type in ("2", "2C")}
