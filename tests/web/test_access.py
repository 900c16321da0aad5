"""Who a caller is, by every kind of credentials, and what forged requests and false proxies get."""

import asyncio
from base64 import b64encode
from pathlib import Path
from typing import Any

import pytest

from minipacs.net.identity import tokens, users
from minipacs.net.identity.tokens import Tokens
from minipacs.net.identity.users import CheckingIsBusy, Users
from minipacs.web import access as access_module
from minipacs.web.access import Caller, Places, WebAccess, require, session_of
from minipacs.web.answers import Refusal


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(users, "_LOG2_N", 4)


@pytest.fixture
def access(tmp_path: Path) -> WebAccess:
    users.add(tmp_path / "users", "anna", "pässcode".encode(), ["read", "store"])
    found = Users(tmp_path / "users"), Tokens(tmp_path / "tokens")
    return WebAccess(*found, tmp_path / "sessions", ["read"], ["https://viewer.example"])


def scope(method: str = "GET", address: str = "10.0.0.9", **headers: str) -> dict[str, Any]:
    fields = {"host": "pacs.example:8042", **{name.replace("_", "-"): value for name, value in headers.items()}}
    encoded = [(name.encode(), value.encode("latin-1")) for name, value in fields.items()]
    return {"type": "http", "method": method, "scheme": "http", "client": (address, 1), "headers": encoded}


def origin_of(request: dict[str, Any], url: str = "", proxies: tuple[str, ...] = ()) -> Any:
    return Places(url, proxies).origin(request)


def who(access: WebAccess, **request: str) -> Caller:
    asked = scope(**request)
    return asyncio.run(access.identify(asked, origin_of(asked)))


def basic(name: str, passcode: str) -> str:
    return "Basic " + b64encode(f"{name}:{passcode}".encode()).decode()


def test_without_credentials_one_has_the_anonymous_rights(access: WebAccess):
    here = {"address": "127.0.0.1", "host": "localhost:8042"}
    assert who(access, **here) == Caller("", ("read",), "127.0.0.1")
    assert who(access, **{**here, "host": "[::1]"}).rights == ("read",)
    with pytest.raises(Refusal):
        who(access, **here, method="POST", origin="http://evil.example")


@pytest.mark.parametrize(
    "request_",
    [
        {"address": "10.0.0.9"},
        {"host": "evil.example:8042"},  # a name that its owner has turned to this machine (DNS rebinding)
        {"host": "localhost.evil.example"},
        {"x_forwarded_for": "6.6.6.6"},
        {"via": "1.1 proxy"},
    ],
)
def test_who_only_seems_to_be_of_this_machine_has_none(access: WebAccess, request_: dict[str, str]):
    assert who(access, **{"address": "127.0.0.1", "host": "localhost:8042", **request_}).rights == ()


def test_a_proxy_on_this_machine_speaks_for_others():
    for client, is_local in (("6.6.6.6", False), ("127.0.0.1", True)):
        asked = scope(address="127.0.0.1", host="127.0.0.1:8042", x_forwarded_for=client)
        assert origin_of(asked, proxies=("127.0.0.1",)).is_local == is_local


def test_without_tls_only_proxies_and_this_machine_are_answered():
    places = Places("", ["10.0.0.1"], is_guarded=True)
    for address in ("127.0.0.1", "::1", "10.0.0.1"):
        places.origin(scope(address=address))
    with pytest.raises(Refusal, match=r"web\.behind_proxy") as refused:
        places.origin(scope(address="10.0.0.2"))
    assert refused.value.status == 403


def test_a_token_and_its_end(access: WebAccess, tmp_path: Path):
    token = tokens.create(tmp_path / "tokens", "viewer", ["read", "delete"])
    assert who(access, authorization=f"Bearer {token}").rights == ("read", "delete")
    tokens.revoke(tmp_path / "tokens", "viewer")
    with pytest.raises(Refusal) as refused:
        who(access, authorization=f"Bearer {token}")
    assert refused.value.status == 401
    assert refused.value.headers["WWW-Authenticate"].startswith("Bearer")


def test_basic(access: WebAccess):
    assert who(access, authorization=basic("anna", "pässcode")).rights == ("store", "read")


@pytest.mark.parametrize(
    "authorization",
    [
        basic("anna", "x"),
        basic("bert", "x"),
        "Basic ???",
        "Basic " + b64encode(b"anna").decode(),
        "Bearer x",
        "Digest x",
        "x",
    ],
)
def test_credentials_that_are_not_good_are_no_anonymous_ones(access: WebAccess, authorization: str):
    with pytest.raises(Refusal) as refused:
        who(access, authorization=authorization)
    assert refused.value.status == 401


def test_a_wrong_name_and_a_wrong_passcode_are_told_in_the_same_words(access: WebAccess):
    told = []
    for authorization in (basic("anna", "x"), basic("bert", "x")):
        with pytest.raises(Refusal) as refused:
            who(access, authorization=authorization)
        told.append(refused.value.words)
    assert told[0] == told[1]


def signed_in(access: WebAccess, scheme: str = "http") -> str:
    origin = access_module.Origin(scheme, "pacs.example:8042", "", "10.0.0.9")
    caller, cookie = asyncio.run(access.sign_in("anna", "pässcode", origin))
    assert caller.name == "anna"
    assert "HttpOnly" in cookie
    assert "SameSite=Strict" in cookie
    assert ("Secure" in cookie) == (scheme == "https")
    return cookie.partition(";")[0]


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_session_from_sign_in_to_sign_out(access: WebAccess, scheme: str):
    cookie = signed_in(access, scheme)
    assert who(access, cookie=cookie).name == "anna"
    ended = asyncio.run(access.sign_out(scope(cookie=cookie), origin_of(scope())))
    assert "Max-Age=0" in ended
    assert who(access, cookie=cookie).name == ""


