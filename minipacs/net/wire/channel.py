"""How bytes go over a socket that never blocks: as they are, or through TLS; above here nobody knows which.

TLS is done on memory buffers and not by `ssl.SSLSocket`: that costs a fifth less, and the socket stays one that can be
polled (PS3.15 B.12).
"""

import contextlib
import socket
import ssl
from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol

from minipacs.net.wire.certificate import Certificate

MAX_BUFFERS_A_WRITE = 512
"""Buffers handed to one sendmsg call; the system allows 1024 (IOV_MAX)."""
RAW_BUFFER_BYTES = 64 << 10
MAX_RAW_BUFFERS = 64
"""Kept for the next read of whichever connection; an idle one has none."""
RECORD_BYTES = 16 << 10
"""What a TLS record holds (RFC 8446 5.1)."""
JOINED_BYTES = 2 << 10
"""Less than this goes into a record with what follows: each record costs 22 bytes and a call."""
ENCRYPTED_AT_ONCE_BYTES = 256 << 10
MAX_HELD_BYTES = 1 << 20
"""Encrypted, while the socket takes nothing: answers of TLS itself to what keeps coming."""
_QUICKACK: int | None = getattr(socket, "TCP_QUICKACK", None)


class ConnectionLost(Exception):
    """The connection ended without an A-ABORT or a release."""


class HandshakeFailed(ConnectionLost):
    """There is no TLS with this peer; `kind` is from a closed set, the values of `KINDS`, and the message says why."""

    def __init__(self, kind: str, why: str) -> None:
        super().__init__(f"TLS: {why}")
        self.kind = kind

    @property
    def is_refusal(self) -> bool:
        """Tell whether it was we who refused, and not the peer who would not go on."""
        return self.kind not in ("closed", "distrusted")


class Channel(Protocol):
    """Bytes in and out. `holds_input` tells that `receive` may have some although the socket has none."""

    is_encrypted: bool
    holds_input: bool
    certificate: Certificate | None

    @property
    def description(self) -> str:
        """Return how the bytes are protected, and what the peer has shown; "" if they are not."""

    def establish(self) -> bool:
        """Go on with what has to precede all bytes; true once it is over. Raises HandshakeFailed, ConnectionLost."""

    def receive(self, space: memoryview) -> int:
        """Read what is there into `space`; 0 if nothing is. Raises ConnectionLost."""

    def send(self, buffers: Sequence[memoryview]) -> int:
        """Take bytes of non-empty buffers, in order; returns how many, 0 if none can be taken now."""

    def flush(self) -> bool:
        """Hand on what was taken; true once the system has all of it. Raises ConnectionLost."""

    def finish(self) -> None:
        """Tell the peer that no more comes. Raises OSError."""


class PlainChannel:
    """Bytes as they are."""

    is_encrypted = False
    holds_input = False
    certificate: Certificate | None = None

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock

    @property
    def description(self) -> str:
        """Return that they are not."""
        return ""

    def establish(self) -> bool:
        """There is nothing to do."""
        return True

    def receive(self, space: memoryview) -> int:
        """Read once."""
        return _receive(self._sock, space)

    def send(self, buffers: Sequence[memoryview]) -> int:
        """Write once."""
        try:
            return self._sock.sendmsg(buffers[:MAX_BUFFERS_A_WRITE])
        except BlockingIOError:
            return 0
        except OSError as error:
            raise ConnectionLost(error.strerror or str(error)) from error

    def flush(self) -> bool:
        """Nothing is held back."""
        return True

    def finish(self) -> None:
        """Half-close."""
        self._sock.shutdown(socket.SHUT_WR)


