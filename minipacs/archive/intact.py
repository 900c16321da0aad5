"""Reading stored objects again, from the disk: are they still what was acknowledged?"""

import logging

from minipacs.archive.ports import Catalogue, Storage
from minipacs.archive.scan import fault_of
from minipacs.errors import Failure, Kind
from minipacs.index import StoredInstance

logger = logging.getLogger(__name__)


class NotReadableNow(Failure):
    """A file that cannot be read for what says nothing of its bytes: a wrong owner, too many open files."""

    def __init__(self, words: str) -> None:
        super().__init__(Kind.BUSY, words)


def is_intact(tree: Storage, index: Catalogue, instance: StoredInstance) -> bool:
    """Tell whether the file of an instance has its digest. One that has not goes to quarantine, its row is marked.

    What the system keeps in memory of the file is put aside before. Raises NotReadableNow, and Failure if the index
    cannot be written.
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
    except FileNotFoundError:
        return "the file is missing"
    except OSError as error:
        raise NotReadableNow(f"file cannot be read now: {error.strerror}") from error
