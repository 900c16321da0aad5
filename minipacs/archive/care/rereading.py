"""What the index knows of files that are read again.

To compare all digests would take a disk hours. But a file that says something else than when it was stored has other
bytes by now: only such a one has to be read whole. What its row says nothing of, new keys above all, is believed.
"""

from collections.abc import Mapping, Sequence

from minipacs.archive.ports import Catalogue
from minipacs.dicom.tables.attributes import UNIQUE_KEY
from minipacs.index import InstanceRecord, Query, StoredInstance

_UID = UNIQUE_KEY["IMAGE"]


def known_values(index: Catalogue, sop_instance_uids: Sequence[str]) -> Mapping[str, Mapping[str, str]]:
    """Return what the index holds of what objects say themselves, by UID and keyword; without those it has not."""
    attributes = index.keys.stored
    keywords = [attribute.keyword for attribute in attributes]
    asked = Query("IMAGE", [(_UID, "\\".join(sop_instance_uids))], attributes)
    known = {}
    for values in index.find(asked):
        found = dict(zip(keywords, values, strict=True))
        heading = index.heading(found[_UID.keyword])
        if heading is not None:  # rows above say what the first object of each does
            found |= {keyword: heading.get(keyword, "") for keyword in index.keys.above}
        known[found[_UID.keyword]] = found
    return known


def contradicting(index: Catalogue, records: Sequence[InstanceRecord]) -> set[str]:
    """Return the digests of files that say something else than the index does."""
    uids = [record.sop_instance_uid for record in records]
    if not uids:
        return set()
    values = known_values(index, uids)
    stored = {instance.sop_instance_uid: instance for instance in index.instances({_UID.keyword: uids})}
    return {
        record.digest
        for record in records
        if not _agree(record, stored.get(record.sop_instance_uid), values.get(record.sop_instance_uid))
    }


def _agree(record: InstanceRecord, stored: StoredInstance | None, known: Mapping[str, str] | None) -> bool:
    if stored is None or known is None:
        return False
    is_its_file = (stored.digest, stored.transfer_syntax_uid) == (record.digest, record.transfer_syntax_uid)
    return is_its_file and all(record.values.get(keyword, "") == text for keyword, text in known.items() if text)