class TlsChannel:
    """Bytes through TLS: as server, or as client of `server_name`, which the certificate has to bear."""

    is_encrypted = True
    _raw: list[bytearray] = []  # noqa: RUF012  (append and pop are atomic)

    def __init__(self, sock: socket.socket, context: ssl.SSLContext, server_name: str | None = None) -> None:
        self.holds_input = False
        self.certificate: Certificate | None = None
        self._sock = sock
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        is_server = server_name is None
        self._object = context.wrap_bio(self._in, self._out, server_side=is_server, server_hostname=server_name)
        self._unsent = memoryview(b"")
        self._has_heard = False

    @property
    def description(self) -> str:
        """Return version, suite and the subject of the peer's certificate."""
        suite = self._object.cipher()
        shown = self.certificate.subject if self.certificate is not None else "no certificate"
        return f"{self._object.version()} {suite[0] if suite else ''}, {shown}"

    def establish(self) -> bool:
        """Go on with the handshake."""
        try:
            while True:
                try:
                    self._object.do_handshake()
                except ssl.SSLWantReadError:
                    self.holds_input = False
                    self.flush()
                    if not self._feed():
                        return False
                else:
                    break
        except ssl.SSLError as error:
            self._let_out()
            raise failure(error) from error
        except ConnectionLost as error:
            if not self._has_heard:
                raise
            raise HandshakeFailed("closed", f"{error} during the handshake") from error
        self.flush()
        der = self._object.getpeercert(binary_form=True)
        if der is not None:
            self.certificate = Certificate.read(self._object.getpeercert() or {}, der)
        self.holds_input = True
        return True

    def receive(self, space: memoryview) -> int:
        """Read until the space is full or nothing is there: a call of the library gives one record."""
        filled = 0
        while filled < len(space):
            try:
                size = int(self._object.read(len(space) - filled, space[filled:]))
            except ssl.SSLWantReadError:
                self.holds_input = False
                if not self.flush() and self._out.pending > MAX_HELD_BYTES:
                    raise ConnectionLost("TLS: the peer asks for new keys and does not read them") from None
                if filled or not self._feed():
                    return filled
                continue
            except ssl.SSLZeroReturnError:
                size = 0
            except ssl.SSLError as error:
                self._let_out()
                raise ConnectionLost(f"TLS: {_words(error)}") from error
            if not size:
                if filled:
                    return filled
                raise ConnectionLost("closed by the peer")
            filled += size
        return filled

    def send(self, buffers: Sequence[memoryview]) -> int:
        """Encrypt as much as is worth a write."""
        if not self.flush():
            return 0
        taken = 0
        try:
            for piece in _pieces(buffers):
                self._object.write(piece)
                taken += len(piece)
                if taken >= ENCRYPTED_AT_ONCE_BYTES:
                    break
        except ssl.SSLError as error:
            raise ConnectionLost(f"TLS: {_words(error)}") from error
        self.flush()
        return taken

    def flush(self) -> bool:
        """Write what is encrypted."""
        while True:
            if not self._unsent:
                if not self._out.pending:
                    return True
                self._unsent = memoryview(self._out.read())
            try:
                sent = self._sock.send(self._unsent)
            except BlockingIOError:
                return False
            except OSError as error:
                raise ConnectionLost(error.strerror or str(error)) from error
            self._unsent = self._unsent[sent:]

    def finish(self) -> None:
        """Say close_notify, so that nobody takes the end for a cut line, and half-close."""
        with contextlib.suppress(ssl.SSLError):
            self._object.unwrap()
        self._let_out()
        self._sock.shutdown(socket.SHUT_WR)

    def _let_out(self) -> None:
        """Send an alert, if the socket takes it."""
        with contextlib.suppress(ConnectionLost):
            self.flush()

    def _feed(self) -> bool:
        """Read once from the socket; false if nothing is there."""
        try:
            buffer = self._raw.pop()
        except IndexError:
            buffer = bytearray(RAW_BUFFER_BYTES)
        try:
            size = _receive(self._sock, memoryview(buffer))
            self._in.write(memoryview(buffer)[:size])
        finally:
            if len(self._raw) < MAX_RAW_BUFFERS:
                self._raw.append(buffer)
        self._has_heard = self._has_heard or size > 0
        self.holds_input = size > 0
        return size > 0


