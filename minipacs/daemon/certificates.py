"""The files of [tls], read for what `minipacs check` and the metrics say of them; TLS itself does not need this.

Reading certificates takes the extra `minipacs[tls]` (cryptography); without it there is nothing to be said of dates.
"""

import datetime
import os
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from minipacs.config import Config
from minipacs.daemon.composition import tls_files
from minipacs.errors import MinipacsError

if TYPE_CHECKING:
    from cryptography import x509

WARN_DAYS = 30
"""So long before its end a certificate is worth a warning."""
MAX_FILE_BYTES = 8 << 20
_FILES = ("certificate", "ca", "crl")

Severity = Literal["ok", "warn", "fault"]
Said = tuple[Severity, str, str]
"""Severity, what was looked at, and what is to be said of it."""


def expiries(config: Config) -> Mapping[str, float]:
    """Give when the first certificate of each file ends to be good, and a CRL is overdue, in seconds since 1970."""
    found: dict[str, float] = {}
    for name in _FILES:
        path = getattr(config.tls, name)
        try:
            ends = [end for _, end in _dated(name, path)] if path else []
        except (OSError, ValueError, ImportError):
            continue
        if ends:
            found[f"tls.{name}"] = min(ends).timestamp()
    return found


def look(config: Config) -> Iterator[Said]:
    """Look whether TLS would work with the files of [tls], and for how long."""
    tls = config.tls
    if not any(getattr(tls, name) for name in _FILES):
        return
    try:
        if tls.certificate:
            tls_files(config).server(require_certificate=tls.require_client_certificate)
        tls_files(config).client()
    except MinipacsError as error:
        yield "fault", "TLS", str(error)
        return
    yield "ok", "TLS: files can be used", ""
    if tls.key and os.stat(tls.key).st_mode & (stat.S_IRWXO):
        yield "warn", f"tls.key {tls.key}", "everybody on this machine may use it: chmod o-rwx"
    try:
        for name in _FILES:
            if path := getattr(tls, name):
                yield from _dates(name, path)
        if tls.certificate:
            yield from _names(tls.certificate)
        if tls.ca and tls.crl:
            yield from _missing_lists(tls.ca, tls.crl)
        if tls.ca and tls.certificate:
            yield from _foreign(tls.certificate, tls.ca)
    except ImportError:
        yield "warn", "TLS: dates and names", "not looked at: install minipacs[tls]"
    except (OSError, ValueError) as error:
        yield "fault", "TLS", f"a certificate cannot be read: {error}"


def _dates(name: str, path: str) -> Iterator[Said]:
    now = datetime.datetime.now(datetime.UTC)
    for whose, end in _dated(name, path):
        left = end - now
        what = f"tls.{name} {path}: {whose}"
        if left.total_seconds() < 0:
            yield "fault", what, f"{'overdue' if name == 'crl' else 'expired'} since {end:%Y-%m-%d %H:%M} UTC"
        elif left.days < WARN_DAYS and name != "crl":
            yield "warn", what, f"expires on {end:%Y-%m-%d}, in {left.days} days"
        else:
            yield "ok", f"{what}, good until {end:%Y-%m-%d}", ""


def _names(path: str) -> Iterator[Said]:
    from cryptography import x509

    ours = _certificates(path)[0]
    try:
        ours.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound:
        yield "warn", f"tls.certificate {path}", "has no Subject Alternative Name: peers that check names refuse it"


def _missing_lists(ca: str, crl: str) -> Iterator[Said]:
    """Name the CAs whose clients are refused for want of a list; one that signs other CAs may have no clients."""
    listed = {found.issuer for found in _lists(crl)}
    known = _certificates(ca)
    above = {found.issuer for found in known if found.issuer != found.subject}
    for found in known:
        if found.subject not in listed:
            who = found.subject.rfc4514_string()
            severity: Severity = "warn" if found.subject in above else "fault"
            yield severity, f"tls.crl {crl}", f"holds no list of {who}: everybody whom that has signed is refused"


def _foreign(certificate: str, ca: str) -> Iterator[Said]:
    chain = _certificates(certificate)
    trusted = {found.subject for found in _certificates(ca)}
    if chain[-1].issuer not in trusted and chain[-1].subject not in trusted:
        issuer = chain[-1].issuer.rfc4514_string()
        yield (
            "warn",
            f"tls.certificate {certificate}",
            f"is signed by {issuer}, which is not in tls.ca: so may it be meant",
        )


def _dated(name: str, path: str) -> list[tuple[str, datetime.datetime]]:
    """Give whose a certificate or list is, and its end. Raises OSError, ValueError, ImportError."""
    if name == "crl":
        lists = [(f"list of {found.issuer.rfc4514_string()}", found.next_update_utc) for found in _lists(path)]
        return [(whose, end) for whose, end in lists if end is not None]
    return [(found.subject.rfc4514_string(), found.not_valid_after_utc) for found in _certificates(path)]


def _certificates(path: str) -> "list[x509.Certificate]":
    from cryptography import x509

    return x509.load_pem_x509_certificates(_read(path))


def _lists(path: str) -> "list[x509.CertificateRevocationList]":
    from cryptography import x509

    end = b"-----END X509 CRL-----"
    blocks = _read(path).split(end)[:-1]
    return [x509.load_pem_x509_crl(block[block.index(b"-----BEGIN X509 CRL-----") :] + end) for block in blocks]


def _read(path: str) -> bytes:
    with Path(path).open("rb") as file:
        return file.read(MAX_FILE_BYTES)
