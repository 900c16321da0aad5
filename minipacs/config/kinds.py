"""What a setting's value may be, and how an administrator is told so."""

import ipaddress
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Generic, TypeVar, cast
from urllib.parse import urlsplit

from minipacs.dicom.tables.keys import extended_key
from minipacs.dicom.tables.transfer_syntaxes import TRANSFER_SYNTAXES
from minipacs.dicom.tables.uids import is_uid
from minipacs.dicom.text import charset
from minipacs.dicom.text.hl7_charsets import CODECS

T = TypeVar("T")
S = TypeVar("S", bound=str)

SQLITE_PREFIX = "sqlite:///"
MAX_TIMEOUT_S = 7 * 86400
MAX_SIZE_BYTES = 1 << 62
MAX_NAME_CHARS = 200
MAX_SHORT_CHARS = 64
MAX_URL_CHARS = 2000
MAX_KEEP_DAYS = 36_500


@dataclass(frozen=True, slots=True)
class Kind(Generic[T]):
    """A type of value; `parse` raises ValueError for everything but what `allowed` describes."""

    allowed: str
    parse: Callable[[object], T]


def text(allowed: str, check: Callable[[str], object]) -> Kind[str]:
    """Make a kind of text, of which `check` holds."""

    def parse(value: object) -> str:
        _require(isinstance(value, str) and check(value))
        return cast(str, value)

    return Kind(allowed, parse)


def choice(*names: S) -> Kind[S]:
    """Make a kind of text that is one of `names`."""
    *most, last = (f'"{name}"' for name in names)

    def parse(value: object) -> S:
        _require(isinstance(value, str) and value in names)
        return cast(S, value)

    return Kind(f"{', '.join(most)} or {last}", parse)


def whole(low: int, high: int, allowed: str = "") -> Kind[int]:
    """Make a kind of whole number from `low` to `high`, both included."""

    def parse(value: object) -> int:
        _require(type(value) is int and low <= value <= high)
        return cast(int, value)

    return Kind(allowed or f"a whole number from {low} to {high}", parse)


def either(value: T, kind: Kind[T]) -> Kind[T]:
    """Make a kind that also takes `value`, which has a meaning of its own."""
    shown = f'"{value}"' if isinstance(value, str) else value

    def parse(given: object) -> T:
        return value if type(given) is type(value) and given == value else kind.parse(given)

    return Kind(f"{shown}, or {kind.allowed}", parse)


def each(item: Kind[S], most: int) -> Kind[tuple[S, ...]]:
    """Make a kind of list of at most `most` different items."""

    def parse(value: object) -> tuple[S, ...]:
        _require(isinstance(value, list) and len(value) <= most)
        items = tuple(item.parse(v) for v in cast(list[object], value))
        _require(len(set(items)) == len(items))
        return items

    return Kind(f"a list of at most {most} different values, each {item.allowed}", parse)


def one_or_more(item: Kind[S], most: int) -> Kind[tuple[S, ...]]:
    """Make a kind of item, or non-empty list of them."""
    several = each(item, most)

    def parse(value: object) -> tuple[S, ...]:
        _require(value)
        return several.parse(value if isinstance(value, list) else [value])

    return Kind(f"{item.allowed}, or a list of at most {most} different ones", parse)


def _require(condition: object) -> None:
    if not condition:
        raise ValueError


def _parse_boolean(value: object) -> bool:
    _require(isinstance(value, bool))
    return cast(bool, value)


def _parse_seconds(value: object) -> float:
    _require(type(value) in (int, float) and 0 < cast(float, value) <= MAX_TIMEOUT_S)
    return float(cast(float, value))


