"""Storage Commitment, by pynetdicom on the real process (PS3.4 J)."""

import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
from pydicom.dataset import Dataset
from pydicom.uid import CTImageStorage, generate_uid
from pynetdicom import AE, build_role, evt
from pynetdicom.association import Association

from minipacs.dicom.workflow.commitment import MAX_OBJECTS
from tests.support import wire
from tests.support.modality import dataset
from tests.support.objects import ct, save_all
from tests.support.server import Server, limit_files, run
from tests.support.wire import Wire, free_port

COMMITMENT, WELL_KNOWN = "1.2.840.10008.1.20.1", "1.2.840.10008.1.20.1.1"
TITLE = "MODALITY"
WAIT_S = 20
IMPATIENT = {"minipacs.jobs.deliveries.FIRST_RETRY_S": 0.3}
"""Tries again soon; when the daemon does, `tests/jobs/test_deliveries.py` shows."""


class Events:
    """The events that a modality received, in order; `refusals` are statuses to answer the first ones with."""

    def __init__(self, refusals: Sequence[int] = ()) -> None:
        self.received: list[tuple[int, Dataset, str]] = []
        self._refusals = list(refusals)
        self._changed = threading.Condition()

    def take(self, event: evt.Event) -> tuple[int, Dataset | None]:
        with self._changed:
            titles = event.assoc.requestor.ae_title if event.assoc.is_acceptor else "same"
            self.received.append((event.event_type, event.event_information, titles))
            self._changed.notify_all()
            return (self._refusals.pop(0) if self._refusals else 0), None

    def wait(self, count: int = 1) -> list[tuple[int, Dataset, str]]:
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.received) >= count, WAIT_S), f"only {len(self.received)}"
            return list(self.received)

    @property
    def handlers(self) -> list[Any]:
        return [(evt.EVT_N_EVENT_REPORT, self.take)]


@pytest.fixture
def events() -> Events:
    return Events()


def peer(port: int, title: str = TITLE) -> str:
    return f'[[peer]]\ntitle = "{title}"\nhost = "127.0.0.1"\nport = {port}\n'


@pytest.fixture
def listening(events: Events) -> Iterator[int]:
    """Listen for events as a modality does; returns the port."""
    with listen(events) as port:
        yield port


class listen:
    """Accept associations in which the other side is SCP of Storage Commitment."""

    def __init__(self, events: Events, port: int = 0) -> None:
        ae = AE(TITLE)
        ae.add_supported_context(COMMITMENT, scu_role=False, scp_role=True)
        self._server = ae.start_server(("127.0.0.1", port), block=False, evt_handlers=events.handlers)

    def __enter__(self) -> int:
        assert self._server is not None
        return int(self._server.socket.getsockname()[1])

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()


def associate(
    server: Server, events: Events | None = None, title: str = TITLE, called: str = "MINIPACS"
) -> Association:
    ae = AE(title)
    ae.add_requested_context(COMMITMENT)
    roles = [build_role(COMMITMENT, scu_role=True, scp_role=False)]
    handlers = events.handlers if events is not None else []
    found = ae.associate("127.0.0.1", server.port, ae_title=called, evt_handlers=handlers, ext_neg=roles)
    assert found.is_established
    return found


def action(objects: Sequence[Dataset], transaction_uid: str) -> Dataset:
    references = [
        {"ReferencedSOPClassUID": ds.SOPClassUID, "ReferencedSOPInstanceUID": ds.SOPInstanceUID} for ds in objects
    ]
    return dataset({"TransactionUID": transaction_uid, "ReferencedSOPSequence": references})


def ask(association: Association, objects: Sequence[Dataset], transaction_uid: str = "") -> str:
    """Ask for commitment; returns the Transaction UID."""
    transaction_uid = transaction_uid or generate_uid()
    status, _ = association.send_n_action(action(objects, transaction_uid), 1, COMMITMENT, WELL_KNOWN)
    assert status.Status == 0
    return transaction_uid


def store(server: Server, count: int = 2) -> list[Dataset]:
    made = [ct(4) for _ in range(count)]
    run("import", "--config", server.config, *save_all(made, server.folder / "files"))
    return made


def safe(event: Dataset) -> list[str]:
    return [item.ReferencedSOPInstanceUID for item in event.get("ReferencedSOPSequence", [])]


def failed(event: Dataset) -> dict[str, int]:
    return {item.ReferencedSOPInstanceUID: item.FailureReason for item in event.get("FailedSOPSequence", [])}


def test_q1_q2_the_result_comes_by_event_on_the_same_association(start_server: Callable[..., Server], events: Events):
    server = start_server()
    stored = store(server)
    association = associate(server, events)
    transaction_uid = ask(association, stored)
    ((kind, event, where),) = events.wait()
    assert (kind, where) == (1, "same")
    assert event.TransactionUID == transaction_uid
    assert sorted(safe(event)) == sorted(ds.SOPInstanceUID for ds in stored)
    assert event.RetrieveAETitle == "MINIPACS"
    assert "FailedSOPSequence" not in event
    association.release()


