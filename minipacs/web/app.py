"""The application: finds the row of a request, who asks and whether that is allowed, and lets its handler answer."""

import asyncio
import re
from collections.abc import Iterable
from dataclasses import dataclass

from starlette.middleware.cors import CORSMiddleware
from starlette.responses import Response

from minipacs.dicom.tables.uids import is_uid
from minipacs.web import capabilities
from minipacs.web.access import claimed_name, headers_of, require, without_dialog
from minipacs.web.answers import Refusal
from minipacs.web.environment import Ask, Environment, read_query
from minipacs.web.frame import App, Frame, Message, Observe, Receive, Scope, Send
from minipacs.web.routes import ROUTES, Route

NOT_MODIFIED, UNAUTHORIZED = 304, 401
UID_PARTS = frozenset({"study", "series", "instance", "step", "transaction"})
"""Variable parts of paths that are UIDs."""

CORS_METHODS = ("GET", "HEAD", "POST", "DELETE")
CORS_HEADERS = ("Accept", "Authorization", "Content-Type", "If-None-Match", "If-Range", "Range")
CORS_EXPOSED = ("Content-Range", "ETag", "Location", "Warning", "X-Request-Id")
"""What pages of the other sites of web.origins may send, and see of an answer."""

DEEP_PARTS = {"element": ".+", "path": ".+"}
"""Variable parts that may hold slashes."""

_PART = re.compile(r"\{([a-z_]+)\}")


@dataclass(frozen=True, slots=True)
class _Path:
    """A template of paths with what answers each method."""

    pattern: re.Pattern[str]
    routes: dict[str, Route]


class Application:
    """An ASGI application without its frame; see `make_app`."""

    def __init__(self, environment: Environment, routes: Iterable[Route]) -> None:
        self._environment = environment
        self._routes = tuple(routes)
        self._paths: dict[str, _Path] = {}
        for route in self._routes:
            path = self._paths.setdefault(route.path, _Path(_compile(route.path), {}))
            path.routes[route.method] = route
            if route.method == "GET":
                path.routes.setdefault("HEAD", route)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request. Raises Refusal, Failure and whatever handlers raise."""
        try:
            await self._answer(scope, receive, send)
        except Refusal as refusal:
            raise without_dialog(refusal, headers_of(scope)) from None

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        environment = self._environment
        origin = environment.places.origin(scope)
        if scope["method"] == "OPTIONS":
            await self._told(scope["path"])(scope, receive, send)
            return
        route, parts = self._find(scope["method"], scope["path"])
        scope["state"]["route"] = route.path
        try:
            caller = await environment.access.identify(scope, origin)
        except Refusal as refusal:
            if refusal.status == UNAUTHORIZED:
                environment.trail.refused(claimed_name(scope), origin.address, refusal.words)
            raise
        scope["state"]["user"] = caller.name
        if route.rights:
            try:
                require(caller, *route.rights)
            except Refusal as refusal:
                if caller.name:
                    environment.trail.alerts.forbidden(caller.name, origin.address, refusal.words)
                raise
        for name in UID_PARTS & parts.keys():
            if not is_uid(parts[name]):
                raise Refusal(404, f"the {name} in the path is no UID")
        ask = Ask(environment, scope, receive, caller, origin, parts, read_query(scope["query_string"]))
        response = await route.handler(ask)
        if ask.found and route.method == "GET" and response.status_code != NOT_MODIFIED:
            await asyncio.to_thread(environment.trail.retrieved, caller, ask.found)
        for warning in ask.warnings:
            response.headers.append("Warning", f"299 {origin.host}: {warning}")
        response.headers.add_vary_header("Accept")
        if scope["method"] == "HEAD":
            send = _without_body(send)
        await response(scope, receive, send)

    def _told(self, target: str) -> Response:
        """Tell what a path offers. Raises Refusal 404."""
        if target in capabilities.EVERYTHING:
            return capabilities.answer(self._routes, ["GET", "HEAD"])
        for path in self._paths.values():
            if path.pattern.fullmatch(target):
                return capabilities.answer(dict.fromkeys(path.routes.values()), path.routes)
        raise Refusal(404, "there is no such resource")

    def _find(self, method: str, target: str) -> tuple[Route, dict[str, str]]:
        """Find the row of a request; of templates that fit, the first says what is allowed. Raises Refusal 404, 405."""
        for path in self._paths.values():
            found = path.pattern.fullmatch(target)
            if found is None:
                continue
            if method in path.routes:
                return path.routes[method], found.groupdict()
            methods = ", ".join(sorted({*path.routes, "OPTIONS"}))
            raise Refusal(405, f"this takes {methods}", {"Allow": methods})
        raise Refusal(404, "there is no such resource")


def make_app(environment: Environment, observe: Observe, routes: Iterable[Route] = ROUTES) -> App:
    """Make the whole application; `observe` hears of each request when it has ended."""
    app: App = Frame(Application(environment, routes), observe)
    if environment.access.origins:
        app = CORSMiddleware(
            app,
            allow_origins=sorted(environment.access.origins),
            allow_credentials=True,
            allow_methods=CORS_METHODS,
            allow_headers=CORS_HEADERS,
            expose_headers=CORS_EXPOSED,
        )
    return app


def _compile(template: str) -> re.Pattern[str]:
    pattern = ""
    for i, piece in enumerate(_PART.split(template)):
        pattern += f"(?P<{piece}>{DEEP_PARTS.get(piece, '[^/]+')})" if i % 2 else re.escape(piece)
    return re.compile(pattern)


def _without_body(send: Send) -> Send:
    async def send_head(message: Message) -> None:
        if message["type"] == "http.response.body":
            message = {**message, "body": b""}
        await send(message)

    return send_head
