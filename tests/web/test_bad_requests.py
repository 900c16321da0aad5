"""Requests that no honest client sends: a clear status, an id that the log has as well, never a traceback."""

import json
import logging
import socket

import pytest

from tests.support.objects import ct
from tests.support.web import Web
from tests.web.test_retrieve import path_of

HOST = b"Host: localhost\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n"
DICOM = b"Content-Type: application/dicom\r\n"


def exchange(web: Web, raw: bytes) -> tuple[int, dict[str, str], bytes]:
    """Send bytes as they are; give status, header fields and body."""
    with socket.create_connection((web.host, web.port), 20) as sock:
        sock.sendall(raw)
        data = b""
        while b"\r\n\r\n" not in data:
            more = sock.recv(65536)
            assert more, data
            data += more
        head, _, body = data.partition(b"\r\n\r\n")
        lines = head.decode("latin-1").split("\r\n")
        headers = {k.lower(): v.strip() for k, _, v in (line.partition(":") for line in lines[1:])}
        while len(body) < int(headers.get("content-length", 0)):
            body += sock.recv(65536)
        return int(lines[0].split(" ")[1]), headers, body


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        (b"GET /dicom-web/studies HTTP/1.1\r\n\r\n", 400),
        (b"GET /dicom-web/studies HTTP/1.1\r\nHost: a b\r\n\r\n", 400),
        (b"GET /dicom-web/studies HTTP/1.1\r\nHost: evil.example/\r\n\r\n", 400),
        (b"GET /dicom-web/studies HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n", 400),
        (b"GET /dicom-web/../etc/passwd HTTP/1.1\r\n" + HOST + b"\r\n", 404),
        (b"GET /dicom-web/studies/..%2f..%2fetc HTTP/1.1\r\n" + HOST + b"\r\n", 404),
        (b"GET /dicom-web/studies/%00 HTTP/1.1\r\n" + HOST + b"\r\n", 404),
        (b"GET /dicom-web/studies/1.2.3%0d%0aX:1 HTTP/1.1\r\n" + HOST + b"\r\n", 404),
        (b"GET /dicom-web/studies/%ff%fe HTTP/1.1\r\n" + HOST + b"\r\n", 404),
        (b"GET //dicom-web//studies HTTP/1.1\r\n" + HOST + b"\r\n", 404),
        (b"GET /dicom-web/studies/" + b"1" * 65 + b" HTTP/1.1\r\n" + HOST + b"\r\n", 404),
        (b"GET /dicom-web/studies?PatientName=%zz HTTP/1.1\r\n" + HOST + b"\r\n", 200),
        (b"GET /dicom-web/studies?PatientName=%c3%28 HTTP/1.1\r\n" + HOST + b"\r\n", 400),
        (b"GET /dicom-web/studies?limit=%d9%a1 HTTP/1.1\r\n" + HOST + b"\r\n", 400),
        (b"GET /dicom-web/studies?" + b"x" * 8200 + b" HTTP/1.1\r\n" + HOST + b"\r\n", 414),
        (b"GET /" + b"x" * 70000 + b" HTTP/1.1\r\n" + HOST + b"\r\n", 431),
        (b"POST /dicom-web/studies HTTP/1.1\r\n" + HOST + b"Content-Length: -1\r\n\r\n", 400),
        (b"POST /dicom-web/studies HTTP/1.1\r\n" + HOST + b"Content-Length: 9e9\r\n\r\n", 400),
        (b"POST /dicom-web/studies HTTP/1.1\r\n" + HOST + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\n", 400),
        (b"POST /dicom-web/studies HTTP/1.1\r\n" + HOST + CHUNKED + b"Content-Length: 6\r\n\r\n0\r\n\r\n", 400),
        (b"POST /dicom-web/studies HTTP/1.1\r\n" + HOST + DICOM + CHUNKED + b"\r\nzz\r\n", 400),
        (b"BREW /dicom-web/studies HTTP/1.1\r\n" + HOST + b"\r\n", 400),
        (b"PATCH /dicom-web/studies HTTP/1.1\r\n" + HOST + b"\r\n", 405),
        (b"TRACE /dicom-web/studies HTTP/1.1\r\n" + HOST + b"\r\n", 405),
        (b"GET /dicom-web/studies HTTP/9.9\r\n" + HOST + b"\r\n", 400),
        (b"GET /dicom-web/studies HTTP/1.1\r\n" + HOST + b"Authorization: Basic %%%\r\n\r\n", 401),
        (b"GET /dicom-web/studies HTTP/1.1\r\n" + HOST + b"Authorization: Bearer " + b"x" * 9000 + b"\r\n\r\n", 401),
        (b"GET /dicom-web/studies HTTP/1.1\r\n" + HOST + b"Accept: " + b',;="\\' * 2000 + b"\r\n\r\n", 406),
        (b"GET /dicom-web/studies HTTP/1.1\r\n" + HOST + b"Accept: application/dicom+json, text/html\r\n\r\n", 400),
        (b"GET /dicom-web/studies HTTP/1.1\r\n" + HOST + b"Origin: http://evil.example\r\n\r\n", 200),
        (b"DELETE /dicom-web/studies/1.2 HTTP/1.1\r\n" + HOST + b"Origin: http://evil.example\r\n\r\n", 403),
    ],
)
def test_a_clear_status_with_an_id(web: Web, raw: bytes, status: int, caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.INFO)
    got, headers, body = exchange(web, raw)
    assert got == status, body
    assert b"Traceback" not in body
    assert not [record for record in caplog.records if record.exc_info]
    if got >= 400:
        told = json.loads(body)
        assert told["status"] == got
        assert told["id"] == headers["x-request-id"]
        for _ in range(100):  # the line is written after the answer
            logged = [record.fields for record in caplog.records if record.message == "HTTP"]  # type: ignore[attr-defined]
            if told["id"] in [fields["id"] for fields in logged]:
                break
            web.get("/studies")
        else:
            raise AssertionError("no line with the id")
    for value in headers.values():
        assert "evil.example" not in value
    assert web.get("/studies").status == 200


def test_text_of_a_client_is_in_no_header_and_no_log(web: Web, caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.DEBUG)
    answer = web.get("/studies?SECRET=1&includefield=SECRET&PatientName=SECRET")
    assert "SECRET" not in str(answer.headers)
    assert "SECRET" not in caplog.text + str([getattr(r, "fields", "") for r in caplog.records])


def test_a_client_that_leaves_in_the_middle_of_an_answer(web: Web, caplog: pytest.LogCaptureFixture):
    ds = ct()
    ds.Rows, ds.Columns, ds.PixelData = 2048, 2048, bytes(2048 * 2048 * 2)
    web.store(ds)
    request = f"GET /dicom-web{path_of(ds)} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()
    for _ in range(5):
        with socket.create_connection((web.host, web.port), 20) as sock:
            sock.sendall(request)
            assert sock.recv(100).startswith(b"HTTP/1.1 200")
    assert web.get("/studies").status == 200
    assert not [record for record in caplog.records if record.exc_info]
