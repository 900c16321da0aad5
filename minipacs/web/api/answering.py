"""How resources without a standard answer and are asked: JSON that nobody keeps, times as people and programs read."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime

from starlette.responses import Response

from minipacs.web.answers import Refusal
from minipacs.web.environment import Ask
from minipacs.web.representations.accept import Offer

JSON = Offer("application/json")
USUAL_ROWS = 100
MAX_ROWS = 1000
"""Of one answer."""
MAX_BODY_BYTES = 1 << 20


def answer(ask: Ask, document: object, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """Answer with a document. Raises Refusal 406."""
    ask.choose([JSON])
    body = json.dumps(document, ensure_ascii=False).encode("utf-8", "replace")
    return Response(body, status, media_type=JSON.media_type, headers={"Cache-Control": "no-store", **(headers or {})})


async def asked(ask: Ask, **kinds: type) -> dict[str, object]:
    """Read a body that is a JSON object with members of these names and kinds. Raises Refusal 400, 413.

    A member that is missing is not given; one that has no name here is refused.
    """
    found = await body_of(ask)
    for name, value in found.items():
        if name not in kinds:
            raise Refusal(400, f"the members of the body are {', '.join(kinds)}")
        if not isinstance(value, kinds[name]):
            raise Refusal(400, f"{name} is not of the right kind")
    return found


async def body_of(ask: Ask) -> dict[str, object]:
    """Read a body that is a JSON object. Raises Refusal 400, 413."""
    try:
        found = json.loads(await ask.whole_body(MAX_BODY_BYTES))
    except (ValueError, RecursionError):
        raise Refusal(400, "the body is no JSON") from None
    if not isinstance(found, dict):
        raise Refusal(400, "the body is a JSON object")
    return found


def time_of(seconds: float | None) -> str | None:
    """Write a time that is in seconds since 1970."""
    if seconds is None:
        return None
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