def test_q2_each_object_is_in_one_list_with_its_reason(start_server: Callable[..., Server], events: Events):
    server = start_server()
    good, conflicting = store(server)
    conflicting.SOPClassUID = "1.2.840.10008.5.1.4.1.1.4"
    unknown, strange = ct(4), ct(4)
    strange.SOPClassUID = "1.2.3.4"
    association = associate(server, events)
    ask(association, [good, conflicting, unknown, strange])
    ((kind, event, _),) = events.wait()
    assert kind == 2
    assert safe(event) == [good.SOPInstanceUID]
    assert failed(event) == {
        conflicting.SOPInstanceUID: 0x0119,
        unknown.SOPInstanceUID: 0x0112,
        strange.SOPInstanceUID: 0x0122,
    }
    association.release()


def test_q3_after_a_release_a_new_association_is_opened(
    start_server: Callable[..., Server], events: Events, listening: int
):
    server = start_server(more=peer(listening))
    association = associate(server, called="OTHERNAME")
    transaction_uid = ask(association, store(server))
    association.release()
    ((kind, event, calling),) = events.wait()
    assert (kind, event.TransactionUID, calling) == (1, transaction_uid, "OTHERNAME")


@pytest.mark.parametrize("refusals", [[0x0110], [0x0112]])
def test_q4_a_refused_event_is_told_again_the_same(start_server: Callable[..., Server], refusals: list[int]):
    events = Events(refusals)
    with listen(events) as port:
        server = start_server(more=peer(port), limits=IMPATIENT)
        association = associate(server, events)
        ask(association, store(server))
        first, second = events.wait(2)
        assert (first[0], first[1]) == (second[0], second[1])
        assert (first[2], second[2]) == ("same", "MINIPACS")
        association.release()


@pytest.mark.parametrize("stop", ["stop", "kill"])
def test_q4_the_event_survives_a_restart(start_server: Callable[..., Server], events: Events, stop: str):
    port = free_port()
    server = start_server(more=peer(port), limits=IMPATIENT)
    association = associate(server)
    transaction_uid = ask(association, store(server))
    association.release()
    server.wait_for(lambda line: line.get("event") == "N-EVENT-REPORT failed")
    getattr(server, stop)()
    with listen(events, port):
        server.start()
        ((_, event, _),) = events.wait()
        assert event.TransactionUID == transaction_uid


def test_q4_a_request_that_was_taken_in_is_answered_after_a_crash(
    start_server: Callable[..., Server], events: Events, listening: int
):
    server = start_server(more=peer(listening))
    stored = store(server, 20)
    association = associate(server)
    transaction_uid = ask(association, stored)
    server.kill()
    server.start()
    received = events.wait()
    assert all(event == received[0][1] for _, event, _ in received)
    assert (received[0][1].TransactionUID, len(safe(received[0][1]))) == (transaction_uid, 20)


def test_q4_what_was_reported_does_not_change(start_server: Callable[..., Server], events: Events):
    server = start_server(more=peer(free_port()), limits=IMPATIENT)
    association = associate(server)
    late = ct(4)
    transaction_uid = ask(association, [late])
    association.release()
    server.wait_for(lambda line: line.get("event") == "N-EVENT-REPORT failed")
    run("import", "--config", server.config, *save_all([late], server.folder / "late"))
    association = associate(server, events)
    ask(association, [late], transaction_uid)  # a repeat is told at once: the next try may be a long way off by now
    ((kind, event, _),) = events.wait()
    assert (kind, failed(event)) == (2, {late.SOPInstanceUID: 0x0112})
    association.release()


def test_q4_the_same_request_again_is_a_repeat_and_another_is_0131(start_server: Callable[..., Server]):
    server = start_server(more=peer(free_port()))
    first, other = store(server)
    association = associate(server)
    transaction_uid = ask(association, [first])
    association.release()
    server.wait_for(lambda line: line.get("event") == "N-EVENT-REPORT failed")
    events = Events()
    association = associate(server, events)
    ask(association, [other], transaction_uid)
    ask(association, [first], transaction_uid)
    received = events.wait(2)
    server.wait_for(lambda line: line.get("outcome") == "repeated")
    assert [line["outcome"] for line in server.events("N-ACTION")] == ["new", "conflicting", "repeated"]
    assert {kind: (safe(event), failed(event)) for kind, event, _ in received} == {
        1: ([first.SOPInstanceUID], {}),
        2: ([], {other.SOPInstanceUID: 0x0131}),
    }
    association.release()


@pytest.mark.parametrize("damage", ["flip", "cut", "remove"])
def test_q5_a_damaged_file_is_not_committed(start_server: Callable[..., Server], events: Events, damage: str):
    server = start_server()
    (stored,) = store(server, 1)
    (path,) = server.objects()
    data = path.read_bytes()
    if damage == "remove":
        path.unlink()
    else:
        path.write_bytes(data[:-1] + (bytes([data[-1] ^ 1]) if damage == "flip" else b""))
    association = associate(server, events)
    ask(association, [stored])
    ((kind, event, _),) = events.wait()
    assert (kind, failed(event)) == (2, {stored.SOPInstanceUID: 0x0110})
    assert len(server.quarantined()) == (damage != "remove")
    association.release()


