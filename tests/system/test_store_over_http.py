"""STOW-RS to the daemon: what was answered is there, whoever is killed."""

import http.client
import json
import os
import signal
import socket
from pathlib import Path

from tests.support.objects import study
from tests.support.server import Server
from tests.support.storing import incoming, published, rows
from tests.support.web import free_port
from tests.web.test_store import as_file, body

KIND = 'multipart/related; type="application/dicom"; boundary=b'


def post(port: int, data: bytes) -> tuple[int, dict[str, object]]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    connection.request("POST", "/dicom-web/studies", data, {"Content-Type": KIND})
    response = connection.getresponse()
    answer = response.status, json.loads(response.read())
    connection.close()
    return answer


def begin(port: int, data: bytes) -> socket.socket:
    """Send most of a request."""
    sock = socket.create_connection(("127.0.0.1", port), 20)
    head = f"Host: localhost\r\nContent-Type: {KIND}\r\nContent-Length: {len(data)}\r\n\r\n"
    sock.sendall(f"POST /dicom-web/studies HTTP/1.1\r\n{head}".encode() + data[:-500])
    return sock


def test_s6_what_was_answered_survives_kill_9(tmp_path: Path):
    port = free_port()
    server = Server(tmp_path, more=f'[web]\nport = {port}\nanonymous = ["read", "store"]\n')
    try:
        answered = set()
        for _ in range(2):
            half = begin(port, body(*map(as_file, study(instances=50))))
            files = list(map(as_file, study(instances=20)))
            status, _ = post(port, body(*files))
            assert status == 200
            answered |= set(files)
            server.kill()
            half.close()
            server.start()
            stored = published(server.data)
            assert answered <= {path.read_bytes() for path in stored}
            assert rows(server.data) == {path.stem: "ONLINE" for path in stored}
            assert not incoming(server.data)
    finally:
        server.stop()
    server.no_traceback()


def test_a_web_process_that_is_killed_leaves_nothing_half_done(tmp_path: Path):
    port = free_port()
    server = Server(tmp_path, more=f'[web]\nport = {port}\nanonymous = ["read", "store"]\n')
    try:
        with begin(port, body(*map(as_file, study(instances=50)))):
            for pid in server.children("web"):
                os.kill(pid, signal.SIGKILL)
            server.wait_for(lambda line: line["event"] == "process died")
        assert not incoming(server.data)
    finally:
        server.stop()
    server.no_traceback()
