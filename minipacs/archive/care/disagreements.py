"""What differs between objects that should agree, as a document, and what to do about it."""

from collections.abc import Mapping
from types import MappingProxyType

from minipacs.index import Disagreement

_ONE_PERSON = (
    "One Patient ID for two persons, or one person whose name, birth date or sex was entered in two ways. Find out "
    "which; `minipacs correct` mends what is read of a study, or have it mended where the objects come from and sent "
    "again: they take the place of those stored."
)
REMEDIES: Mapping[str, str] = MappingProxyType(
    {
        "PatientName": _ONE_PERSON,
        "PatientBirthDate": _ONE_PERSON,
        "PatientSex": _ONE_PERSON,
        "IssuerOfPatientID": (
            "One Patient ID of several issuers: several patients, who are kept apart, or one whose objects do not "
            "all name the issuer. To retrieve a patient by ID, name the issuer too, or let all senders name it."
        ),
        "PatientID": (
            "One Study Instance UID under several patients, each with its own objects. Most often an ID was mistyped: "
            "`minipacs correct StudyInstanceUID=UID PatientID=WRONG --set PatientID=RIGHT`, or have it mended where "
            "the objects come from and sent again: they move to the right patient."
        ),
        "StudyInstanceUID": (
            "One Series Instance UID in several studies, each with its own objects. Here they are kept apart; other "
            "systems may not. Have whoever made the UIDs set right, and send the objects again."
        ),
    }
)
"""What to do, by the attribute that differs."""


def document_of(conflict: Disagreement) -> dict[str, object]:
    """Describe a conflict: what is at odds, its values, and what to do; `found_at` is in seconds since 1970."""
    subject = conflict.subject
    return {
        "level": conflict.level,
        "attribute": conflict.keyword,
        "patient_id": subject.patient_id,
        "issuer_of_patient_id": subject.issuer,
        "study_instance_uid": subject.study_instance_uid,
        "series_instance_uid": subject.series_instance_uid,
        "found_at": conflict.found_at,
        "remedy": REMEDIES[conflict.keyword],
        "values": values_of(conflict),
    }


def values_of(conflict: Disagreement) -> list[dict[str, object]]:
    """List the values, how many objects have each, and where."""
    return [{"value": b.value, "count": b.count, "uids": list(b.uids)} for b in conflict.values]
