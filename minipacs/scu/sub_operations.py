"""The C-STORE sub-operations of C-MOVE, C-GET and `minipacs send`: contexts, and sending (PS3.4 B, C.4.2, C.4.3)."""

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from minipacs.archive.data_set_file import DataSetFile
from minipacs.archive.reader import (
    BUFFER_BYTES,
    MAX_REPLACEMENTS,
    ObjectNotConvertible,
    ObjectReader,
    ObjectReplaced,
    ObjectUnreadable,
)
from minipacs.dicom.data_set.command_set import CommandField, CommandSet
from minipacs.dicom.tables.transfer_syntaxes import (
    DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN,
    EXPLICIT_VR_BIG_ENDIAN,
    EXPLICIT_VR_LITTLE_ENDIAN,
    IMPLICIT_VR_LITTLE_ENDIAN,
)
from minipacs.index import StoredInstance
from minipacs.net.association import Association
from minipacs.net.ending import timed_out
from minipacs.net.requestor import MAX_CONTEXTS
from minipacs.net.wire.negotiation import PresentationContext, ProposedContext
from minipacs.net.wire.transport import Patience
from minipacs.pixels.codecs import can_transcode
from minipacs.scu.pace import paced
from minipacs.scu.principal import Principal, Stopped, wait_attending
from minipacs.scu.tally import Tally

_LITTLE_ENDIAN = (EXPLICIT_VR_LITTLE_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN)
_UNUSUAL = (EXPLICIT_VR_BIG_ENDIAN, DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN)
"""In a context of their own, or some peers would choose one of them before what everybody prefers."""


@dataclass(frozen=True, slots=True)
class Originator:
    """The AE that asked for a C-MOVE, and its Message ID (PS3.7 9.1.1.1.6, 9.1.1.1.7)."""

    ae_title: str
    message_id: int


@dataclass(frozen=True, slots=True)
class Receiver:
    """Whom objects are sent to: the name in metrics, and the transfer syntaxes it would rather have, the best first."""

    label: str
    transfer_syntaxes: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class _Prepared:
    """An object ready to be sent, or the reason why it cannot be."""

    instance: StoredInstance
    context: PresentationContext | None = None
    data_set: DataSetFile | None = None
    reason: str = ""


