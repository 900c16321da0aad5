"""Who an object is: the UIDs it must have, and that it is the one it was announced as."""

from minipacs.dicom.data_set.header import Header
from minipacs.dicom.tables.uids import is_uid
from minipacs.errors import Failure, Kind

SOP_CLASS_UID, SOP_INSTANCE_UID = 0x00080016, 0x00080018
STUDY_INSTANCE_UID, SERIES_INSTANCE_UID = 0x0020000D, 0x0020000E


def check_uid(uid: str, tag: int) -> None:
    """Refuse what cannot be a UID; components with leading zeros are kept as sent: senders make them."""
    if not is_uid(uid):
        raise Failure(Kind.MALFORMED_UID, "malformed UID", (tag,))


def check_identity(header: Header, sop_class_uid: str, sop_instance_uid: str, study_instance_uid: str = "") -> None:
    """Hold a data set against what it was announced as, in a command, File Meta or URL (PS3.4 Table B.2-1).

    Raises Failure with the tag: MISSING, WRONG_IDENTITY for a difference, MALFORMED_UID.
    """
    for keyword, tag, announced in (
        ("SOPClassUID", SOP_CLASS_UID, sop_class_uid),
        ("SOPInstanceUID", SOP_INSTANCE_UID, sop_instance_uid),
        ("StudyInstanceUID", STUDY_INSTANCE_UID, study_instance_uid),
        ("SeriesInstanceUID", SERIES_INSTANCE_UID, ""),
    ):
        uid = header.get(keyword)
        if not uid:
            raise Failure(Kind.MISSING, f"{keyword} is missing or empty", (tag,))
        if announced and uid != announced:
            raise Failure(Kind.WRONG_IDENTITY, f"{keyword} of the data set is not the one announced", (tag,))
        check_uid(uid, tag)
