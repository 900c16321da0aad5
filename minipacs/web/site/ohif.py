"""The viewer OHIF at /ohif/, where it was installed (`installing.py`): like our page it holds nobody's data."""

import asyncio
import hashlib
import json
import re
from functools import lru_cache
from pathlib import Path

from starlette.responses import RedirectResponse, Response

from minipacs.web.answers import Refusal
from minipacs.web.entity import matches
from minipacs.web.environment import Ask
from minipacs.web.folder import Folder, ServedFile
from minipacs.web.site.installing import FACTS, INDEX, ROOT, place_of
from minipacs.web.site.serving import CHANGING, answer, policy

_FINAL = re.compile(r"(?:^|\.)[0-9a-f]{16,20}\.")


def installed(storage: Path) -> Folder:
    """Return the viewer of an archive with this storage folder; empty if none is installed."""
    return Folder(place_of(storage), _FINAL)


async def enter(ask: Ask) -> Response:
    """Lead to the viewer from where its slash was left out."""
    return RedirectResponse(f"{ask.origin.prefix}/ohif/", 308)


async def ohif(ask: Ask) -> Response:
    """Answer with a file of the viewer; what has no such name is a place within its page. Raises Refusal 404."""
    folder = ask.environment.ohif
    facts = folder.find(FACTS) if folder is not None else None
    if folder is None or facts is None:
        raise Refusal(404, "OHIF is not installed here: minipacs viewer install")
    name = ask.path.get("path", "")
    security_policy = policy(*await asyncio.to_thread(_scripts, facts.path, facts.tag))
    file = folder.find(name)
    if file is not None and name not in (FACTS, INDEX):
        return await answer(ask, file, security_policy)
    index = folder.find(INDEX)
    if index is None or (name != INDEX and "." in name):
        raise Refusal(404, "the viewer has no such part")
    return await _page(ask, index, security_policy)


async def _page(ask: Ask, index: ServedFile, security_policy: str) -> Response:
    """Answer with its page, in which the path is written that the browser knows us by."""
    content = await asyncio.to_thread(lambda: index.read(compressed=False))
    content = content.replace(ROOT.encode(), f"{ask.origin.prefix}/ohif/".encode())
    tag = f'"{hashlib.sha256(content).hexdigest()[:32]}"'
    headers = {"ETag": tag, "Cache-Control": CHANGING, "Content-Security-Policy": security_policy}
    if matches(ask.headers.get("if-none-match", ""), tag):
        return Response(status_code=304, headers=headers)
    return Response(content, media_type="text/html", headers=headers)


@lru_cache(4)
def _scripts(path: Path, tag: str) -> tuple[str, ...]:
    """Read the hashes of the scripts in its page; `tag` changes with the file."""
    return tuple(json.loads(path.read_bytes())["scripts"])
