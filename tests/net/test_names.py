"""Names of hosts: nobody waits for long, and what was known serves while nobody answers."""

import socket
import threading

import pytest

from minipacs.net.wire import names
from minipacs.net.wire.names import FAULT_KEPT_S, FRESH_S, KEPT_S, MAX_LOOKUPS, NameNotResolved, Names

WAIT_S = 10


class Server:
    """A name server in the hands of a test."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.asked: list[str] = []
        self.answers: dict[str, list[str]] = {}
        self.answering = threading.Event()
        self.answering.set()
        self.now = 1000.0
        monkeypatch.setattr(names.socket, "getaddrinfo", self.look_up)
        monkeypatch.setattr(names.time, "monotonic", lambda: self.now)

    def look_up(self, host: str, *given: object, **options: object) -> list[tuple[object, ...]]:
        self.asked.append(host)
        assert self.answering.wait(WAIT_S)
        if host not in self.answers:
            raise socket.gaierror(-2, "Name or service not known")
        return [(2, 1, 6, "", (address, 0)) for address in self.answers[host]]


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Server:
    return Server(monkeypatch)


def test_an_address_is_asked_of_nobody(server):
    assert [Names().addresses(a) for a in ("10.0.0.1", "::1", "fe80::1%lo")] == [
        ("10.0.0.1",),
        ("::1",),
        ("fe80::1%lo",),
    ]
    assert server.asked == []


def test_an_answer_serves_for_a_while_and_then_while_it_is_asked_for_anew(server):
    found = Names()
    server.answers["ct1"] = ["10.0.0.1", "10.0.0.1", "10.0.0.2"]
    assert [found.addresses("ct1") for _ in range(3)] == [("10.0.0.1", "10.0.0.2")] * 3
    assert server.asked == ["ct1"]
    server.now += FRESH_S + 1
    server.answering.clear()
    server.answers["ct1"] = ["10.0.0.3"]
    assert found.addresses("ct1") == ("10.0.0.1", "10.0.0.2")
    asking = found._known["ct1"].running
    server.answering.set()
    assert asking is None or asking.wait(WAIT_S)
    assert found.addresses("ct1") == ("10.0.0.3",)


def test_the_last_answer_serves_for_an_hour_while_there_is_no_other(server):
    found = Names()
    server.answers["ct1"] = ["10.0.0.1"]
    found.addresses("ct1")
    server.answers.clear()
    server.now += FRESH_S + 1
    assert found.addresses("ct1") == ("10.0.0.1",)
    server.now += KEPT_S
    with pytest.raises(NameNotResolved, match="ct1: Name or service not known"):
        found.addresses("ct1")


def test_a_fault_is_not_asked_about_again_at_once(server):
    found = Names()
    for _ in range(3):
        with pytest.raises(NameNotResolved, match="ct1: Name or service not known"):
            found.addresses("ct1")
    assert server.asked == ["ct1"]
    server.now += FAULT_KEPT_S + 1
    server.answers["ct1"] = ["10.0.0.1"]
    assert found.addresses("ct1") == ("10.0.0.1",)


def test_a_silent_name_server_costs_each_name_a_moment_and_a_bounded_number_of_threads(server):
    found = Names()
    server.answering.clear()
    for n in range(MAX_LOOKUPS):
        with pytest.raises(NameNotResolved, match="no answer from the name server within"):
            found.addresses(f"ct{n}", 0.01)
    with pytest.raises(NameNotResolved, match="too many names"):
        found.addresses("one more", 0.01)
    running = [name.running for name in found._known.values()]
    server.answering.set()
    assert all(event.wait(WAIT_S) for event in running if event is not None)
    assert len(server.asked) == MAX_LOOKUPS
