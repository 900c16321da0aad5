"""Files of a folder as answers: with what browsers may keep, and what a page may do (CSP)."""

import asyncio
from collections.abc import Mapping

from starlette.responses import Response

from minipacs.web.entity import matches
from minipacs.web.environment import Ask
from minipacs.web.folder import ServedFile
from minipacs.web.representations.accept import accepts_gzip

FINAL = "public, max-age=31536000, immutable"
CHANGING = "no-cache"


def policy(*scripts: str) -> str:
    """Write the Content-Security-Policy of a page: all of it comes from here, and no text becomes a script.

    `scripts` are more sources of scripts, such as hashes of those that stand in the page itself.
    """
    sources = {
        "default-src": "'self'",
        "script-src": " ".join(("'self'", "'wasm-unsafe-eval'", *scripts)),
        "worker-src": "'self' blob:",
        "img-src": "'self' blob: data:",
        "media-src": "'self' blob:",
        "frame-src": "'self' blob:",
        "style-src": "'self' 'unsafe-inline'",
        "font-src": "'self' data:",
        "connect-src": "'self' blob: data:",
        "object-src": "'none'",
        "base-uri": "'self'",
        "form-action": "'self'",
        "frame-ancestors": "'self'",
    }
    return "; ".join(f"{name} {value}" for name, value in sources.items())


async def answer(ask: Ask, file: ServedFile, security_policy: str) -> Response:
    """Answer with a file, squeezed if the client takes that; 304 if it has it already."""
    compressed = file.has_compressed and accepts_gzip(ask.headers.get("accept-encoding", ""))
    tag = f'"{file.tag}{"-gzip" if compressed else ""}"'
    headers: Mapping[str, str] = {
        "ETag": tag,
        "Cache-Control": FINAL if file.is_final else CHANGING,
        "Content-Security-Policy": security_policy,
        "Vary": "Accept-Encoding",
        **({"Content-Encoding": "gzip"} if compressed else {}),
    }
    if matches(ask.headers.get("if-none-match", ""), tag):
        return Response(status_code=304, headers=headers)
    content = await asyncio.to_thread(lambda: file.read(compressed=compressed))
    return Response(content, headers={**headers, "Content-Type": file.media_type})