def _parse_hours_in_all(value: object) -> float:
    _require(type(value) in (int, float) and 0 < cast(float, value) <= MAX_TIMEOUT_S // 3600 * 52)
    return float(cast(float, value))


def _parse_ae_title(value: object) -> str:
    title = value.strip(" ") if isinstance(value, str) else ""
    _require(re.fullmatch(r"[ -\[\]-~]{1,16}", title))
    return title


def _parse_destination(value: object) -> str:
    name = str(value).removeprefix("stow:")
    return f"stow:{RULE_NAME.parse(name)}" if name != value else _parse_ae_title(value)


def _parse_address(value: object) -> str:
    _require(isinstance(value, str))
    return str(ipaddress.ip_address(cast(str, value)))


def _parse_path(value: object) -> Path:
    _require(isinstance(value, str) and value and value.isprintable())
    return Path(cast(str, value))


def _is_host(host: str) -> bool:
    try:
        ipaddress.ip_network(host)
    except ValueError:
        return _is_host_name(host)
    return True


def _is_network(network: str) -> bool:
    try:
        ipaddress.ip_network(network)
    except ValueError:
        return False
    return True


def _is_url(url: str) -> bool:
    try:
        found = urlsplit(url)
        return found.scheme in ("http", "https") and _is_host(found.hostname or "") and not found.query + found.fragment
    except ValueError:
        return False


def _is_web_url(url: str) -> bool:
    """Tell an address that may be called: over TLS, or on this machine."""
    try:
        found = urlsplit(url)
        host, port, rest = found.hostname or "", found.port, found.fragment + (found.username or "")
    except ValueError:
        return False
    is_safe = found.scheme == "https" or (found.scheme == "http" and _is_loopback(host))
    is_plain = url.isascii() and url.isprintable() and " " not in url and len(url) <= MAX_URL_CHARS
    return is_safe and is_plain and "/" not in host and _is_host(host) and port != 0 and not rest


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _is_collector(url: str) -> bool:
    try:
        found = urlsplit(url)
        rest = found.path + found.query + found.fragment + (found.username or "")
        return found.scheme in ("udp", "tls") and _is_host(found.hostname or "") and found.port != 0 and not rest
    except ValueError:
        return False


def _is_host_name(host: str) -> bool:
    labels = host.removesuffix(".").split(".")
    is_label = re.compile(r"(?!-)[A-Za-z0-9_-]{1,63}(?<!-)").fullmatch
    return len(host) <= 253 and all(is_label(label) for label in labels) and not labels[-1].isdecimal()


def _is_sqlite_url(url: str) -> bool:
    return url.startswith(SQLITE_PREFIX) and len(url) > len(SQLITE_PREFIX) and url.isprintable()


def _is_charset(value: str) -> object:
    terms = charset.terms(value)
    return terms and not charset.unknown(terms)


def _parse_extended_key(value: object) -> str:
    _require(isinstance(value, str))
    extended_key(cast(str, value))
    return cast(str, value)


def _parse_hours(value: object) -> str:
    from minipacs.jobs.routing.hours import Hours  # only who has routes waits for it

    _require(isinstance(value, str))
    Hours(cast(str, value))
    return cast(str, value)


def _is_certificate(name: str) -> object:
    return re.fullmatch(r"sha256:([0-9A-Fa-f]{2}:?){31}[0-9A-Fa-f]{2}|(CN=|DNS:|URI:).{1,200}", name)


BOOLEAN = Kind("true or false", _parse_boolean)
SECONDS = Kind(f"seconds above 0, at most {MAX_TIMEOUT_S}", _parse_seconds)
SIZE = whole(0, MAX_SIZE_BYTES, "a whole number of bytes, 0 or more")
PORT = whole(1, 65535)
ANY_PORT = whole(0, 65535)
AE_TITLE = Kind("1 to 16 ASCII characters, not only spaces, no backslash", _parse_ae_title)
ADDRESS = Kind("an IPv4 or IPv6 address", _parse_address)
HOST = text('a host name, an IPv4 or IPv6 address, or a network such as "10.0.0.0/24"', _is_host)
NETWORK = text('an IPv4 or IPv6 address, or a network such as "10.0.0.0/24"', _is_network)
URL = text('an address such as "https://pacs.example.org"', _is_url)
WEB_URL = text('an address such as "https://example.org/path"; http:// to this machine only', _is_web_url)
COLLECTOR = text('"udp://HOST:514" or "tls://HOST:6514"', _is_collector)
PATH = Kind("the path of a folder, in printable characters", _parse_path)
FILE = text("the path of a file, in printable characters", lambda path: path and path.isprintable())
CERTIFICATE = text('"sha256:" and a fingerprint, or "CN=", "DNS:" or "URI:" and a name', _is_certificate)
NAME = text("at most 200 printable characters", lambda name: name.isprintable() and len(name) <= MAX_NAME_CHARS)
SHORT_NAME = text("1 to 64 printable characters", lambda name: name.isprintable() and 0 < len(name) <= MAX_SHORT_CHARS)
SQLITE_URL = text(f'"{SQLITE_PREFIX}" and the path of a file', _is_sqlite_url)
UID = text("a UID", partial(is_uid, strict=True))
EXTENDED_KEY = Kind(
    'a keyword, tag ("00180022") or private attribute (\'0019,"CREATOR",10\') that is no key yet, if need be with its '
    'level ("SERIES:ScanOptions")',
    _parse_extended_key,
)
HOURS = Kind('hours such as "18-6" or "mon-fri 18-6", several joined by commas', _parse_hours)
KEY_AND_VALUE = text("KEY=VALUE, as for `minipacs find`", lambda word: word.partition("=")[0] and "=" in word)
RULE_NAME = text(
    "1 to 64 letters, digits, dots, hyphens and underscores", lambda name: re.fullmatch(r"[A-Za-z0-9._-]{1,64}", name)
)
HOURS_IN_ALL = Kind(f"hours above 0, at most {MAX_TIMEOUT_S // 3600 * 52}", _parse_hours_in_all)
DESTINATION = Kind('the title of a [[peer]], or "stow:" and the name of a [[dicomweb]]', _parse_destination)
SENDER = text('"APPLICATION|FACILITY"', lambda name: name.isprintable() and name.count("|") == 1)
HL7_CHARSET = text('a name of HL7 table 0211, such as "UNICODE UTF-8"', CODECS.__contains__)
CHARSET = text("a defined term of Specific Character Set, or several joined by a backslash", _is_charset)
TRANSFER_SYNTAX = text("the UID of a transfer syntax", TRANSFER_SYNTAXES.__contains__)