def test_q5_a_damaged_object_that_is_sent_again_is_safe(start_server: Callable[..., Server], events: Events):
    server = start_server()
    (stored,) = store(server, 1)
    (path,) = server.objects()
    path.write_bytes(b"damaged")
    association = associate(server, events)
    ask(association, [stored])
    events.wait()
    run("import", "--config", server.config, *save_all([stored], server.folder / "again"))
    ask(association, [stored])
    kind, event, _ = events.wait(2)[1]
    assert (kind, safe(event)) == (1, [stored.SOPInstanceUID])
    association.release()


def without(keyword: str) -> Dataset:
    ds = action([ct(4)], generate_uid())
    delattr(ds, keyword)
    return ds


def twice() -> Dataset:
    ds = ct(4)
    return action([ds, ds], generate_uid())


@pytest.mark.parametrize(
    ("information", "kind", "instance", "status"),
    [
        (action([ct(4)], "1.2.3"), 1, "1.2.3", 0x0112),
        (action([ct(4)], "1.2.3"), 2, WELL_KNOWN, 0x0123),
        (without("TransactionUID"), 1, WELL_KNOWN, 0x0114),
        (without("ReferencedSOPSequence"), 1, WELL_KNOWN, 0x0114),
        (action([], "1.2.3"), 1, WELL_KNOWN, 0x0115),
        (twice(), 1, WELL_KNOWN, 0x0115),
    ],
)
def test_q1_a_wrong_request_is_refused(
    shared_server: Server, information: Dataset, kind: int, instance: str, status: int
):
    association = associate(shared_server)
    found, _ = association.send_n_action(information, kind, COMMITMENT, instance)
    assert found.Status == status
    assert found.ErrorComment
    association.release()


def raw_action(server: Server, data: bytes) -> wire.Response:
    """Send an N-ACTION with a data set in Implicit VR Little Endian."""
    with Wire(server.port) as caller:
        caller.accepted(wire.context(1, COMMITMENT))
        named = wire.element(0x1001, WELL_KNOWN.encode()) + wire.us(0x1008, 1)
        caller.send(wire.message(1, wire.command(0x130, COMMITMENT, data=True, more=named), data))
        found = caller.response()
        caller.release()
        return found


def test_an_unknown_character_set_is_0106(shared_server: Server):
    assert raw_action(shared_server, wire.element(0x00080005, b"ISO_IR 999")).status == 0x0106


def test_an_unreadable_data_set_is_0110(shared_server: Server):
    assert raw_action(shared_server, b"\x08\0\x95\x11\xff\0\0\0").status == 0x0110


def test_too_many_objects_are_0213(shared_server: Server):
    sop_class = wire.element(0x00081150, b"1.2")
    items = (sop_class + wire.element(0x00081155, b"1.2.%d" % n) for n in range(MAX_OBJECTS + 1))
    references = b"".join(wire.element(0xFFFEE000, item) for item in items)
    data = wire.element(0x00081195, b"1.2.3") + wire.element(0x00081199, references)
    found = raw_action(shared_server, data)
    assert (found.status, found.comment) == (0x0213, f"more than {MAX_OBJECTS} objects")


def test_what_the_index_cannot_take_is_0213(start_server: Callable[..., Server], events: Events):
    server = start_server()
    stored = store(server)
    association = associate(server, events)
    limit_files(server, 4096)
    found, _ = association.send_n_action(action(stored, "1.2.3"), 1, COMMITMENT, WELL_KNOWN)
    assert (found.Status, found.ErrorComment[:6]) == (0x0213, "index ")
    limit_files(server)
    ask(association, stored, "1.2.3")
    assert events.wait()[0][0] == 1
    association.release()


def test_an_unreachable_requestor_is_tried_again_and_nobody_waits(start_server: Callable[..., Server]):
    server = start_server(more=peer(free_port()), limits=IMPATIENT)
    association = associate(server)
    ask(association, store(server))
    association.release()
    server.wait_for(
        lambda line: line.get("event") == "N-EVENT-REPORT failed" and "cannot connect" in str(line["reason"])
    )  # the first may still have found the association, whose user knows nothing of events
    association = associate(server)
    association.release()


def test_a_peer_without_the_right_is_refused(start_server: Callable[..., Server]):
    server = start_server(more=f'[[peer]]\ntitle = "{TITLE}"\nallow = ["store"]')
    ae = AE(TITLE)
    ae.add_requested_context(COMMITMENT)
    ae.add_requested_context(CTImageStorage)
    association = ae.associate("127.0.0.1", server.port, ae_title="MINIPACS")
    assert [str(c.abstract_syntax) for c in association.accepted_contexts] == [CTImageStorage]
    association.release()
