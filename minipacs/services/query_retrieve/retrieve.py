"""C-MOVE and C-GET: what is asked for, and the responses around its sub-operations (PS3.4 C.4.2, C.4.3)."""

from collections.abc import Mapping, Sequence

from minipacs.archive.auditing import Sending
from minipacs.archive.ports import Catalogue
from minipacs.audit.audit import application_entity
from minipacs.dicom.data_set.command_set import CommandSet
from minipacs.dicom.data_set.decode import DataSet
from minipacs.dicom.data_set.encode import ResponseEncoder
from minipacs.dicom.tables import statuses
from minipacs.dicom.tables.attributes import BY_KEYWORD, UNIQUE_KEY, Level
from minipacs.dicom.tables.sop_classes import LEVELS_OF, QUERY_RETRIEVE
from minipacs.dicom.tables.transfer_syntaxes import IMPLICIT_VR_LITTLE_ENDIAN
from minipacs.errors import Failure, Kind
from minipacs.index import StoredInstance
from minipacs.scu.delivery import Delivery
from minipacs.scu.sub_operations import Originator, Receiver, Sender
from minipacs.scu.tally import Tally
from minipacs.services.auditing import requestor
from minipacs.services.data_sets import read_identifier
from minipacs.services.environment import Request
from minipacs.services.query_retrieve.invoker import Invoker
from minipacs.services.query_retrieve.pending import allowance_of
from minipacs.services.query_retrieve.query_keys import read_level

PATIENT_ID, ISSUER = UNIQUE_KEY["PATIENT"].keyword, BY_KEYWORD["IssuerOfPatientID"]
_FAILED_SOP_INSTANCE_UID_LIST = (0x00080058, "UI")


def move(request: Request) -> CommandSet:
    """Send what matches to the move destination, over associations of our own."""
    instances = _matches(request)
    title = (request.message.command.move_destination or "").strip()
    destination = request.environment.destination(title)
    request.log["destination"] = title
    if destination is None:
        raise Failure(Kind.NOT_FOUND, "move destination is not configured")
    caller, audit, index = requestor(request.caller), request.environment.audit, request.environment.archive.index
    sending = Sending(audit, index, instances, application_entity(title, destination.host), [caller])
    tally = Tally(len(instances), request.caller.association_id, on_settled=sending.answered)
    invoker = Invoker(request, tally)
    comment = ""
    try:
        if instances:
            invoker.tell()
            environment = request.environment
            originator = Originator(request.caller.ae_title, request.message_id)
            delivery = Delivery(
                environment.archive.reader,
                environment.requestor,
                destination,
                environment.observer.sent,
                originator,
                request.message.command.priority or 0,
            )
            comment = delivery.send(instances, tally, invoker)
    finally:
        sending.close()
        _log(request, tally)
    return _finish(request, tally, invoker, comment)


def get(request: Request) -> CommandSet:
    """Send what matches back over the same association."""
    instances = _matches(request)
    audit, index = request.environment.audit, request.environment.archive.index
    sending = Sending(audit, index, instances, requestor(request.caller))
    tally = Tally(len(instances), request.caller.association_id, on_settled=sending.answered)
    invoker = Invoker(request, tally)
    contexts = [c for c in request.association.contexts.values() if c.as_scu]
    comment = "" if contexts else "no storage context with the SCP role was negotiated"
    peer = request.caller.peer
    receiver = Receiver(request.caller.label, peer.transfer_syntaxes if peer is not None else ())
    try:
        if instances:
            invoker.tell()
            environment = request.environment
            sent = environment.observer.sent
            sender = Sender(environment.archive.reader, request.association, contexts, receiver, sent)
            sender.send(instances, tally, invoker, request.message.command.priority or 0)
    finally:
        sending.close()
        _log(request, tally)
    return _finish(request, tally, invoker, comment)


def _matches(request: Request) -> list[StoredInstance]:
    """Return the frozen list of what the identifier names (PS3.4 C.4.2.1.4)."""
    identifier = read_identifier(request)
    context = request.message.context
    model = QUERY_RETRIEVE[context.abstract_syntax].model
    level = read_level(identifier, model)
    request.log["level"] = level
    relational = context.extended[:1] == b"\1"
    keys = _unique_keys(identifier, level, LEVELS_OF[model], relational=relational)
    index = request.environment.archive.index
    keys = {**_issuer(identifier, keys, index), **keys}
    request.note("retrieval", {keyword: "\\".join(values) for keyword, values in keys.items()})
    return index.instances(keys, allowance=allowance_of(request))


def _issuer(identifier: DataSet, keys: Mapping[str, Sequence[str]], index: Catalogue) -> Mapping[str, Sequence[str]]:
    """Restrict a Patient ID to the issuer that is named with it; refuse one that is ambiguous alone."""
    if PATIENT_ID not in keys:
        return {}
    issuer = identifier.text(ISSUER.tag, ISSUER.vr).strip()
    if issuer:
        return {ISSUER.keyword: [issuer]}
    if len(keys) == 1 and index.has_several_issuers(*keys[PATIENT_ID]):
        raise Failure(Kind.INVALID, "Patient ID of several issuers: name Issuer of Patient ID", (ISSUER.tag,))
    return {}


def _unique_keys(
    identifier: DataSet, level: Level, levels: Sequence[Level], *, relational: bool
) -> Mapping[str, Sequence[str]]:
    """Read the unique keys down to `level`: a list of UIDs in the last, one value above (PS3.4 C.4.2.1.4.1).

    None may be missing, unless `relational`: then one is enough (PS3.4 C.4.2.2.2).
    """
    attributes = [UNIQUE_KEY[at] for at in levels[: levels.index(level) + 1]]
    given = [attribute for attribute in attributes if identifier.text(attribute.tag)]
    wanted = (given or attributes[-1:]) if relational else attributes
    keys: dict[str, list[str]] = {}
    for attribute in wanted:
        text = identifier.text(attribute.tag)
        found = [value.strip() for value in text.split("\\") if value.strip()]
        single = attribute is not wanted[-1] or attribute is UNIQUE_KEY["PATIENT"]
        if not found or (single and len(found) > 1) or "*" in text or "?" in text:
            what = "exactly one value" if single else "at least one UID"
            comment = f"{attribute.keyword} needs {what} and no wildcard"
            raise Failure(Kind.INVALID, comment, (attribute.tag,))
        keys[attribute.keyword] = found
    return keys


def _log(request: Request, tally: Tally) -> None:
    request.log.update(completed=tally.completed, failed=len(tally.failed), warning=tally.warning, total=tally.total)


def _finish(request: Request, tally: Tally, invoker: Invoker, comment: str) -> CommandSet:
    """Send the final response: its status follows from the counts (PS3.4 C.4.2.3.1).

    Raises AssociationEnded if the requestor is gone.
    """
    if invoker.gone is not None:
        raise invoker.gone
    status = statuses.CANCEL if invoker.cancelled else tally.status()
    failed = None
    if tally.failed:
        implicit = request.message.context.transfer_syntax == IMPLICIT_VR_LITTLE_ENDIAN
        encoder = ResponseEncoder([_FAILED_SOP_INSTANCE_UID_LIST], (), implicit=implicit)
        failed = encoder.encode(["\\".join(tally.failed)])
    final = request.response(status, has_data_set=failed is not None)
    tally.put_into(final, with_remaining=status == statuses.CANCEL)
    if tally.failed:
        final.error_comment = (comment or tally.first_reason)[:64]
    request.respond(final, failed)
    return final
