"""Who asks over HTTP, and what they may: tokens, users by Basic or by a session, and whoever has no credentials."""

import asyncio
import ipaddress
import re
import secrets
from base64 import b64decode
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from http.cookies import CookieError, SimpleCookie
from pathlib import Path
from urllib.parse import urlsplit

from minipacs.net.identity import tokens as token_file
from minipacs.net.identity.rights import Right
from minipacs.net.identity.tokens import Tokens
from minipacs.net.identity.users import CheckingIsBusy, Users
from minipacs.web.answers import RETRY_AFTER_S, Refusal
from minipacs.web.frame import Scope

SESSION_COOKIE = "minipacs_session"
SESSION_DAYS = 1
MAX_SESSIONS = 1000
CHECK_TIMEOUT_S = 10.0
"""For a passcode's turn to be checked."""
REALM = "minipacs"
PAGE_HEADER = "x-minipacs-page"
"""A header field that our page has in each of its requests."""
MAX_FORWARDED = 16
MAX_ADDRESS_CHARS = 64
MAX_ADDRESSES = 1000
"""Addresses, and names that are none, of which is remembered what they are: every request has some."""

_BEARER = f'Bearer realm="{REALM}"'
_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
_SAME_SITE = frozenset({"same-origin", "none"})
_DEFAULT_PORTS = {"http": "80", "https": "443"}
_SET_BY_PROXIES = frozenset({"forwarded", "via", "x-forwarded-for", "x-forwarded-host", "x-real-ip"})
_HOST = re.compile(r"(?:[A-Za-z0-9._-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{1,5})?")


