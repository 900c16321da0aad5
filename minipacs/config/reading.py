"""Reads the configuration: finds the file, checks it against the schema, reports every fault at once."""

import difflib
import os
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from minipacs.config.effective import Config
from minipacs.config.kinds import SQLITE_PREFIX
from minipacs.config.schema import REPEATED, SECTIONS
from minipacs.config.settings import field_of, settings_of
from minipacs.config.text import shown, toml
from minipacs.dicom.tables.keys import KeyTable, extended_key
from minipacs.errors import ConfigError

T = TypeVar("T")

ENVIRONMENT_VARIABLE = "MINIPACS_CONFIG"
SYSTEM_FILE = Path("/etc/minipacs/minipacs.toml")
MAX_FILE_BYTES = 1 << 20
_TLS_FILES = ("certificate", "key", "ca", "crl")


def resolve(path: Path | None) -> Path | None:
    """Choose the file: the one named, else $MINIPACS_CONFIG, else SYSTEM_FILE if it exists, else None."""
    named = path or os.environ.get(ENVIRONMENT_VARIABLE)
    if named:
        return Path(named)
    try:
        SYSTEM_FILE.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError:
        pass  # it may exist: reading it then tells why it cannot be used
    return SYSTEM_FILE


def load(path: Path | None, overrides: Mapping[str, object] | None = None) -> Config:
    """Read and check the file that `resolve(path)` chooses.

    `overrides` are values by key path ("ae.port"), None where not given. They win over the file; a relative
    storage.path among them starts at the current folder. Raises ConfigError with every fault found.
    """
    source = resolve(path)
    document = _read(source) if source else {}
    for key, value in (overrides or {}).items():
        section, _, name = key.partition(".")
        table = document.setdefault(section, {})
        if value is not None and isinstance(table, dict):
            table[name] = os.path.abspath(str(value)) if key == "storage.path" and value else value
    faults: list[str] = []
    _report_unknown(document, SECTIONS, "", faults)
    sections: dict[str, Any] = {}
    for name, kind in SECTIONS.items():
        if name in REPEATED:
            sections[REPEATED[name]] = _build_each(kind, document.get(name, []), name, faults)
        else:
            sections[name] = _build(kind, document.get(name, {}), name, faults)
    config = Config(**sections, source=source)
    faults.extend(_joint_faults(config))
    if faults:
        raise ConfigError(faults)
    return _anchored(config, Path(os.path.abspath(source)).parent if source else Path.cwd())


