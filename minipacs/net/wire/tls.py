"""The TLS of this AE: which versions and suites, which certificates (PS3.15 B.12, RFC 9325)."""

import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from minipacs.errors import MinipacsError

SUITES = "ECDHE+AESGCM"
"""The four of RFC 9325 4.2 for TLS 1.2; TLS 1.3 has its own."""
_VERSIONS = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """Files in PEM, "" for none: our certificate with its chain, its key, who may sign peers', what was revoked."""

    certificate: str = ""
    key: str = ""
    ca: str = ""
    crl: str = ""
    minimum: str = "1.2"

    def server(self, *, require_certificate: bool) -> ssl.SSLContext:
        """Make what answers calls. Raises MinipacsError that names the setting of the file at fault."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._fill(context)
        context.options |= ssl.OP_NO_RENEGOTIATION
        context.num_tickets = 0  # unread ones turn the close of an impatient client into a reset
        if require_certificate:
            context.verify_mode = ssl.CERT_REQUIRED
        elif self.ca:
            context.verify_mode = ssl.CERT_OPTIONAL
        return context

    def web_server(self) -> ssl.SSLContext:
        """Make what answers HTTPS, whose clients tell who they are by other means than certificates."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = _VERSIONS[self.minimum]
        context.set_ciphers(SUITES)
        context.options |= ssl.OP_NO_RENEGOTIATION
        context.set_alpn_protocols(["http/1.1"])
        self._load_certificate(context)
        return context

    def client(self) -> ssl.SSLContext:
        """Make what calls: the peer's certificate has to bear its host in a Subject Alternative Name."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.hostname_checks_common_name = False
        self._fill(context)
        if not self.ca:
            context.load_default_certs()
        return context

    def web_client(self) -> ssl.SSLContext:
        """Make what calls servers of the web: those are trusted that the system trusts, and those of our CA."""
        context = ssl.create_default_context()
        context.minimum_version = _VERSIONS[self.minimum]
        if self.certificate:
            self._load_certificate(context)
        if self.ca:
            with _naming("tls.ca", self.ca):
                context.load_verify_locations(self.ca)
        return context

    def _fill(self, context: ssl.SSLContext) -> None:
        context.minimum_version = _VERSIONS[self.minimum]
        context.set_ciphers(SUITES)
        if self.certificate:
            self._load_certificate(context)
        if self.ca:
            with _naming("tls.ca", self.ca):
                context.load_verify_locations(self.ca)
        if self.crl:
            with _naming("tls.crl", self.crl):
                context.load_verify_locations(self.crl)
            context.verify_flags |= ssl.VERIFY_CRL_CHECK_LEAF

    def _load_certificate(self, context: ssl.SSLContext) -> None:
        with _naming("tls.certificate", self.certificate, "tls.key", self.key):
            context.load_cert_chain(self.certificate, self.key, password=lambda: b"")


@contextmanager
def _naming(*settings: str) -> Iterator[None]:
    """Say of which setting a file cannot be used, and why; `settings` are keys and paths in turn."""
    pairs = dict(zip(settings[::2], settings[1::2], strict=True))
    try:
        for key, path in pairs.items():
            with _naming_one(key, path):
                Path(path).open("rb").close()
        yield
    except ssl.SSLError as error:
        shown = " and ".join(f"{key} = {path}" for key, path in pairs.items())
        raise MinipacsError(f"{shown}: {_fault(error)}") from error


@contextmanager
def _naming_one(key: str, path: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise MinipacsError(f"{key} = {path}: cannot be read: {error.strerror}") from error


_FAULTS = {
    "KEY_VALUES_MISMATCH": "the key is not that of the certificate",
    "EE_KEY_TOO_SMALL": "the key is too short: RSA needs 2048 bits",
    "CA_MD_TOO_WEAK": "signed with a digest that is too weak",
    "BAD_DECRYPT": "the key has a password: write it without one",
    "BAD_PASSWORD_READ": "the key has a password: write it without one",
    "NO_START_LINE": "holds nothing in PEM",
    "NO_CERTIFICATE_OR_CRL_FOUND": "holds no certificate and no CRL in PEM",
}


def _fault(error: ssl.SSLError) -> str:
    reason = error.reason or ""
    return _FAULTS.get(reason, (reason or str(error)).replace("_", " ").lower() or "cannot be used")
