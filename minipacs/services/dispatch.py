"""From a message to its service, and from whatever happens there to a status: the one place that does it."""

import logging
import secrets
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass

from minipacs.dicom.data_set.command_set import CommandField, CommandSet
from minipacs.dicom.tables import statuses
from minipacs.dicom.tables.sop_classes import (
    MODALITY_WORKLIST,
    PERFORMED_STEP,
    PERFORMED_STEP_RETRIEVE,
    QUERY_RETRIEVE,
    STORAGE_COMMITMENT,
    VERIFICATION,
)
from minipacs.errors import Failure
from minipacs.net.access import Caller
from minipacs.net.association import Association, Message
from minipacs.net.ending import AssociationEnded
from minipacs.net.wire.bell import Bell
from minipacs.services import commitment, performed_step, storage, verification
from minipacs.services.answers import Answer, answer
from minipacs.services.auditing import requestor
from minipacs.services.environment import RESPONSE, Environment, Request
from minipacs.services.query_retrieve import find, retrieve, worklist

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Service:
    """How a kind of request is served: `serve` sends every response and returns the final command set.

    It raises Failure instead to fail; once the final response is sent, that is logged and nothing else.
    """

    name: str
    serve: Callable[[Request], CommandSet]


_RETRIEVAL: Mapping[str, tuple[int, Service]] = {
    "find": (CommandField.C_FIND_RQ, Service("C-FIND", find.find)),
    "move": (CommandField.C_MOVE_RQ, Service("C-MOVE", retrieve.move)),
    "get": (CommandField.C_GET_RQ, Service("C-GET", retrieve.get)),
}

UNKNOWN = "unknown"
_N_GET = Service("N-GET", performed_step.get)

SERVICES: Mapping[str, Mapping[int, Service]] = {
    VERIFICATION: {CommandField.C_ECHO_RQ: Service("C-ECHO", verification.echo)},
    **{uid: dict([_RETRIEVAL[known.operation]]) for uid, known in QUERY_RETRIEVE.items()},
    MODALITY_WORKLIST: {CommandField.C_FIND_RQ: Service("C-FIND-MWL", worklist.find)},
    PERFORMED_STEP: {
        CommandField.N_CREATE_RQ: Service("N-CREATE", performed_step.create),
        CommandField.N_SET_RQ: Service("N-SET", performed_step.change),
        CommandField.N_GET_RQ: _N_GET,
    },
    PERFORMED_STEP_RETRIEVE: {CommandField.N_GET_RQ: _N_GET},
    STORAGE_COMMITMENT: {CommandField.N_ACTION_RQ: Service("N-ACTION", commitment.ask)},
}
"""The operations of each SOP class by command field; every other class that is accepted is one of storage."""

_STORAGE: Mapping[int, Service] = {CommandField.C_STORE_RQ: Service("C-STORE", storage.store)}
NAMES = sorted({service.name for known in (_STORAGE, *SERVICES.values()) for service in known.values()} | {UNKNOWN})
"""What operations are called in the log and in metrics."""
_COMMAND_FIELDS = frozenset(_STORAGE).union(*SERVICES.values())
_SERVED_WITH = {PERFORMED_STEP_RETRIEVE: PERFORMED_STEP}
"""Classes whose instances are of another class, which a request may name instead (PS3.4 F.8.2)."""
_NORMALIZED = frozenset(field for field in CommandField if field & 0x0100 and field != CommandField.C_CANCEL_RQ)
"""Requests of DIMSE-N, where a wrong class is answered in other words (PS3.7 10)."""


