"""Stored objects compressed without loss, in the background, one after the other.

Rules:
- *must*: an object gives up the file it was received as only when the compressed one says the same in every element and
  every pixel, is durable, and its row as well.
- *must*: published files never change: the compressed form is a new one, the row is swapped, the old one removed after.
- What cannot be compressed is left as it is, for good; nobody tries again. A shortage that may pass says nothing of an
  object: it is put off.
"""

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from time import monotonic
from typing import Literal, NamedTuple

from minipacs.archive.archive import Archive
from minipacs.archive.intact import NotReadableNow, is_intact
from minipacs.archive.ports import Receipt, StagedFile
from minipacs.archive.reader import ObjectUnreadable
from minipacs.archive.removal import remove_unused
from minipacs.archive.scan import scan
from minipacs.dicom.data_set.part10 import file_meta
from minipacs.errors import Failure, OutcomeUnknown
from minipacs.index import Form, StoredInstance
from minipacs.pixels.processes.pool import wait_readable

logger = logging.getLogger(__name__)

IDLE_S = 5.0
"""Between two looks for what has come."""
SHORTAGE_S = 60.0
FIRST_DELAY_S = 60.0
"""For an object that is put off; twice as long each further time."""
MAX_DELAY_S = 4 * 3600.0
MAX_PUT_OFF = 1000
"""Objects at a time: when so many are, something ails the machine, and the others wait, too."""
STOP_CHECK_S = 0.5
DUTY = "compression"
LEASE_S = 3600.0
"""Of the duty: while two jobs processes overlap, at a reload, one of them compresses."""

Verdict = Literal["compressed", "left"]


class _Stopped(Exception):
    """The process is to end: the object is dealt with by the next one."""


class PutOff(NamedTuple):
    """When an object is to be tried again, by the clock that nobody sets, and how long it was put off."""

    due_at: float
    delay_s: float


@dataclass(frozen=True, slots=True)
class Compression:
    """Compresses what an archive has that is not compressed, to one transfer syntax.

    `stopping` tells it to leave off; `observe` hears of each object and the bytes it saved.
    """

    archive: Archive
    transfer_syntax_uid: str
    stopping: Callable[[], bool]
    observe: Callable[[Verdict, int], None]
    _put_off: dict[str, PutOff] = field(default_factory=dict)

    def work(self) -> float:
        """Go through what there is now, if nobody else does; returns the seconds until it is worth to look again."""
        index = self.archive.index
        if next(self._due(), None) is None:
            return IDLE_S
        index.duties.keep(DUTY)
        index.duties.end_leases_of_the_gone()
        lease = index.duties.claim_key(DUTY, LEASE_S)
        if lease is None:
            return IDLE_S
        try:
            return self._go_through(monotonic() + LEASE_S / 2)
        finally:
            index.duties.change(lambda connection: index.duties.give_back(connection, lease))

    def _go_through(self, deadline: float) -> float:
        try:
            for instance in self._due():
                if self.stopping():
                    break
                if self.archive.shortage() is not None or not self._may_be_put_off(instance):
                    return SHORTAGE_S
                self._compress(instance)
                if monotonic() > deadline:
                    return 0.0
        except _Stopped:
            pass
        return IDLE_S

    def _due(self) -> Iterator[StoredInstance]:
        now = monotonic()
        for digest, one in list(self._put_off.items()):
            if one.due_at + MAX_DELAY_S < now:  # it was removed meanwhile, else it would have been tried
                del self._put_off[digest]
        for instance in self.archive.index.compressible():
            put_off = self._put_off.get(instance.digest)
            if put_off is None or put_off.due_at <= now:
                yield instance

    def _may_be_put_off(self, instance: StoredInstance) -> bool:
        return instance.digest in self._put_off or len(self._put_off) < MAX_PUT_OFF

    def _compress(self, instance: StoredInstance) -> None:
        started = monotonic()
        staged = self.archive.tree.stage()
        try:
            staged.write([file_meta(instance.sop_class_uid, instance.sop_instance_uid, self.transfer_syntax_uid)])
            self.archive.reader.compress(instance, staged.fileno(), self.transfer_syntax_uid, self._wait)
            staged.take_in()
            saved = instance.size_bytes - staged.size_bytes
            if saved <= 0:
                self._leave(instance, "it would be no smaller")
            elif self._swap(instance, staged):
                self.observe("compressed", saved)
                fields = {
                    "sop_instance_uid": instance.sop_instance_uid,
                    "received_bytes": instance.size_bytes,
                    "stored_bytes": instance.size_bytes - saved,
                    "duration_s": round(monotonic() - started, 4),
                }
                logger.info("compressed", extra={"fields": fields})
        except ObjectUnreadable as error:
            self._give_up(instance, error)
        else:
            self._put_off.pop(instance.digest, None)
        finally:
            staged.discard()

    def _give_up(self, instance: StoredInstance, error: Failure) -> None:
        """See to an object that was not compressed: a damaged one goes to quarantine until it comes again."""
        try:
            if not is_intact(self.archive.tree, self.archive.index, instance):
                self._put_off.pop(instance.digest, None)
                return
        except NotReadableNow as unreadable:
            error = unreadable
        if error.temporary:
            self._try_later(instance, str(error))
        else:
            self._leave(instance, str(error))

    def _try_later(self, instance: StoredInstance, reason: str) -> None:
        before = self._put_off.get(instance.digest)
        delay_s = FIRST_DELAY_S if before is None else min(2 * before.delay_s, MAX_DELAY_S)
        self._put_off[instance.digest] = PutOff(monotonic() + delay_s, delay_s)
        fields = {"sop_instance_uid": instance.sop_instance_uid, "reason": reason, "again_in_s": delay_s}
        logger.warning("not compressed for now", extra={"fields": fields})

    def _leave(self, instance: StoredInstance, reason: str) -> None:
        """Let an object stay what it is, for good."""
        archive = self.archive
        self._put_off.pop(instance.digest, None)
        if archive.index.settle(instance.digest, None):
            self.observe("left", 0)
            fields = {"sop_instance_uid": instance.sop_instance_uid, "reason": reason}
            logger.info("not compressed", extra={"fields": fields})

    def _swap(self, instance: StoredInstance, staged: StagedFile) -> bool:
        """Give the row the compressed file, then remove the other one; false if the row is another one by now."""
        tree, index, digest = self.archive.tree, self.archive.index, staged.digest
        try:
            original = tree.stat(instance.digest)
            receipt = Receipt(instance.received_at, "") if original is None else original.receipt
            receipt = receipt._replace(received_digest=instance.digest)
            with tree.holding(digest) as held:
                tree.put(staged, digest, receipt, held)
                _, header = scan(tree, digest, index.keys)
                form = Form(
                    digest, staged.size_bytes, self.transfer_syntax_uid, header.get("PhotometricInterpretation")
                )
                swapped = index.settle(instance.digest, form)
        except OutcomeUnknown:
            raise  # after a crash the row may stand for either file
        except (OSError, Failure):
            remove_unused(tree, index, digest)
            raise
        if swapped:
            self.archive.displaced.take(instance.digest, "")
            self.archive.make_durable()
        else:
            remove_unused(tree, index, digest)
        return swapped

    def _wait(self, fd: int, deadline: float) -> bool:
        while not self.stopping():
            if wait_readable(fd, min(monotonic() + STOP_CHECK_S, deadline)):
                return True
            if monotonic() >= deadline:
                return False
        raise _Stopped
