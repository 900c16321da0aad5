"""Reading stored objects again, from the disk: are they still what was acknowledged?"""

import logging

from minipacs.archive.ports import Catalogue, Storage
from minipacs.archive.scan import fault_of
from minipacs.index import StoredInstance

logger = logging.getLogger(__name__)


def is_intact(tree: Storage, index: Catalogue, instance: StoredInstance) -> bool:
    """Tell whether the file of an instance has its digest. One that has not goes to quarantine, its row is marked.

    What the system keeps in memory of the file is put aside before. Raises Failure if the index cannot be written.
    """
    fault = _fault(tree, instance.digest)
    if fault is None:
        return True
    try:
        with tree.holding(instance.digest, exclusive=True):
            if not index.has_digest(instance.digest):
                return False  # it was replaced or removed meanwhile
            fault = _fault(tree, instance.digest)
            if fault is None:
                return True  # it was sent again meanwhile
            index.set_availability([instance.digest], "UNAVAILABLE")
            tree.set_aside(instance.digest, fault)
    except OSError as error:
        fault = f"{fault}; {error.strerror}"
    fields = {"digest": instance.digest, "sop_instance_uid": instance.sop_instance_uid, "reason": fault}
    logger.error("damaged file quarantined", extra={"fields": fields})
    return False


def _fault(tree: Storage, digest: str) -> str | None:
    """Say what is wrong with a file, also that there is none."""
    try:
        return fault_of(tree, digest)
    except OSError as error:
        return f"cannot be read: {error.strerror}"
