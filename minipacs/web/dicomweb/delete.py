"""DELETE of studies, series and instances: not in the standard, and what other servers have."""

import asyncio
import logging
from collections.abc import Sequence

from starlette.responses import Response

from minipacs.archive.auditing import by_patient, tell_deleted
from minipacs.archive.removal import remove
from minipacs.errors import Failure, Kind, system_words
from minipacs.index import StoredInstance
from minipacs.web.auditing import client
from minipacs.web.dicomweb.retrieve import listing
from minipacs.web.environment import Ask

logger = logging.getLogger(__name__)


async def delete(ask: Ask) -> Response:
    """Remove what the path names, for good. Raises Refusal 404."""
    instances = await listing(ask)
    ask.log.update(instances=await asyncio.to_thread(_remove, ask, instances))
    return Response(status_code=204)


def _remove(ask: Ask, instances: Sequence[StoredInstance]) -> int:
    archive = ask.environment.archive
    audit = ask.environment.trail.audit
    gone = list(by_patient(archive.index, instances)) if audit.is_on else []
    removed = 0
    try:
        for count in remove(archive.tree, archive.index, [instance.sop_instance_uid for instance in instances]):
            removed += count
    except OSError as error:
        raise Failure(Kind.BUSY, f"{removed} of {len(instances)} were removed: {system_words(error)}") from error
    finally:
        tell_deleted(audit, archive.index, client(ask.caller), gone)
        if removed:
            by = ask.caller.name or ask.caller.address
            fields = {"id": ask.id, "by": by, "instances": removed, "study_uids": ask.path["study"]}
            logger.warning("instances deleted", extra={"fields": fields})
    return removed