def _receive(sock: socket.socket, space: memoryview) -> int:
    try:
        size = sock.recv_into(space)
    except BlockingIOError:
        return 0
    except OSError as error:
        raise ConnectionLost(error.strerror or str(error)) from error
    if not size:
        raise ConnectionLost("closed by the peer")
    if _QUICKACK is not None:
        # Peers that leave Nagle's algorithm on wait 40 ms for a delayed ACK; the kernel forgets this setting.
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.IPPROTO_TCP, _QUICKACK, 1)
    return size


def _pieces(buffers: Sequence[memoryview]) -> Iterator[memoryview | bytearray]:
    """Give what is encrypted in one call each: small buffers together with the beginning of what follows."""
    held = bytearray()
    for view in buffers:
        if len(held) + len(view) < JOINED_BYTES:
            held += view
            continue
        if held:
            begin = view[: RECORD_BYTES - len(held)]
            yield held + begin
            held, view = bytearray(), view[len(begin) :]
        for at in range(0, len(view), ENCRYPTED_AT_ONCE_BYTES):
            yield view[at : at + ENCRYPTED_AT_ONCE_BYTES]
    if held:
        yield held


_PLAIN = ("plain", "plain DICOM, or something else than TLS, on the TLS port")
_REASONS: Mapping[str, tuple[str, str]] = {
    "WRONG_VERSION_NUMBER": _PLAIN,
    "HTTP_REQUEST": _PLAIN,
    "HTTPS_PROXY_REQUEST": _PLAIN,
    "UNSUPPORTED_PROTOCOL": ("version", "no common TLS version"),
    "VERSION_TOO_LOW": ("version", "no common TLS version"),
    "TLSV1_ALERT_PROTOCOL_VERSION": ("version", "no common TLS version, says the peer"),
    "NO_SHARED_CIPHER": ("cipher", "no common cipher suite"),
    "NO_SUITABLE_SIGNATURE_ALGORITHM": ("cipher", "no common signature algorithm"),
    "PEER_DID_NOT_RETURN_A_CERTIFICATE": ("no_certificate", "the peer shows no certificate"),
    "TLSV13_ALERT_CERTIFICATE_REQUIRED": ("no_certificate", "the peer asks for a certificate of ours"),
    "TLSV1_ALERT_UNKNOWN_CA": ("distrusted", "the peer does not know the CA of our certificate"),
    "SSLV3_ALERT_CERTIFICATE_UNKNOWN": ("distrusted", "the peer does not trust our certificate"),
    "SSLV3_ALERT_BAD_CERTIFICATE": ("distrusted", "the peer does not take our certificate"),
    "SSLV3_ALERT_CERTIFICATE_EXPIRED": ("distrusted", "our certificate has expired, says the peer"),
}
_VERIFY_KINDS: Mapping[int, str] = {9: "expired", 10: "expired", 23: "revoked"}
"""By the codes of X509_verify_cert(3)."""
KINDS = tuple(
    dict.fromkeys(
        ["established", "untrusted", "expired", "revoked", "timeout", "closed", "other"]
        + [kind for kind, _ in _REASONS.values()]
    )
)
"""How a handshake can end, for metrics."""


def failure(error: ssl.SSLError) -> HandshakeFailed:
    """Say in plain words why there is no TLS."""
    if isinstance(error, ssl.SSLCertVerificationError):
        kind = _VERIFY_KINDS.get(error.verify_code, "untrusted")
        return HandshakeFailed(kind, f"certificate of the peer refused: {error.verify_message}")
    kind, why = _REASONS.get(getattr(error, "reason", None) or "", ("other", _words(error)))
    return HandshakeFailed(kind, why)


def _words(error: ssl.SSLError) -> str:
    return (getattr(error, "reason", None) or error.strerror or str(error)).replace("_", " ").lower()
