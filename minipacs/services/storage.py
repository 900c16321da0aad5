"""C-STORE: the Storage service as SCP, level 2: the whole object, unchanged (PS3.4 B)."""

import time

from minipacs.archive.auditing import tell_refused, tell_stored
from minipacs.dicom.data_set.command_set import CommandSet
from minipacs.dicom.tables import statuses
from minipacs.errors import DataSetError, Failure
from minipacs.services.environment import Request


def store(request: Request) -> CommandSet:
    """Receive an object and keep it; Success is sent when it is durable (PS3.4 B.2.3)."""
    try:
        return _store(request)
    except Failure as failure:
        tell_refused(request.stored, request.message.command.affected_sop_class_uid or "", failure)
        raise


def _store(request: Request) -> CommandSet:
    message = request.message
    command = message.command
    request.log.update(sop_instance_uid=command.affected_sop_instance_uid)
    if command.move_originator_ae_title is not None:
        request.log.update(
            move_originator=command.move_originator_ae_title,
            move_originator_message_id=command.move_originator_message_id,
        )
    if not command.has_data_set:
        raise DataSetError("no data set")
    with request.environment.archive.receive(
        command.affected_sop_class_uid or "",
        command.affected_sop_instance_uid or "",
        message.context.transfer_syntax,
        request.caller.ae_title,
        request.charset,
        request.spare,
    ) as incoming:
        for piece in message.fragments():
            incoming.write(piece)
        last_byte_at = time.monotonic()
        stored = incoming.commit()
        size_bytes = incoming.size_bytes
    tell_stored(request.stored, stored)
    request.environment.observer.received(request.caller.label, size_bytes)
    request.log.update(outcome=stored.outcome.name.lower(), size_bytes=size_bytes)
    final = request.response(statuses.SUCCESS)
    request.respond(final)
    request.environment.observer.stored(request.caller.label, time.monotonic() - last_byte_at)
    request.spare.make()
    return final
