"""Modality Performed Procedure Step: THE table of its attributes, and the rules of its states (PS3.4 F.7.2)."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from minipacs.dicom.data_set.values import MutableValues, Values, items, text, vr_of
from minipacs.dicom.tables.dictionary import keyword_of, tag_named
from minipacs.dicom.tables.uids import is_uid
from minipacs.errors import Failure, Kind

IN_PROGRESS, COMPLETED, DISCONTINUED = "IN PROGRESS", "COMPLETED", "DISCONTINUED"
FINAL = (COMPLETED, DISCONTINUED)


@dataclass(frozen=True, slots=True)
class Rule:
    """An attribute of the step: its type in an N-CREATE, whether an N-SET may change it, its type in a final state.

    "" is a type where nothing is asked for. `items` are the rules for the items of a sequence.
    """

    tag: int
    create: str
    final: str
    items: tuple["Rule", ...] = ()
    settable: bool = False


def _rule(keyword: str, create: str, final: str = "", *items: Rule, settable: bool = False) -> Rule:
    return Rule(tag_named(keyword), create, final, items, settable=settable)


_REFERENCE = (_rule("ReferencedSOPClassUID", "1", "1"), _rule("ReferencedSOPInstanceUID", "1", "1"))

_SCHEDULED_STEP = (
    _rule("StudyInstanceUID", "1"),
    _rule("ReferencedStudySequence", "2", "", *_REFERENCE),
    _rule("AccessionNumber", "2"),
    _rule("RequestedProcedureID", "2"),
    _rule("RequestedProcedureDescription", "2"),
    _rule("ScheduledProcedureStepID", "2"),
    _rule("ScheduledProcedureStepDescription", "2"),
    _rule("ScheduledProtocolCodeSequence", "2"),
)

_SERIES = (
    _rule("PerformingPhysicianName", "2", "2"),
    _rule("ProtocolName", "1", "1"),
    _rule("OperatorsName", "2", "2"),
    _rule("SeriesInstanceUID", "1", "1"),
    _rule("SeriesDescription", "2", "2"),
    _rule("RetrieveAETitle", "2", "2"),
    _rule("ReferencedImageSequence", "2", "2", *_REFERENCE),
    _rule("ReferencedNonImageCompositeSOPInstanceSequence", "2", "2", *_REFERENCE),
)

RULES: tuple[Rule, ...] = (
    _rule("ScheduledStepAttributesSequence", "1", "", *_SCHEDULED_STEP),
    _rule("PatientName", "2"),
    _rule("PatientID", "2"),
    _rule("PatientBirthDate", "2"),
    _rule("PatientSex", "2"),
    _rule("ReferencedPatientSequence", "2", "", *_REFERENCE),
    _rule("PerformedProcedureStepID", "1"),
    _rule("PerformedStationAETitle", "1"),
    _rule("PerformedStationName", "2"),
    _rule("PerformedLocation", "2"),
    _rule("PerformedProcedureStepStartDate", "1"),
    _rule("PerformedProcedureStepStartTime", "1"),
    _rule("PerformedProcedureStepStatus", "1", "1", settable=True),
    _rule("PerformedProcedureStepDescription", "2", "2", settable=True),
    _rule("PerformedProcedureTypeDescription", "2", "2", settable=True),
    _rule("ProcedureCodeSequence", "2", "2", settable=True),
    _rule("PerformedProcedureStepEndDate", "2", "1", settable=True),
    _rule("PerformedProcedureStepEndTime", "2", "1", settable=True),
    _rule("PerformedProcedureStepDiscontinuationReasonCodeSequence", "2", "2", settable=True),
    _rule("CommentsOnThePerformedProcedureStep", "3", "3", settable=True),
    _rule("Modality", "1"),
    _rule("StudyID", "2"),
    _rule("PerformedProtocolCodeSequence", "2", "2", settable=True),
    _rule("PerformedSeriesSequence", "2", "1", *_SERIES, settable=True),
)
"""PS3.4 Table F.7.2-1. What it does not name is kept as it comes; an N-SET may change that too if it was created."""

MAX_SCHEDULED_STEPS = 1000
"""Scheduled steps that one performed step may refer to: all change their state in one commit."""

_FIXED = frozenset(rule.tag for rule in RULES if not rule.settable)
_STATUS = tag_named("PerformedProcedureStepStatus")
_SERIES_SEQUENCE = tag_named("PerformedSeriesSequence")
_REFERENCES = tag_named("ReferencedImageSequence"), tag_named("ReferencedNonImageCompositeSOPInstanceSequence")
_REFERENCED_UID = tag_named("ReferencedSOPInstanceUID")
_SCHEDULED = tag_named("ScheduledStepAttributesSequence")
_STUDY_UID, _STEP_ID = tag_named("StudyInstanceUID"), tag_named("ScheduledProcedureStepID")


def status_of(values: Values) -> str:
    """Return the state of a step."""
    return text(values, _STATUS)


def scheduled_steps(values: Values) -> list[tuple[str, str]]:
    """List the worklist steps that a step refers to: Study Instance UID and step ID; none if it was not scheduled."""
    found = ((text(item, _STUDY_UID), text(item, _STEP_ID)) for item in items(values, _SCHEDULED))
    return [(study, step) for study, step in found if study and step]


def referenced(values: Values) -> set[str]:
    """Return the SOP Instance UIDs of what a step has made."""
    of_series = [
        item for series in items(values, _SERIES_SEQUENCE) for tag in _REFERENCES for item in items(series, tag)
    ]
    return {text(item, _REFERENCED_UID) for item in of_series}


def created(values: Values) -> MutableValues:
    """Return the attributes of a new step: those of an N-CREATE, and those of type 2 that it left out.

    Raises Failure INVALID, MISSING, EMPTY or TOO_MANY with the attributes at fault (PS3.4 F.7.2.1).
    """
    if len(items(values, _SCHEDULED)) > MAX_SCHEDULED_STEPS:
        raise Failure(Kind.TOO_MANY, f"refers to more than {MAX_SCHEDULED_STEPS} scheduled steps", [_SCHEDULED])
    _check_types(values, RULES, "create")
    if status_of(values) != IN_PROGRESS:
        raise _invalid([_STATUS], f"must be {IN_PROGRESS}")
    _check_values(values)
    return {**{r.tag: () if vr_of(r.tag) == "SQ" else "" for r in RULES if r.create == "2"}, **values}


def changed(stored: Values, changes: Values) -> MutableValues:
    """Return the attributes of a step after an N-SET: whole sequences are replaced.

    Raises Failure FINAL after the final state, NOT_SETTABLE for what cannot be set, INVALID, MISSING or EMPTY, each
    with the attributes at fault (PS3.4 F.7.2.2).
    """
    if status_of(stored) in FINAL:
        raise Failure(Kind.FINAL, "Performed Procedure Step Object may no longer be updated")
    refused = [tag for tag in changes if tag in _FIXED or tag not in stored]
    if refused:
        raise Failure(Kind.NOT_SETTABLE, f"cannot be set: {_names(refused)}", refused)
    found = {**stored, **changes}
    if status_of(found) not in (IN_PROGRESS, *FINAL):
        raise _invalid([_STATUS], f"must be {IN_PROGRESS}, {COMPLETED} or {DISCONTINUED}")
    _check_values(changes)
    if status_of(found) in FINAL:
        nothing_done = status_of(found) == DISCONTINUED and not items(found, _SERIES_SEQUENCE)
        _check_types(found, [r for r in RULES if not (nothing_done and r.tag == _SERIES_SEQUENCE)], "final")
    return found


def _check_types(values: Values, rules: Sequence[Rule], column: str) -> None:
    faults = list(_faults(values, rules, column))
    missing = [tag for tag, is_absent in faults if is_absent]
    if missing:
        raise Failure(Kind.MISSING, f"missing: {_names(missing)}", missing)
    if faults:
        empty = [tag for tag, _ in faults]
        raise Failure(Kind.EMPTY, f"without a value: {_names(empty)}", empty)


def _faults(values: Values, rules: Sequence[Rule], column: str) -> Iterator[tuple[int, bool]]:
    """Give the attributes of type 1 that are absent, or present without a value."""
    for rule in rules:
        if getattr(rule, column) == "1" and not values.get(rule.tag):
            yield rule.tag, rule.tag not in values
        for item in items(values, rule.tag) if rule.items else ():
            yield from _faults(item, rule.items, column)


def _check_values(values: Values) -> None:
    wrong = list(dict.fromkeys(_malformed(values)))
    if wrong:
        raise _invalid(wrong, "malformed")


def _malformed(values: Values) -> Iterator[int]:
    for tag, value in values.items():
        if not isinstance(value, str):
            for item in value:
                yield from _malformed(item)
            continue
        check = _CHECKS.get(vr_of(tag))
        if check is not None and not all(check(part) for part in value.split("\\") if part):
            yield tag


def _is_date(value: str) -> bool:
    digits = value.replace(".", "")
    return len(digits) == 8 and digits.isascii() and digits.isdecimal() and "0101" <= digits[4:] <= "1231"


def _is_time(value: str) -> bool:
    whole, _, fraction = value.replace(":", "").partition(".")
    digits = whole + fraction
    return len(whole) in (2, 4, 6) and len(fraction) <= 6 and digits.isascii() and digits.isdecimal() and whole < "24"


_CHECKS: Mapping[str, Callable[[str], bool]] = {"UI": is_uid, "DA": _is_date, "TM": _is_time}


def _invalid(tags: Sequence[int], what: str) -> Failure:
    return Failure(Kind.INVALID, f"{what}: {_names(tags)}", tags)


def _names(tags: Sequence[int]) -> str:
    return ", ".join(keyword_of(tag) for tag in tags)
