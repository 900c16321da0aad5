"""Instance Availability Notification: what is told of instances that can be retrieved (PS3.4 R.3.2.1)."""

from collections.abc import Iterable

from minipacs.dicom.data_set.values import Values

_STEPS, _STUDY, _SERIES_SEQUENCE, _SERIES, _SOP_SEQUENCE = 0x00081111, 0x0020000D, 0x00081115, 0x0020000E, 0x00081199
_SOP_CLASS_UID, _SOP_INSTANCE_UID, _AVAILABILITY, _RETRIEVE_AE_TITLE = 0x00081150, 0x00081155, 0x00080056, 0x00080054


def notification(
    ae_title: str, study_instance_uid: str, instances: Iterable[tuple[str, str, str]], availability: str = "ONLINE"
) -> Values:
    """Make the data set of a study's instances: Series Instance UID, SOP Class UID and SOP Instance UID of each."""
    series: dict[str, list[Values]] = {}
    for series_uid, sop_class_uid, sop_instance_uid in instances:
        item: Values = {
            _SOP_CLASS_UID: sop_class_uid,
            _SOP_INSTANCE_UID: sop_instance_uid,
            _AVAILABILITY: availability,
            _RETRIEVE_AE_TITLE: ae_title,
        }
        series.setdefault(series_uid, []).append(item)
    listed: tuple[Values, ...] = tuple({_SERIES: uid, _SOP_SEQUENCE: tuple(items)} for uid, items in series.items())
    return {_STEPS: (), _STUDY: study_instance_uid, _SERIES_SEQUENCE: listed}
