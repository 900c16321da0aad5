"""Modality Performed Procedure Step as SCP: N-CREATE, N-SET and N-GET (PS3.4 F.7, F.8)."""

from collections.abc import Sequence

from minipacs.audit.message import Action
from minipacs.dicom.data_set.command_set import CommandSet
from minipacs.dicom.data_set.values import encode
from minipacs.dicom.tables import statuses
from minipacs.dicom.tables.transfer_syntaxes import IMPLICIT_VR_LITTLE_ENDIAN
from minipacs.dicom.tables.uids import is_uid, new_uid
from minipacs.dicom.text.charset import terms
from minipacs.dicom.workflow import performed_step
from minipacs.errors import Failure, Kind
from minipacs.index.workflow.performed_steps import Changed
from minipacs.services.auditing import tell_step
from minipacs.services.data_sets import read_values
from minipacs.services.environment import Request


def create(request: Request) -> CommandSet:
    """Begin a step, under the UID that the modality gives it, or one of ours (PS3.7 10.1.5.1.4)."""
    uid = request.message.command.affected_sop_instance_uid or new_uid()
    request.log.update(sop_instance_uid=uid)
    values, strange = read_values(request)
    _check_uid(request, uid)
    steps = request.environment.archive.index.performed_steps
    done = steps.create(uid, performed_step.created(values), request.caller.ae_title)
    if done is None:
        raise Failure(Kind.EXISTS, "there is a step with this SOP Instance UID")
    tell_step(request, uid, done.values, Action.CREATE)
    return _finish(request, uid, done, strange)


def change(request: Request) -> CommandSet:
    """Set attributes of a step that is in progress."""
    uid = request.message.command.requested_sop_instance_uid or ""
    request.log.update(sop_instance_uid=uid)
    values, strange = read_values(request)
    _check_uid(request, uid)
    steps = request.environment.archive.index.performed_steps
    done = steps.change(uid, lambda stored: performed_step.changed(stored, values))
    if done is None:
        raise _unknown()
    tell_step(request, uid, done.values, Action.UPDATE)
    return _finish(request, uid, done, strange)


def get(request: Request) -> CommandSet:
    """Return attributes of a step: those asked for, or all."""
    command = request.message.command
    uid = command.requested_sop_instance_uid or ""
    request.log.update(sop_instance_uid=uid)
    _check_uid(request, uid)
    values = request.environment.archive.index.performed_steps.get(uid)
    if values is None:
        raise _unknown()
    tell_step(request, uid, values, Action.READ)
    asked = command.attribute_identifier_list
    unknown = [tag for tag in asked if tag not in values]
    chosen = {tag: values[tag] for tag in asked if tag in values} if asked else values
    final = request.response(statuses.SUCCESS, has_data_set=True)
    _warn(final, unknown)
    implicit = request.message.context.transfer_syntax == IMPLICIT_VR_LITTLE_ENDIAN
    request.respond(final, encode(chosen, terms(request.charset), implicit=implicit))
    return final


def _finish(request: Request, uid: str, done: Changed, strange: Sequence[int]) -> CommandSet:
    status = performed_step.status_of(done.values)
    request.log.update(step_status=status, worklist_steps=done.worklist_steps)
    final = request.response(statuses.SUCCESS)
    final.affected_sop_instance_uid = uid
    _warn(final, strange)
    request.respond(final)
    return final


def _warn(final: CommandSet, attributes: Sequence[int]) -> None:
    """Tell of attributes that were passed over, if there are some (PS3.7 C.4.2)."""
    if attributes:
        final.status = statuses.ATTRIBUTE_LIST_ERROR
        final.error_comment = "attributes not recognized"
        final.attribute_identifier_list = tuple(attributes)


def _check_uid(request: Request, uid: str) -> None:
    """Refuse what is no UID, or the UID of a stored object."""
    if not is_uid(uid):
        raise Failure(Kind.MALFORMED_UID, "malformed SOP Instance UID")
    if request.environment.archive.index.instance(uid) is not None:
        raise Failure(Kind.OTHER_CLASS, "SOP Instance UID is that of a stored object")


def _unknown() -> Failure:
    return Failure(Kind.NOT_FOUND, "no step has this SOP Instance UID")