class Dispatcher:
    """Serves associations, one call each, from their threads; `answer_bell` serves one whose bell has rung."""

    def __init__(self, environment: Environment, answer_bell: Callable[[Bell, Association, Caller], None]) -> None:
        self._environment = environment
        self._answer_bell = answer_bell

    def serve(self, association: Association, caller: Caller) -> AssociationEnded:
        """Serve requests until the association ends; returns how. An operation that fails leaves it usable."""
        audit = self._environment.audit
        stored = audit.transfers(requestor(caller), audit.node)
        try:
            with self._environment.archive.tree.spare() as spare, closing(stored):
                while True:
                    asked = association.request()
                    if isinstance(asked, Bell):
                        self._answer_bell(asked, association, caller)
                    else:
                        self._handle(Request(self._environment, association, caller, asked, spare, stored))
        except AssociationEnded as ended:
            return ended

    def _handle(self, request: Request) -> None:
        command = request.message.command
        if command.command_field == CommandField.C_CANCEL_RQ or command.command_field & RESPONSE:
            request.message.drain()  # of an operation that is over already
            return
        started = time.monotonic()
        service = SERVICES.get(request.message.context.abstract_syntax, _STORAGE).get(command.command_field)
        name = service.name if service is not None else UNKNOWN
        try:
            final, is_ours = self._serve(service, request)
        except AssociationEnded as ended:
            request.log["ended"] = ended.outcome
            self._record(request, name, "failure", None, started)
            raise
        category = statuses.category(final.status or 0)
        if final.error_comment:
            request.log["comment"] = final.error_comment
        self._record(request, name, category, final.status or 0, started, is_ours=is_ours)

    def _serve(self, service: Service | None, request: Request) -> tuple[CommandSet, bool]:
        """Serve a request to its end; returns the final response, and whether its failure is one of ours."""
        refusal = _refusal(service, request.message)
        if refusal is None:
            assert service is not None  # noqa: S101  (_refusal has seen to the others)
            try:
                return service.serve(request), False
            except (AssociationEnded, MemoryError):
                raise
            except Exception as error:
                if request.final is not None:
                    _tell_incident("failed once answered", request)
                    return request.final, False
                refusal = _answer_of(error, request)
        request.message.drain()
        final = request.response(refusal.status)
        refusal.put_into(final)
        request.respond(final)
        return final, refusal.is_ours

    def _record(
        self, request: Request, name: str, category: str, status: int | None, started: float, *, is_ours: bool = False
    ) -> None:
        duration_s = time.monotonic() - started
        request.association.operations[f"{name} {category}"] += 1
        self._environment.observer.operation(name, request.caller.label, category, duration_s)
        fields: dict[str, object] = {
            "association": request.caller.association_id,
            "calling": request.caller.ae_title,
            "status": None if status is None else f"{status:04X}",
            **request.log,
            "duration_s": round(duration_s, 4),
        }
        is_well = category in ("success", "cancel")
        level = logging.INFO if is_well else logging.ERROR if is_ours else logging.WARNING
        logger.log(level, name, extra={"fields": fields})


def _answer_of(error: Exception, request: Request) -> Answer:
    """Say how a request is answered whose service has failed: by the kind of failure, or as a fault of ours."""
    if isinstance(error, Failure):
        return answer(error, request.message.command.command_field)
    incident = _tell_incident("internal error", request)
    return Answer(statuses.PROCESSING_FAILURE, f"internal error, incident {incident}", is_ours=True)


def _tell_incident(event: str, request: Request) -> str:
    """Log the error at hand with its traceback; returns the name that it can be found by."""
    incident = secrets.token_hex(4)
    fields = {"association": request.caller.association_id, "incident": incident}
    logger.exception(event, extra={"fields": fields})
    return incident


def _refusal(service: Service | None, message: Message) -> Answer | None:
    """Say how a message is answered that no service may see; None if `service` may (PS3.7 C.5)."""
    command, context = message.command, message.context
    field = command.command_field
    unrecognized = Answer(statuses.UNRECOGNIZED_OPERATION, f"operation {field:04X}H is not one of this SOP class")
    if field not in _COMMAND_FIELDS:
        return unrecognized
    if message.is_duplicate:
        return Answer(statuses.DUPLICATE_INVOCATION, f"Message ID {command.message_id} is in use")
    sop_class_uid = command.affected_sop_class_uid or command.requested_sop_class_uid
    if not context.as_scp or sop_class_uid not in (context.abstract_syntax, _SERVED_WITH.get(context.abstract_syntax)):
        status = statuses.NO_SUCH_SOP_CLASS if field in _NORMALIZED else statuses.SOP_CLASS_NOT_SUPPORTED
        return Answer(status, "SOP class is not that of the presentation context")
    if service is None:
        return unrecognized
    if command.message_id is None:
        return Answer(statuses.MISTYPED_ARGUMENT, "Message ID is missing")
    return None
