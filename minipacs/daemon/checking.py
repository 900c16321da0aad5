"""What `minipacs check` looks at, before the archive starts or while it runs. Nothing is changed, nobody is called."""

import os
import socket
import stat
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import starmap
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from minipacs.config import Config
from minipacs.daemon import certificates, extras
from minipacs.daemon.opening import open_archive
from minipacs.daemon.sockets import ENDPOINTS
from minipacs.errors import MinipacsError, system_user, system_words
from minipacs.net.identity import line_file, tokens, users
from minipacs.net.listener import PRIVILEGED_PORT

RESOLVE_S = 5.0
"""How long the names of all peers are waited for."""
_FIRST_PORT_FOR_ALL = Path("/proc/sys/net/ipv4/ip_unprivileged_port_start")
_USUAL_FIRST_PORT = 1024
_LISTENING = "0A"
"""State of a socket in /proc/net/tcp."""


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that was looked at; a warning is what may be meant so, or be gone by the time it matters."""

    severity: Literal["ok", "warn", "fault"]
    what: str
    detail: str = ""


def configuration(config: Config) -> Finding:
    """Tell which configuration is checked: to have read it is to have found it good."""
    return Finding("ok", f"configuration {config.source or '(defaults)'}")


def findings(config: Config) -> Iterator[Finding]:
    """Look at everything."""
    yield configuration(config)
    yield from _storage(config)
    yield from starmap(Finding, certificates.look(config))
    yield from _users(config)
    yield from _audit(config)
    yield from _ports(config)
    yield from _web(config)
    if config.hl7.port:
        yield _fault_if("package for HL7", "" if extras.has_hl7() else extras.NEEDS_HL7)
    yield from _names(config)
    yield from _sites(config)


def _sites(config: Config) -> Iterator[Finding]:
    """Look at servers of the web that are called, and at the files of what they are shown; nobody is called."""
    from minipacs.jobs.webhooks import secret_of
    from minipacs.scu.stow import token_of

    hooks = [("webhook", hook.url, hook.secret_file, secret_of) for hook in config.webhooks]
    there = [(f"dicomweb {one.name}", one.url, one.token_file, token_of) for one in config.dicomweb]
    for name, url, path, read in (*hooks, *there):
        host = urlsplit(url).hostname or ""
        yield _warning_if(f"{name} at {host}", _name_fault(host))
        try:
            if path:
                read(path)
        except MinipacsError as error:
            yield Finding("fault", f"{name} at {host}", str(error))


def _storage(config: Config) -> Iterator[Finding]:
    path = config.storage.path
    what = f"storage folder {path}"
    try:
        if not path.exists():
            parent = next(p for p in path.parents if p.exists())
            fault = "" if os.access(parent, os.W_OK | os.X_OK) else f"cannot be made: {parent} is not writable"
            yield _fault_if(f"{what} (not there yet)", fault)
            return
        found = os.statvfs(path)
    except OSError as error:
        yield Finding("fault", what, system_words(error))
        return
    yield _fault_if(what, _access_fault(path))
    free, reserve = found.f_bavail * found.f_frsize, config.storage.min_free_bytes
    yield _fault_if(f"free space {free} bytes", "" if free >= reserve else f"storage.min_free_bytes is {reserve}")
    yield from _index(config)


def _index(config: Config) -> Iterator[Finding]:
    what = f"index {config.index_path}"
    try:
        if config.index_path.exists():
            open_archive(config, read_only=True).close()
            yield Finding("ok", what)
    except MinipacsError as error:
        yield Finding("fault", what, str(error))
    except OSError as error:
        yield Finding("fault", what, system_words(error))


def _users(config: Config) -> Iterator[Finding]:
    """Look at who may prove to be whom, if anybody is asked."""
    identity = config.access.identity
    if identity == "ignore":
        return
    path = config.users_path
    what = f"users {path}"
    if identity == "require" and config.ae.plain:
        clear = "passcodes cross the network in the clear: set [tls] and ae.plain = false"
        yield Finding("warn", 'access.identity = "require" without TLS', clear)
    try:
        known, faults = line_file.read(path, users.parse)
    except FileNotFoundError:
        known, faults = {}, []
    except (OSError, MinipacsError) as error:
        yield Finding("fault", what, system_words(error) if isinstance(error, OSError) else str(error))
        return
    yield from (Finding("fault", what, fault) for fault in faults)
    yield _warning_if(f"{what}: {len(known)}", "" if known else "nobody is known: minipacs passwd NAME")
    if known and path.stat().st_mode & stat.S_IRWXO:
        yield Finding("warn", what, "everybody on this machine may read it: chmod o-rwx")


def _audit(config: Config) -> Iterator[Finding]:
    """Look at where the audit trail goes; its collector is not called."""
    if not config.audit.is_on:
        return
    folder = config.audit_folder
    if folder.exists():
        yield _fault_if(f"audit spool {folder}", _access_fault(folder))
    if config.audit.file:
        yield _fault_if(f"audit.file {config.audit.file}", _file_fault(Path(config.audit.file)))
    if config.audit.collector is not None:
        scheme, host, _ = config.audit.collector
        yield _warning_if(f"audit.syslog {config.audit.syslog}", _name_fault(host))
        if scheme == "tls" and not config.tls.certificate:
            lack = "tls.certificate is not set: a collector that asks who we are refuses us"
            yield Finding("warn", "audit.syslog", lack)


def _access_fault(folder: Path) -> str:
    """Say so if this process may not read and write in a folder."""
    usable = os.access(folder, os.R_OK | os.W_OK | os.X_OK)
    return "" if usable else f"not readable and writable for the user {system_user()}"


def _file_fault(path: Path) -> str:
    """Say why a file cannot be appended to, and another one not put beside it."""
    if path.is_dir():
        return "is a folder"
    if not path.parent.is_dir():
        return f"there is no folder {path.parent}"
    if not os.access(path.parent, os.W_OK | os.X_OK):
        return f"the folder {path.parent} is not writable"
    return "" if not path.exists() or os.access(path, os.W_OK) else "not writable"


def _name_fault(host: str) -> str:
    if _is_address(host):
        return ""
    found = _unresolved({host: host})[host]
    return found and f"the name has no address: {found}"


def _fault_if(what: str, fault: str) -> Finding:
    return Finding("fault" if fault else "ok", what, fault)


def _warning_if(what: str, fault: str) -> Finding:
    return Finding("warn" if fault else "ok", what, fault)


def _ports(config: Config) -> Iterator[Finding]:
    """Warn of ports that the service cannot open, unless systemd has opened them for it."""
    try:
        first = int(_FIRST_PORT_FOR_ALL.read_text())
    except (OSError, ValueError):
        first = _USUAL_FIRST_PORT
    for endpoint in ENDPOINTS:
        addresses, port = endpoint.where(config)
        if addresses and 0 < port < first:
            is_open = port in _listened_on()
            yield _warning_if(f"{endpoint.name} port {port}", "" if is_open else PRIVILEGED_PORT)


def _web(config: Config) -> Iterator[Finding]:
    """Look whether HTTP can be served, and whether anybody could ask."""
    if not config.web.port:
        return
    yield _fault_if("packages for HTTP", "" if extras.has_web() else extras.NEEDS_WEB)
    is_open = config.web.is_loopback and config.web.anonymous
    files = ((config.users_path, users.parse), (config.storage.path / "tokens", tokens.parse))
    try:
        known = any(line_file.read(path, parse)[0] for path, parse in files if path.exists())
    except (OSError, MinipacsError) as error:
        yield Finding("fault", "who may ask over HTTP", str(error))
        return
    nobody = "" if is_open or known else "nobody may: minipacs passwd and minipacs token let users and programs in"
    yield _warning_if("who may ask over HTTP", nobody)


def _listened_on() -> set[int]:
    """Give the ports that somebody listens on (proc(5), /proc/net/tcp)."""
    found: set[int] = set()
    for name in ("tcp", "tcp6"):
        try:
            rows = Path("/proc/net", name).read_text().splitlines()[1:]
        except OSError:
            continue
        fields = [row.split() for row in rows]
        found |= {int(local.rpartition(":")[2], 16) for _, local, _, state, *_ in fields if state == _LISTENING}
    return found


def _names(config: Config) -> Iterator[Finding]:
    """Warn of peers whose host has no address now: they cannot be called, nor be told from others when they call."""
    hosts = {peer.title: peer.host for peer in config.peers if peer.host and not _is_address(peer.host)}
    for title, fault in _unresolved(hosts).items():
        yield _warning_if(f"peer {title} at {hosts[title]}", fault and f"the name has no address: {fault}")


def _unresolved(hosts: Mapping[str, str]) -> Mapping[str, str]:
    """Say of each host, by what it is the host of, why its name has no address now; "" for one that has."""
    faults: dict[str, str] = {}

    def resolve(key: str, host: str) -> None:
        try:
            socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
            faults[key] = ""
        except OSError as error:
            faults[key] = error.strerror or str(error)

    threads = [threading.Thread(target=resolve, args=pair, daemon=True) for pair in hosts.items()]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(RESOLVE_S / len(threads))
    return {key: faults.get(key, f"no answer within {RESOLVE_S:g} s") for key in hosts}


def _is_address(host: str) -> bool:
    """Tell an address or a network from a name."""
    return ":" in host or "/" in host or host.replace(".", "").isdecimal()
