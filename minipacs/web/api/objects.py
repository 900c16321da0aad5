"""What is there already, and what a removal would take: asked by pages before they act."""

import asyncio

from starlette.responses import Response

from minipacs.archive.removal import Going, what_goes
from minipacs.dicom.tables.uids import is_uid
from minipacs.index.objects.models import ONLINE
from minipacs.web.answers import Refusal
from minipacs.web.api.answering import answer, asked
from minipacs.web.environment import PATH_KEYS, Ask

MAX_ASKED = 10_000
"""UIDs of one request."""


async def presence(ask: Ask) -> Response:
    """Tell which of many instances are stored, and can be had."""
    uids = (await asked(ask, instances=list)).get("instances", [])
    assert isinstance(uids, list)  # noqa: S101  asked() has seen to it
    if len(uids) > MAX_ASKED or not all(isinstance(uid, str) and is_uid(uid) for uid in uids):
        raise Refusal(400, f"instances are up to {MAX_ASKED} SOP Instance UIDs")
    index = ask.environment.archive.index
    found = await asyncio.to_thread(index.instances, {"SOPInstanceUID": uids}) if uids else []
    return answer(ask, {"present": [one.sop_instance_uid for one in found if one.availability == ONLINE]})


async def removal(ask: Ask) -> Response:
    """Tell what would go with a study, a series or an instance. Raises Refusal 400, 404."""
    keys = {PATH_KEYS[name]: uid for name in PATH_KEYS if (uid := ask.parameter(name))}
    if "StudyInstanceUID" not in keys or not all(map(is_uid, keys.values())):
        raise Refusal(400, "study, and perhaps series and instance, are UIDs")
    found = await asyncio.to_thread(what_goes, ask.environment.archive.index, keys)
    if not found.instances:
        raise Refusal(404, "nothing of this is stored")
    return answer(ask, _document(found))


def _document(found: Going) -> dict[str, object]:
    return {
        "patients": [
            {"name": name, "id": patient_id, "issuer": issuer, "birth_date": birth_date}
            for patient_id, issuer, name, birth_date in found.patients
        ],
        "studies": list(found.studies),
        "series": found.series,
        "instances": found.instances,
        "bytes": found.size_bytes,
        "held": list(found.held),
    }
