"""Who a browser acts for, what they may, signing in and out (`web/access.py`)."""

import asyncio

from starlette.responses import Response

from minipacs import __version__
from minipacs.net.identity.rights import MAX_NAME_CHARS
from minipacs.web.access import Caller
from minipacs.web.answers import Refusal
from minipacs.web.api.answering import answer, asked
from minipacs.web.environment import Ask


async def show(ask: Ask) -> Response:
    """Tell who asks, and what they may."""
    return answer(ask, _document(ask, ask.caller))


async def sign_in(ask: Ask) -> Response:
    """Begin a session. Raises Refusal 400, 401 for a name or a passcode that is wrong."""
    body = await asked(ask, name=str, passcode=str)
    name, passcode = str(body.get("name", "")), str(body.get("passcode", ""))
    environment = ask.environment
    if not name.isprintable() or not 0 < len(name) <= MAX_NAME_CHARS:
        raise Refusal(400, f"a name has 1 to {MAX_NAME_CHARS} printable characters")
    try:
        caller, cookie = await environment.access.sign_in(name, passcode, ask.origin)
    except Refusal as refusal:
        environment.trail.refused(name, ask.origin.address, refusal.words)
        raise
    await asyncio.to_thread(environment.trail.signed, caller, login=True)
    ask.scope["state"]["user"] = caller.name
    return answer(ask, _document(ask, caller), headers={"Set-Cookie": cookie})


async def sign_out(ask: Ask) -> Response:
    """End the session; tell what is left to whoever has signed out."""
    access = ask.environment.access
    cookie = await access.sign_out(ask.scope, ask.origin)
    if ask.caller.name:
        await asyncio.to_thread(ask.environment.trail.signed, ask.caller, login=False)
    return answer(ask, _document(ask, access.anonymous(ask.origin)), headers={"Set-Cookie": cookie})


def _document(ask: Ask, caller: Caller) -> dict[str, object]:
    environment = ask.environment
    return {
        "name": caller.name,
        "rights": list(caller.rights),
        "ae_title": environment.ae_title,
        "version": __version__,
        "ohif": bool(environment.ohif),
        "can_sign_in": environment.access.knows_users,
    }