class Sender:
    """Sends instances over one association: in a transfer syntax the receiver prefers, else as stored, else decoded.

    While the receiver is at work on one object, the next is read and checked, or transcoded. `sent` hears the
    receiver's label and the bytes of each data set. `rate` is in bytes a second, 0 for no limit.
    """

    def __init__(
        self,
        reader: ObjectReader,
        association: Association,
        contexts: Sequence[PresentationContext],
        receiver: Receiver,
        sent: Callable[[str, int], None],
        originator: Originator | None = None,
        rate: int = 0,
    ) -> None:
        self._reader = reader
        self._association = association
        self._receiver = receiver
        self._sent = sent
        self._originator = originator
        self._pace = paced(rate)
        self._contexts: dict[str, dict[str, PresentationContext]] = {}
        for context in contexts:
            self._contexts.setdefault(context.abstract_syntax, {}).setdefault(context.transfer_syntax, context)
        self._message_id = 0
        self._buffer = memoryview(bytearray(BUFFER_BYTES))
        self._instances: Sequence[StoredInstance] = ()
        self._position = 0

    @property
    def unsent(self) -> Sequence[StoredInstance]:
        """List the instances that are not answered for yet."""
        return self._instances[self._position :]

    def send(self, instances: Sequence[StoredInstance], tally: Tally, principal: Principal, priority: int = 0) -> None:
        """Send until all are counted in `tally` or `principal` calls it off. Raises AssociationEnded of this one."""
        self._instances, self._position = instances, 0
        ahead: _Prepared | None = None
        try:
            while self._position < len(instances):
                principal.attend()
                if principal.stopped:
                    return
                instance = instances[self._position]
                now, ahead = ahead or self._prepare(instance, principal), None
                if now is None:
                    continue
                if now.context is None or now.data_set is None:
                    tally.fail([instance], now.reason)
                elif self._send(now.instance, now.context, now.data_set, priority, tally):
                    if self._position + 1 < len(instances):
                        ahead = self._prepare(instances[self._position + 1], principal)
                    tally.answered(instance, self._await_response(principal))
                self._position += 1
        finally:
            if ahead is not None and ahead.data_set is not None:
                ahead.data_set.close()

    def _prepare(self, instance: StoredInstance, principal: Principal) -> _Prepared | None:
        """Open an object, or the one that has replaced it; None if `principal` called it off meanwhile."""
        for _ in range(MAX_REPLACEMENTS):
            try:
                return self._open(instance, principal)
            except ObjectReplaced as error:
                instance = error.now
        return _Prepared(instance, reason="replaced again and again")

    def _open(self, instance: StoredInstance, principal: Principal) -> _Prepared | None:
        """Open an object in the best way there is for the receiver. Raises ObjectReplaced."""
        wait = partial(wait_attending, principal)
        reason = "no presentation context accepted that it can be sent in"
        for context in self._candidates(instance):
            try:
                data_set = self._reader.open(
                    instance, context.transfer_syntax, self._buffer, on_piece=principal.attend, wait=wait
                )
            except ObjectNotConvertible as error:
                reason = str(error)
            except ObjectReplaced:
                raise
            except ObjectUnreadable as error:
                return _Prepared(instance, reason=str(error))
            except Stopped:
                return None
            else:
                return _Prepared(instance, context, data_set)
        return _Prepared(instance, reason=reason)

    def _candidates(self, instance: StoredInstance) -> Iterator[PresentationContext]:
        """Give the contexts to try, the best first; one of the uncompressed ones is as good as another."""
        contexts = self._contexts.get(instance.sop_class_uid, {})
        for uid in usable(instance.transfer_syntax_uid, contexts, self._receiver.transfer_syntaxes):
            yield contexts[uid]

    def _send(
        self,
        instance: StoredInstance,
        context: PresentationContext,
        data_set: DataSetFile,
        priority: int,
        tally: Tally,
    ) -> bool:
        """Send one object; false, and counted, if it cannot be read after all."""
        self._message_id = self._message_id % 0xFFFF + 1
        command = CommandSet(
            command_field=CommandField.C_STORE_RQ,
            message_id=self._message_id,
            affected_sop_class_uid=instance.sop_class_uid,
            affected_sop_instance_uid=instance.sop_instance_uid,
            priority=priority,
            has_data_set=True,
        )
        if self._originator is not None:
            command.move_originator_ae_title = self._originator.ae_title
            command.move_originator_message_id = self._originator.message_id
        with data_set:
            try:
                self._association.send_pieces(
                    context.context_id, command, self._pace(data_set.pieces()), data_set.size_bytes
                )
            except OSError as error:
                tally.fail([instance], f"file cannot be read: {error.strerror or error}")
                return False
        self._sent(self._receiver.label, data_set.size_bytes)
        return True

    def _await_response(self, principal: Principal) -> int:
        timeout_s = self._association.timeouts.dimse
        patience = Patience(self._association.transport, timeout_s)
        while (left_s := patience.left_s()) > 0:
            response = self._association.response(self._message_id, min(left_s, principal.due_in_s() + 0.001))
            if response is not None:
                return response.command.status or 0
            principal.attend()
        raise timed_out(f"no C-STORE response within {timeout_s:g} s")


def usable(stored: str, accepted: Collection[str], preferred: Sequence[str]) -> list[str]:
    """List the transfer syntaxes that a stored object may be sent in, of those accepted, the best first."""
    wanted = [uid for uid in (*preferred, stored) if uid in accepted]
    native = next((uid for uid in (*_LITTLE_ENDIAN, *_UNUSUAL) if uid in accepted), None)
    found = dict.fromkeys([*wanted, native] if native else wanted)
    return [uid for uid in found if uid == stored or can_transcode(stored, uid)]


def plan(instances: Sequence[StoredInstance], preferred: Sequence[str] = ()) -> tuple[list[ProposedContext], int]:
    """Return presentation contexts for as many of the first instances as one association can hold, and their number.

    A class has a context for each transfer syntax that is preferred and can be had, one for each stored one, one with
    the uncompressed ones that everybody knows, and one with the others.
    """
    proposals: dict[tuple[str, tuple[str, ...]], None] = {}
    for count, instance in enumerate(instances):
        stored = instance.transfer_syntax_uid
        alone = [*(uid for uid in preferred if can_transcode(stored, uid)), stored]
        groups = (*((uid,) for uid in alone), _LITTLE_ENDIAN, _UNUSUAL)
        wanted = {(instance.sop_class_uid, group): None for group in groups}
        if proposals.keys() >= wanted.keys():
            continue
        if len(proposals | wanted) > MAX_CONTEXTS:
            return _numbered(proposals), count
        proposals |= wanted
    return _numbered(proposals), len(instances)


def _numbered(proposals: dict[tuple[str, tuple[str, ...]], None]) -> list[ProposedContext]:
    return [ProposedContext(2 * i + 1, uid, syntaxes) for i, (uid, syntaxes) in enumerate(proposals)]