@dataclass(frozen=True, slots=True)
class Caller:
    """Whoever makes a request; `name` is "" for those without credentials."""

    name: str
    rights: tuple[Right, ...]
    address: str = ""


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a request was sent to, as the client sees it, and where it came from.

    `is_local` tells that it came from this machine, and not by way of a page or a proxy that only seems to.
    """

    scheme: str
    host: str
    prefix: str
    address: str
    is_local: bool = False

    @property
    def url(self) -> str:
        """Return the root of all URLs, without a slash at its end."""
        return f"{self.scheme}://{self.host}{self.prefix}"


class Places:
    """Finds out where a request was sent to: what proxies say counts only if they are trusted ones.

    `url` is the public address, if it is configured; `proxies` are networks whose headers count. With `is_guarded`
    nobody but they and this machine are answered: whoever else sends its passcode in the clear.
    """

    def __init__(self, url: str, proxies: Collection[str], *, is_guarded: bool = False) -> None:
        self._is_guarded = is_guarded
        self._url = urlsplit(url.rstrip("/")) if url else None
        self._proxies = [ipaddress.ip_network(proxy, strict=False) for proxy in proxies]

    def origin(self, scope: Scope) -> Origin:
        """Return the origin of a request. Raises Refusal for a Host that is none, or a client that is not answered."""
        headers = headers_of(scope)
        told = headers.get("host", "")
        address = str((scope.get("client") or ("",))[0])
        scheme, host, prefix = scope.get("scheme", "http"), headers.get("host", ""), ""
        is_proxied = bool(_SET_BY_PROXIES & headers.keys())
        if self._is_trusted(address):
            is_proxied = False
            scheme = _last(headers.get("x-forwarded-proto", "")) or scheme
            host = _last(headers.get("x-forwarded-host", "")) or host
            host = _with_port(host, scheme, _last(headers.get("x-forwarded-port", "")))
            prefix = _last(headers.get("x-forwarded-prefix", "")).rstrip("/")
            address = self._client(headers.get("x-forwarded-for", ""), address)
        elif self._is_guarded and not _is_loopback(address):
            raise Refusal(403, "without TLS only the proxies of web.behind_proxy are answered")
        else:
            _, port = scope.get("server") or ("", None)
            host = _with_port(host, scheme, str(port or ""))
        if self._url is not None:
            scheme, host, prefix = self._url.scheme, self._url.netloc, self._url.path
        if scheme not in ("http", "https") or not _HOST.fullmatch(host):
            raise Refusal(400, "the Host of a request is a name or an address")
        if prefix and not re.fullmatch(r"(?:/[A-Za-z0-9._~-]+)*", prefix):
            raise Refusal(400, "the prefix of a request is a path")
        is_ours = _is_unmistakable(told) or (self._url is not None and told == self._url.netloc)
        return Origin(scheme, host, prefix, address, is_local=_is_loopback(address) and is_ours and not is_proxied)

    def _client(self, forwarded: str, address: str) -> str:
        """Go back along the proxies to the first address that is none of them."""
        for hop in reversed(forwarded.split(",")[-MAX_FORWARDED:]):
            if not self._is_trusted(address) or not _is_address(hop.strip()):
                break
            address = hop.strip()
        return address

    def _is_trusted(self, address: str) -> bool:
        found = _parsed(address)
        return found is not None and any(found in proxy for proxy in self._proxies)


class WebAccess:
    """Decides who a caller is. Safe to use from any thread; `identify` from any event loop.

    `anonymous` are the rights of this machine's clients without credentials; `origins` those pages of other sites that
    may ask (CORS).
    """

    def __init__(
        self, users: Users, tokens: Tokens, sessions: Path, anonymous: Sequence[Right], origins: Collection[str]
    ) -> None:
        self._users = users
        self._tokens = tokens
        self._session_path = sessions
        self._sessions = Tokens(sessions)
        self._anonymous = tuple(anonymous)
        self.origins = frozenset(origins)

    async def identify(self, scope: Scope, origin: Origin) -> Caller:
        """Return who makes a request. Raises Refusal 401 if its credentials are not good, 403 if it was forged."""
        headers = headers_of(scope)
        kind, _, credentials = headers.get("authorization", "").partition(" ")
        if kind.lower() == "bearer":
            token = self._tokens.check(credentials.strip())
            if token is None:
                raise unauthorized("the token is unknown, expired or revoked")
            return Caller(token.name, token.rights, origin.address)
        if kind.lower() == "basic":
            _check_site(scope["method"], headers, origin, self.origins)
            return await self._by_passcode(*_basic(credentials), origin)
        if kind:
            raise unauthorized("credentials are a Bearer token or Basic")
        _check_site(scope["method"], headers, origin, self.origins)
        session = self._sessions.check(session_of(headers))
        user = None if session is None else self._users.get(session.name.rpartition(" ")[0])
        return Caller(user.name, user.rights, origin.address) if user else self.anonymous(origin)

    def anonymous(self, origin: Origin) -> Caller:
        """Return who asks without credentials."""
        return Caller("", self._anonymous if origin.is_local else (), origin.address)

    @property
    def knows_users(self) -> bool:
        """Tell whether there is anybody who could sign in."""
        return self._users.are_known

    async def sign_in(self, name: str, passcode: str, origin: Origin) -> tuple[Caller, str]:
        """Begin a session; give who it is and the cookie. Raises Refusal 401."""
        caller = await self._by_passcode(name, passcode.encode("utf-8", "surrogatepass"), origin)
        cookie = await asyncio.to_thread(self._begin_session, caller.name)
        secure = "; Secure" if origin.scheme == "https" else ""
        age_s = SESSION_DAYS * 86400
        path = f"Path={origin.prefix}/"
        return caller, f"{SESSION_COOKIE}={cookie}; {path}; Max-Age={age_s}; HttpOnly; SameSite=Strict{secure}"

    async def sign_out(self, scope: Scope, origin: Origin) -> str:
        """End the session of a request, also on this side; give the cookie that ends it in the browser."""
        session = self._sessions.check(session_of(headers_of(scope)))
        if session is not None:
            await asyncio.to_thread(token_file.revoke, self._session_path, session.name)
        return f"{SESSION_COOKIE}=; Path={origin.prefix}/; Max-Age=0; HttpOnly; SameSite=Strict"

    async def _by_passcode(self, name: str, passcode: bytes, origin: Origin) -> Caller:
        try:
            user = await asyncio.to_thread(self._users.check, name, passcode, CHECK_TIMEOUT_S)
        except CheckingIsBusy:
            raise Refusal(503, "too many sign in now", {"Retry-After": str(RETRY_AFTER_S)}) from None
        if user is None:
            raise unauthorized("the name or the passcode is wrong")
        return Caller(user.name, user.rights, origin.address)

    def _begin_session(self, name: str) -> str:
        kept = token_file.listed(self._session_path)
        for old in [t for t in kept if token_file.has_expired(t)] or kept[: max(len(kept) - MAX_SESSIONS + 1, 0)]:
            token_file.revoke(self._session_path, old.name)
        return token_file.create(self._session_path, f"{name} {secrets.token_hex(8)}", [], SESSION_DAYS)


def claimed_name(scope: Scope) -> str:
    """Return who a request says that it comes from, "" if it does not say."""
    kind, _, credentials = headers_of(scope).get("authorization", "").partition(" ")
    try:
        return _basic(credentials)[0] if kind.lower() == "basic" else ""
    except Refusal:
        return ""


def unauthorized(words: str) -> Refusal:
    """Refuse for want of good credentials."""
    return Refusal(401, words, {"WWW-Authenticate": f'{_BEARER}, Basic realm="{REALM}", charset="UTF-8"'})


def without_dialog(refusal: Refusal, headers: Mapping[str, str]) -> Refusal:
    """Give what a page of ours is refused with: a browser that is offered Basic would ask for a passcode itself."""
    is_part = headers.get("sec-fetch-site") == "same-origin" and headers.get("sec-fetch-mode") != "navigate"
    if "WWW-Authenticate" not in refusal.headers or not (is_part or PAGE_HEADER in headers):
        return refusal
    return Refusal(refusal.status, refusal.words, {**refusal.headers, "WWW-Authenticate": _BEARER})


def require(caller: Caller, *rights: Right) -> None:
    """Raise Refusal unless the caller has one of `rights`: 401 for those who may yet say who they are, else 403."""
    if any(right in caller.rights for right in rights):
        return
    if not caller.name:
        raise unauthorized(f"this needs the right {' or '.join(rights)}: sign in")
    raise Refusal(403, f"this needs the right {' or '.join(rights)}")


def headers_of(scope: Scope) -> Mapping[str, str]:
    """Return the header fields, names in lower case; those that occur several times are joined by commas."""
    raw, state = scope["headers"], scope.setdefault("state", {})
    read_of, known = state.get("headers", (None, {}))
    if read_of is raw:
        return known  # type: ignore[no-any-return]
    found: dict[str, str] = {}
    for raw_name, raw_value in raw:
        name, value = raw_name.decode("latin-1"), raw_value.decode("latin-1")
        found[name] = f"{found[name]},{value}" if name in found else value
    state["headers"] = raw, found
    return found


def session_of(headers: Mapping[str, str]) -> str:
    """Return the session of a request, "" if it has none."""
    cookies: SimpleCookie = SimpleCookie()
    try:
        cookies.load(headers.get("cookie", ""))
    except CookieError:
        return ""
    found = cookies.get(SESSION_COOKIE)
    return found.value if found else ""


def _check_site(method: str, headers: Mapping[str, str], origin: Origin, allowed: frozenset[str]) -> None:
    """Refuse what a page of another site has a browser send with our cookie, a passcode that it keeps, or nothing."""
    if method in _SAFE_METHODS:
        return
    site, source = headers.get("sec-fetch-site"), headers.get("origin")
    is_ours = source in (None, f"{origin.scheme}://{origin.host}") or source in allowed
    if not is_ours or (site is not None and site not in _SAME_SITE and source not in allowed):
        raise Refusal(403, "a page of another site may not change anything here")


def _basic(credentials: str) -> tuple[str, bytes]:
    try:
        name, colon, passcode = b64decode(credentials.strip(), validate=True).partition(b":")
        if not colon:
            raise ValueError("no colon")
        return name.decode(), passcode
    except ValueError:
        raise unauthorized("Basic credentials are NAME:PASSCODE in base64") from None


def _with_port(host: str, scheme: str, port: str) -> str:
    """Add the port that was connected to, to a Host without one: some clients leave it out whatever it is."""
    if not port or port == _DEFAULT_PORTS.get(scheme) or re.search(r":\d+$", host):
        return host
    return f"{host}:{port}"


def _is_unmistakable(host: str) -> bool:
    """Tell whether a Host is an address or localhost: any other name may be one that its owner has turned to us."""
    name = host.rpartition(":")[0] if re.search(r":\d+$", host) else host
    return name.lower() == "localhost" or _is_address(name.strip("[]"))


def _is_loopback(address: str) -> bool:
    found = _parsed(address)
    return found is not None and found.is_loopback


def _last(value: str) -> str:
    """Return what the nearest proxy has added to a header field."""
    return value.rpartition(",")[2].strip()


def _is_address(text: str) -> bool:
    return _parsed(text) is not None


def _parsed(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    return _parsed_once(text) if len(text) <= MAX_ADDRESS_CHARS else None


@lru_cache(MAX_ADDRESSES)
def _parsed_once(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None
