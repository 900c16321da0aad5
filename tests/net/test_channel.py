"""Bytes through TLS, between two ends in one process."""

import select
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from minipacs.net.wire import channel
from minipacs.net.wire.certificate import Certificate
from minipacs.net.wire.channel import ENCRYPTED_AT_ONCE_BYTES, KINDS, ConnectionLost, TlsChannel, failure
from minipacs.net.wire.tls import TlsFiles
from minipacs.net.wire.transport import TimedOut, Transport
from tests.support.certificates import Authority

LONG_S = 20


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> TlsFiles:
    folder = tmp_path_factory.mktemp("ca")
    ca = Authority(folder)
    us = ca.issue("US")
    return TlsFiles(str(us.certificate), str(us.key), str(ca.certificate))


@pytest.fixture
def ends(files: TlsFiles) -> Iterator[tuple[Transport, ssl.SSLSocket]]:
    """Our end as server, established, and a client's."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        far = socket.create_connection(server.getsockname(), LONG_S)
        near, _ = server.accept()
    ours = Transport(near)
    ours.secure(files.server(require_certificate=True))
    establishing = threading.Thread(target=ours.establish, args=(time.monotonic() + LONG_S,))
    establishing.start()
    theirs = files.client().wrap_socket(far, server_hostname="127.0.0.1")
    establishing.join()
    yield ours, theirs
    ours.close()
    theirs.close()


def read(transport: Transport, size: int) -> bytes:
    found = bytearray(size)
    done = 0
    while done < size:
        done += transport.receive(memoryview(found)[done:], LONG_S)
    return bytes(found)


def test_bytes_come_as_they_were_sent_whatever_way_they_are_split(ends):
    ours, theirs = ends
    buffers = [
        bytes([n % 251]) * size for n, size in enumerate([12, 100_000, 12, 12, 2047, 2048, 2049, 16384, 1, 700_000])
    ]
    whole = b"".join(buffers)
    sending = threading.Thread(target=ours.send, args=(buffers, LONG_S))
    sending.start()
    found = b""
    while len(found) < len(whole):
        found += theirs.recv(1 << 20)
    sending.join()
    assert found == whole
    sending = threading.Thread(target=theirs.sendall, args=(whole,))
    sending.start()
    assert read(ours, len(whole)) == whole
    sending.join()


def test_what_is_decrypted_already_ends_a_wait(ends):
    ours, theirs = ends
    theirs.sendall(b"ab" * 10)
    assert read(ours, 2) == b"ab"
    ours.wait(select.POLLIN, time.monotonic())
    assert read(ours, 18) == b"ab" * 9
    ours.receive_now(memoryview(bytearray(1)))
    with pytest.raises(TimedOut):
        ours.wait(select.POLLIN, time.monotonic() + 0.01)


def test_headers_go_into_a_record_with_what_follows():
    views = [memoryview(bytes(size)) for size in (12, 100, 50_000, 12, 600_000, 12)]
    pieces = [len(piece) for piece in channel._pieces(views)]
    assert pieces == [16384, 50_112 - 16384, 16384, ENCRYPTED_AT_ONCE_BYTES, ENCRYPTED_AT_ONCE_BYTES, 59_340, 12]
    assert sum(pieces) == sum(map(len, views))


def test_the_end_is_said_and_heard(ends):
    ours, theirs = ends
    lingering = threading.Thread(target=ours.linger, args=(LONG_S,))
    lingering.start()
    assert theirs.recv(10) == b"", "close_notify, no cut line"
    theirs.unwrap().close()
    lingering.join()


def test_a_peer_that_says_the_end_or_none_has_closed(ends):
    ours, theirs = ends
    theirs.sendall(b"x")
    theirs.settimeout(0.2)
    with pytest.raises((TimeoutError, ssl.SSLError)):
        theirs.unwrap()
    assert read(ours, 1) == b"x"
    with pytest.raises(ConnectionLost, match="closed by the peer"):
        ours.receive(memoryview(bytearray(10)), LONG_S)


def test_bytes_that_were_changed_on_the_way_end_the_connection(ends):
    ours, theirs = ends
    raw = socket.socket(fileno=theirs.detach())
    raw.sendall(b"\x17\x03\x03\x00\x40" + bytes(64))
    with pytest.raises(ConnectionLost, match="TLS: "):
        ours.receive(memoryview(bytearray(10)), LONG_S)
    raw.close()


def test_an_idle_connection_has_no_buffer_of_its_own(ends):
    ours, theirs = ends
    theirs.sendall(b"x")
    assert read(ours, 1) == b"x"
    assert len(TlsChannel._raw) >= 1
    assert not any(isinstance(value, bytearray) for value in vars(ours.channel).values())


def test_hostile_names_are_bounded():
    decoded = {
        "subject": ((("commonName", "A\0B\nC" * 1000),),),
        "subjectAltName": tuple(("DNS", f"h{n}.example") for n in range(10_000)),
    }
    found = Certificate.read(decoded, b"der")
    assert len(found.subject) <= 256
    assert len(found.names) <= 1002
    assert found.is_named("DNS:H7.Example")
    assert not found.is_named("CN=A")


def test_every_reason_is_of_a_kind_that_metrics_know():
    error = ssl.SSLError(1, "[SSL: SOMETHING_NEW] something new")
    assert failure(error).kind in KINDS
    assert {kind for kind, _ in channel._REASONS.values()} <= set(KINDS)
    assert set(channel._VERIFY_KINDS.values()) <= set(KINDS)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"certificate": "missing.pem"}, "tls.certificate = .*missing.pem: cannot be read: No such file"),
        ({"key": "other.key"}, "tls.certificate .*: the key is not that of the certificate"),
        ({"ca": "empty.pem"}, "tls.ca = .*empty.pem: holds no certificate"),
    ],
)
def test_a_file_that_is_no_good_is_named(tmp_path: Path, change: dict[str, str], says: str):
    ca = Authority(tmp_path)
    us, _ = ca.issue("us"), ca.issue("other")
    (tmp_path / "empty.pem").touch()
    given = {"certificate": us.certificate, "key": us.key, "ca": ca.certificate}
    given |= {name: tmp_path / file for name, file in change.items()}
    with pytest.raises(Exception, match=says):
        TlsFiles(**{name: str(path) for name, path in given.items()}).server(require_certificate=True)
