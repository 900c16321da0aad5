"""The page of the archive: what was built from `minipacs/web/page`. It holds nobody's data; its requests get that."""

import re
from pathlib import Path

from starlette.responses import Response

from minipacs.web.answers import Refusal
from minipacs.web.environment import DICOM_WEB, Ask
from minipacs.web.folder import Folder
from minipacs.web.site.serving import answer, policy

BUILT = Path(__file__).parent.parent / "page" / "dist"
INDEX = "index.html"
POLICY = policy()

_FINAL = re.compile("^assets/")
_HOW_TO_GET_IT = f"""\
This archive runs without its page, which was not built when it was installed.

From a clone of its sources ./tools/run builds the page, and so does pip install: each needs a way to npm's registry.
DICOMweb is there without it: {DICOM_WEB.removeprefix("/")}/studies
"""


def built() -> Folder:
    """Return the page that came with this install; empty if none did."""
    return Folder(BUILT, _FINAL)


async def page(ask: Ask) -> Response:
    """Answer with the page, or how to get it."""
    folder = _folder(ask)
    file = folder.find(INDEX)
    if file is None:
        return Response(_HOW_TO_GET_IT, 404, media_type="text/plain", headers={"Cache-Control": "no-cache"})
    return await answer(ask, file, POLICY)


async def asset(ask: Ask) -> Response:
    """Answer with a part of it. Raises Refusal 404."""
    file = _folder(ask).find(f"assets/{ask.path['file']}")
    if file is None:
        raise Refusal(404, "the page has no such part")
    return await answer(ask, file, POLICY)


def _folder(ask: Ask) -> Folder:
    """Return what is served. Raises Refusal 404 if nothing is to be."""
    if ask.environment.page is None:
        raise Refusal(404, "there is no page here: web.page is false")
    return ask.environment.page