def test_a_session_is_not_kept_readable_and_ends_with_its_user(access: WebAccess, tmp_path: Path):
    cookie = signed_in(access)
    assert cookie.partition("=")[2] not in (tmp_path / "sessions").read_text()
    users.remove(tmp_path / "users", "anna")
    assert who(access, cookie=cookie) == Caller("", (), "10.0.0.9")


def test_sessions_are_bounded(access: WebAccess, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(access_module, "MAX_SESSIONS", 2)
    cookies = [signed_in(access) for _ in range(3)]
    assert [who(access, cookie=cookie).name for cookie in cookies] == ["", "anna", "anna"]


@pytest.mark.parametrize(
    ("headers", "is_forged"),
    [
        ({}, False),
        ({"origin": "http://pacs.example:8042", "sec_fetch_site": "same-origin"}, False),
        ({"origin": "https://viewer.example", "sec_fetch_site": "cross-site"}, False),
        ({"sec_fetch_site": "none"}, False),
        ({"origin": "http://evil.example", "sec_fetch_site": "cross-site"}, True),
        ({"origin": "http://evil.example"}, True),
        ({"origin": "null"}, True),
        ({"sec_fetch_site": "cross-site"}, True),
        ({"sec_fetch_site": "same-site"}, True),
        ({"origin": "http://pacs.example:9999"}, True),
    ],
)
def test_a_page_of_another_site_changes_nothing_with_our_cookie(
    access: WebAccess, headers: dict[str, str], is_forged: bool
):
    cookie = signed_in(access)
    assert who(access, cookie=cookie, **headers).name == "anna"
    if not is_forged:
        assert who(access, method="POST", cookie=cookie, **headers).name == "anna"
        return
    with pytest.raises(Refusal) as refused:
        who(access, method="DELETE", cookie=cookie, **headers)
    assert refused.value.status == 403


def test_too_many_at_once_are_asked_to_come_again(access: WebAccess, monkeypatch: pytest.MonkeyPatch):
    def busy(*arguments: object) -> None:
        raise CheckingIsBusy

    monkeypatch.setattr(Users, "check", busy)
    with pytest.raises(Refusal) as refused:
        who(access, authorization=basic("anna", "x"))
    assert (refused.value.status, "Retry-After" in refused.value.headers) == (503, True)


def test_rights_are_required_of_those_who_might_sign_in_and_those_who_have():
    require(Caller("", ("read",)), "read")
    require(Caller("anna", ("admin",)), "read", "admin")
    for name, status in (("", 401), ("anna", 403)):
        with pytest.raises(Refusal) as refused:
            require(Caller(name, ("read",)), "delete")
        assert refused.value.status == status


@pytest.mark.parametrize(
    "cookie", ["", "x", "a=b; c", "minipacs_session", "=;=", "minipacs_session=" + "x" * 9999, "\x80"]
)
def test_cookies_of_any_kind(access: WebAccess, cookie: str):
    assert who(access, cookie=cookie).name == ""
    session_of({"cookie": cookie})


FORWARDED = {
    "x_forwarded_proto": "https",
    "x_forwarded_host": "public.example",
    "x_forwarded_prefix": "/pacs/",
    "x_forwarded_for": "6.6.6.6, 192.168.1.7, 10.0.0.2",
}


def test_what_a_trusted_proxy_says_counts():
    found = origin_of(scope(address="10.0.0.1", **FORWARDED), proxies=("10.0.0.0/8",))
    assert found.url == "https://public.example/pacs"
    assert found.address == "192.168.1.7"


@pytest.mark.parametrize(
    ("host", "port", "wanted"),
    [
        ("a.example", "8443", "a.example:8443"),
        ("a.example", "443", "a.example"),
        ("a.example:1", "8443", "a.example:1"),
    ],
)
def test_a_proxy_tells_the_port_that_some_clients_leave_out(host: str, port: str, wanted: str):
    """dicomweb-client sends a Host without its port."""
    asked = scope(address="10.0.0.1", **{**FORWARDED, "x_forwarded_host": host, "x_forwarded_port": port})
    assert origin_of(asked, proxies=("10.0.0.0/8",)).url == f"https://{wanted}/pacs"


def test_what_anybody_else_says_does_not():
    found = origin_of(scope(address="192.168.1.7", **FORWARDED), proxies=("10.0.0.0/8",))
    assert found.url == "http://pacs.example:8042"
    assert found.address == "192.168.1.7"


def test_the_configured_address_rules():
    found = origin_of(scope(**FORWARDED), url="https://pacs.hospital.example/dicom/")
    assert found.url == "https://pacs.hospital.example/dicom"


@pytest.mark.parametrize("host", ["", "a b", "evil.example/x", "x\r\ny", "a,b", 'x"onload="', "[::1", "x:99999999"])
def test_a_host_that_is_none(host: str):
    with pytest.raises(Refusal, match="Host"):
        origin_of(scope(host=host))


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1:8042", "[::1]:8042", "pacs_1.example.org"])
def test_hosts_that_are(host: str):
    assert origin_of(scope(host=host)).host == host