def _read(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as stream:
            data = stream.read(MAX_FILE_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ConfigError([f"{shown(path)}: cannot be read: {reason}"]) from None
    if len(data) > MAX_FILE_BYTES:
        raise ConfigError([f"{shown(path)}: must be at most {MAX_FILE_BYTES} bytes"])
    try:
        return tomllib.loads(data.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise ConfigError([f"{shown(path)}: must be TOML: {shown(error)}"]) from None


def _build(section: type[T], table: object, path: str, faults: list[str]) -> T:
    """Make a section from a TOML table; a faulty value is reported and its default stands in."""
    if not isinstance(table, dict):
        faults.append(f"{path} = {shown(toml(table))}: must be a section, [{path}]")
        table = {}
    settings = settings_of(section)
    _report_unknown(table, settings, f"{path}.", faults)
    values: dict[str, object] = {}
    for name, row in settings.items():
        if name in table:
            try:
                values[name] = row.kind.parse(table[name])
            except (ValueError, TypeError):
                faults.append(f"{path}.{name} = {shown(toml(table[name]))}: must be {row.kind.allowed}")
        elif row.default is None:
            faults.append(f"{path}.{name}: is required; must be {row.kind.allowed}")
        if name not in values:
            values[name] = "" if row.default is None else row.kind.parse(row.default)
    return section(**{field_of(name): value for name, value in values.items()})


def _build_each(section: type[T], tables: object, name: str, faults: list[str]) -> tuple[T, ...]:
    if not isinstance(tables, list):
        faults.append(f"{name}: must be written [[{name}]], once for each")
        return ()
    return tuple(_build(section, table, f"{name}[{n}]", faults) for n, table in enumerate(tables, 1))


def _report_unknown(given: Iterable[str], known: Mapping[str, object], prefix: str, faults: list[str]) -> None:
    for name in given:
        if name in known:
            continue
        elsewhere = [f"{other}.{name}" for other, section in SECTIONS.items() if name in settings_of(section)]
        close = [prefix + match for match in difflib.get_close_matches(name, known, 1)] or elsewhere
        hint = f"did you mean {close[0]}?" if close else "known are " + ", ".join(known)
        faults.append(f"{shown(prefix + name)}: is unknown; {hint}")


def _repeated(name: str, key: str, values: Sequence[str]) -> Iterator[str]:
    """Find what must be unique and is not."""
    first: dict[str, int] = {}
    for n, value in enumerate(values, 1):
        if value and first.setdefault(value, n) != n:
            yield f"{name}[{n}].{key} = {toml(value)}: must be unique, but {name}[{first[value]}] has it"


def _joint_faults(config: Config) -> Iterator[str]:
    """Find the faults that no single value shows."""
    yield from _repeated("peer", "title", [peer.title for peer in config.peers])
    yield from _repeated("dicomweb", "name", [there.name for there in config.dicomweb])
    yield from _repeated("webhook", "url", [webhook.url for webhook in config.webhooks])
    keys: dict[str, str] = {}
    for text in config.index.keys:
        keyword = extended_key(text).keyword
        if keys.setdefault(keyword, text) != text:
            yield f"index.keys: {toml(text)} is the same as {toml(keys[keyword])}"
    yield from _tls_faults(config)
    if config.metrics.port == config.ae.port != 0 and config.metrics.bind in config.ae.bind:
        yield f"metrics.port = {config.metrics.port}: must differ from ae.port on the same address"
    yield from _web_faults(config)
    yield from _hl7_faults(config)
    yield from _audit_faults(config)
    yield from _route_faults(config)
    yield from _retention_faults(config)


def _route_faults(config: Config) -> Iterator[str]:
    if not config.routes:
        return
    from minipacs.dicom.matching.words import words_of  # only who has routes waits for it

    table = KeyTable([extended_key(text) for text in config.index.keys])
    callable_ = {peer.title for peer in config.peers if peer.destination}
    callable_ |= {f"stow:{there.name}" for there in config.dicomweb}
    yield from _repeated("route", "name", [route.name for route in config.routes])
    for n, route in enumerate(config.routes, 1):
        if route.name == "webhook" and config.webhooks:
            yield f'route[{n}].name = "webhook": is what [[webhook]] is called in metrics'
        for title in route.to:
            if title not in callable_:
                must = "must be the title of a [[peer]] that has a host, or stow:NAME of a [[dicomweb]]"
                yield f"route[{n}].to = {toml(title)}: {must}"
        try:
            words_of(route.match, table)
        except ValueError as error:
            yield f"route[{n}].match = {shown(toml(route.match))}: {error}"
        if route.announce and any(title.startswith("stow:") for title in route.to):
            yield f"route[{n}].announce = true: is for a [[peer]] alone"
        if route.priors and route.on != "complete":
            yield f'route[{n}].priors = {route.priors}: needs on = "complete"'


def _retention_faults(config: Config) -> Iterator[str]:
    if not config.retention:
        return
    from minipacs.dicom.matching.words import asked, keys_of  # only who has rules waits for it

    table = KeyTable([extended_key(text) for text in config.index.keys])
    sent_to = {title for route in config.routes if not route.dry_run for title in route.to}
    names: dict[str, int] = {}
    for n, rule in enumerate(config.retention, 1):
        if rule.name and names.setdefault(rule.name, n) != n:
            yield f"retention[{n}].name = {toml(rule.name)}: must be unique, but retention[{names[rule.name]}] has it"
        if bool(rule.keep_years) == bool(rule.keep_days):
            yield f"retention[{n}]: either keep_years or keep_days must be given, and not both"
        for title in rule.needs_copy:
            if title not in sent_to:
                yield f"retention[{n}].needs_copy = {toml(title)}: must be what a [[route]] sends to"
        try:
            asked(keys_of(rule.match), table, "STUDY")
        except ValueError as error:
            yield f"retention[{n}].match = {shown(toml(rule.match))}: {error}"


def _hl7_faults(config: Config) -> Iterator[str]:
    hl7 = config.hl7
    if not hl7.port:
        return
    if hl7.tls and not config.tls.certificate:
        yield "hl7.tls = true: needs tls.certificate and tls.key"
    if not hl7.is_loopback and not hl7.hosts:
        yield f"hl7.bind = {toml(hl7.bind)}: must be a loopback address, unless hl7.hosts says who may send"
    for bind, port, name in (*_listening(config), (config.web.bind, config.web.port, "web.port")):
        if port == hl7.port and bind == hl7.bind:
            yield f"hl7.port = {hl7.port}: must differ from {name} on the same address"


def _web_faults(config: Config) -> Iterator[str]:
    """Refuse what would let passcodes and images go over a network unencrypted."""
    web = config.web
    if not web.port:
        return
    if web.tls and not config.tls.certificate:
        yield "web.tls = true: needs tls.certificate and tls.key"
    if not web.is_loopback and not web.tls and not web.behind_proxy:
        yield (
            f"web.bind = {toml(web.bind)}: must be a loopback address, unless web.tls is true or web.behind_proxy "
            "names the proxy that encrypts"
        )
    for bind, port, name in _listening(config):
        if port == web.port and bind == web.bind:
            yield f"web.port = {web.port}: must differ from {name} on the same address"


def _listening(config: Config) -> Iterator[tuple[str, int, str]]:
    """Give what else listens: address, port and setting."""
    yield from ((bind, config.ae.port, "ae.port") for bind in config.ae.bind if config.ae.plain)
    yield from ((bind, config.tls.port, "tls.port") for bind in config.ae.bind if config.tls.certificate)
    yield config.metrics.bind, config.metrics.port, "metrics.port"


def _audit_faults(config: Config) -> Iterator[str]:
    audit = config.audit
    if audit.keep_days and not audit.file:
        yield f"audit.keep_days = {audit.keep_days}: needs audit.file"
    if audit.syslog.startswith("tls:") and not config.tls.ca:
        yield f"audit.syslog = {toml(audit.syslog)}: needs tls.ca, which says whom to trust as the collector"


def _tls_faults(config: Config) -> Iterator[str]:
    tls = config.tls
    if bool(tls.certificate) != bool(tls.key):
        yield "tls.certificate and tls.key: must both be set, or none"
    if tls.certificate and tls.require_client_certificate and not tls.ca:
        yield "tls.ca: must be set, since tls.require_client_certificate is true"
    if tls.crl and not tls.ca:
        yield "tls.crl: needs tls.ca"
    if not config.ae.plain and not tls.certificate:
        yield "ae.plain = false: needs tls.certificate, else nothing would listen"
    if tls.certificate and config.ae.plain and tls.port == config.ae.port != 0:
        yield f"tls.port = {tls.port}: must differ from ae.port"


def _anchored(config: Config, folder: Path) -> Config:
    """Make relative paths absolute, from `folder`."""
    storage = replace(config.storage, path=Path(os.path.abspath(folder / config.storage.path)))
    url = config.index.url
    if url:
        url = SQLITE_PREFIX + os.path.abspath(folder / url.removeprefix(SQLITE_PREFIX))
    worklist = config.worklist.folder and os.path.abspath(folder / config.worklist.folder)
    files = {name: os.path.abspath(folder / path) for name in _TLS_FILES if (path := getattr(config.tls, name))}
    dicomweb = (
        replace(there, token_file=there.token_file and os.path.abspath(folder / there.token_file))
        for there in config.dicomweb
    )
    webhooks = (
        replace(hook, secret_file=hook.secret_file and os.path.abspath(folder / hook.secret_file))
        for hook in config.webhooks
    )
    return replace(
        config,
        dicomweb=tuple(dicomweb),
        webhooks=tuple(webhooks),
        tls=replace(config.tls, **files),
        storage=storage,
        index=replace(config.index, url=url),
        worklist=replace(config.worklist, folder=worklist),
        audit=replace(config.audit, file=config.audit.file and os.path.abspath(folder / config.audit.file)),
        access=replace(config.access, users=config.access.users and os.path.abspath(folder / config.access.users)),
    )
