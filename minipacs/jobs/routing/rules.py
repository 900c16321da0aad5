"""Rules: which objects a route takes to whom. The one place that decides, for the sender and `minipacs routes test`."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import starmap
from typing import Literal

from minipacs.archive.ports import Catalogue
from minipacs.dicom.matching.words import Word
from minipacs.dicom.tables.attributes import BY_KEYWORD
from minipacs.dicom.workflow.worklist import BY_KEYWORD as WORKLIST_KEYS
from minipacs.dicom.workflow.worklist import WorklistKey
from minipacs.index import Query, StoredInstance
from minipacs.jobs.routing.hours import Hours

Trigger = Literal["stored", "complete"]
Level = Literal["study", "series", "instance"]

_PRIORITIES: Mapping[str, int] = {"STAT": 2, "HIGH": 1}
_STUDY_UID, _PRIORITY = "StudyInstanceUID", "RequestedProcedurePriority"
_SOP_INSTANCE_UID = BY_KEYWORD["SOPInstanceUID"]


@dataclass(frozen=True, slots=True)
class Route:
    """One rule. `rate` is in bytes a second, 0 for no limit; `priors` is how many earlier studies go along."""

    name: str
    on: Trigger
    to: Sequence[str]
    words: Sequence[Word]
    sources: frozenset[str]
    level: Level
    hours: Hours
    rate: int
    priors: int
    dry_run: bool
    announce: bool = False

    def mark(self, destination: str) -> str:
        """Return under which name it is noted what a destination has: to be told of objects is not to have them."""
        return f"{destination}\\announced" if self.announce else destination


@dataclass(frozen=True, slots=True)
class Choice:
    """What a route does with an instance for one destination: takes it there, or not, and why not."""

    instance: StoredInstance
    refusal: str


def choices(
    index: Catalogue, route: Route, destination: str, instances: Sequence[StoredInstance], *, is_prior: bool = False
) -> Iterator[Choice]:
    """Decide of each instance of one study. A prior goes whatever the rule says, but back to nobody either."""
    values = {} if is_prior else _values(index, route, instances)
    for instance in instances:
        uid = instance.sop_instance_uid
        file = index.file(uid)
        source = "" if file is None else file.source
        if instance.availability != "ONLINE":
            yield Choice(instance, "its file is missing or damaged")
        elif source == destination:
            yield Choice(instance, f"it came from {destination}")
        elif is_prior:
            yield Choice(instance, "")
        elif route.sources and source not in route.sources:
            yield Choice(instance, f"from: it came from {source or 'nobody'}")
        else:
            wrong = next((word for word in route.words if not word.condition.matches(values.get(uid, {}))), None)
            yield Choice(instance, "" if wrong is None else f"match: {wrong.text}")


def _values(index: Catalogue, route: Route, instances: Sequence[StoredInstance]) -> dict[str, Mapping[str, str]]:
    """Read what the rule looks at, of each instance, by UID."""
    looked_at = dict.fromkeys(attribute for word in route.words for attribute in word.condition.attributes)
    if not looked_at:
        return {}
    returns = (_SOP_INSTANCE_UID, *looked_at)
    uids = [instance.sop_instance_uid for instance in instances]
    found: dict[str, Mapping[str, str]] = {}
    for begin in range(0, len(uids), _UIDS_AT_ONCE):
        part = "\\".join(uids[begin : begin + _UIDS_AT_ONCE])
        for row in index.find(Query("IMAGE", [(_SOP_INSTANCE_UID, part)], returns)):
            found[row[0]] = dict(starmap(lambda a, text: (a.keyword, text), zip(looked_at, row[1:], strict=True)))
    return found


_UIDS_AT_ONCE = 200


def priority_of(index: Catalogue, study_uid: str) -> int:
    """Return how urgent a study is by its order: 2 for STAT, 1 for HIGH, else 0."""
    key: WorklistKey = WORKLIST_KEYS[_STUDY_UID]
    steps = index.worklist.find([(key, study_uid)], hidden_too=True)
    return max((_PRIORITIES.get(step.value(WORKLIST_KEYS[_PRIORITY]), 0) for step in steps), default=0)


def series_of(index: Catalogue, study_uid: str) -> dict[str, str]:
    """Return the series of each instance of a study, by UID."""
    returns = (_SOP_INSTANCE_UID, BY_KEYWORD["SeriesInstanceUID"])
    asked = Query("IMAGE", [(BY_KEYWORD[_STUDY_UID], study_uid)], returns)
    return {uid: series for uid, series in index.find(asked)}  # noqa: C416  rows are tuples of any length


def places_of(index: Catalogue, sop_instance_uids: Sequence[str]) -> dict[str, tuple[str, str]]:
    """Return the study and the series of instances, by UID; those that are gone are left out."""
    returns = (_SOP_INSTANCE_UID, BY_KEYWORD[_STUDY_UID], BY_KEYWORD["SeriesInstanceUID"])
    found: dict[str, tuple[str, str]] = {}
    for begin in range(0, len(sop_instance_uids), _UIDS_AT_ONCE):
        part = "\\".join(sop_instance_uids[begin : begin + _UIDS_AT_ONCE])
        rows = index.find(Query("IMAGE", [(_SOP_INSTANCE_UID, part)], returns))
        found |= {uid: (study, series) for uid, study, series in rows}
    return found


def priors(index: Catalogue, study_uid: str, most: int) -> list[str]:
    """List the last studies of the same patient and a same modality that are earlier, the latest first."""
    keywords = ("StudyInstanceUID", "PatientID", "IssuerOfPatientID", "StudyDate", "StudyTime", "ModalitiesInStudy")
    returns = [BY_KEYWORD[keyword] for keyword in keywords]

    def studies(keyword: str, value: str) -> list[dict[str, str]]:
        rows = index.find(Query("STUDY", [(BY_KEYWORD[keyword], value)], returns))
        return [dict(zip(keywords, row, strict=True)) for row in rows]

    found: dict[str, tuple[str, str]] = {}
    for now in studies("StudyInstanceUID", study_uid) if most else ():
        same = studies("PatientID", now["PatientID"]) if now["PatientID"] and now["StudyDate"] else []
        modalities = set(now["ModalitiesInStudy"].split("\\"))
        for other in same:
            when = other["StudyDate"], other["StudyTime"]
            is_same = other["PatientID"] == now["PatientID"] and other["IssuerOfPatientID"] == now["IssuerOfPatientID"]
            is_earlier = bool(when[0]) and when < (now["StudyDate"], now["StudyTime"])
            if is_same and is_earlier and modalities & set(other["ModalitiesInStudy"].split("\\")):
                found[other["StudyInstanceUID"]] = when
    return sorted(found, key=found.__getitem__, reverse=True)[:most]
