"""The responses of C-MOVE and C-GET: counts, lists and statuses (PS3.4 C.4.2.1, C.4.2.3.1, C.4.3)."""

import struct
from collections.abc import Callable

import pytest
from pydicom.dataset import Dataset

from minipacs.services.query_retrieve.invoker import PENDING_INTERVAL_S
from tests.support.objects import study
from tests.support.receiver import Receiver, only
from tests.support.retriever import (
    CANCEL,
    COMPLETED,
    FAILED,
    PENDING,
    REMAINING,
    WARNING,
    Result,
    Retriever,
    get,
    identifier,
    move,
)
from tests.support.sender import Sender
from tests.support.server import Server
from tests.support.wire import CT, EXPLICIT, IMPLICIT, STUDY_GET, STUDY_MOVE, cancel, message

MR = "1.2.840.10008.5.1.4.1.1.4"
MPEG4 = "1.2.840.10008.1.2.4.102"
STATUSES = {
    "success": [0, 0, 0],
    "one fails": [0, 0xA700, 0],
    "one warns": [0, 0xB000, 0],
    "all warn": [0xB000, 0xB006, 0xB007],
    "all fail": [0xA700, 0xC000, 0x0122],
    "each": [0xB007, 0x0110, 0],
}
FINAL = {"success": 0, "all fail": 0xA702}


def fill(server: Server, instances: list[Dataset]) -> list[str]:
    with Sender(server.port, *{(ds.SOPClassUID, EXPLICIT): None for ds in instances}) as sender:
        assert [sender.store(ds).status for ds in instances] == [0] * len(instances)
    return [ds.SOPInstanceUID for ds in instances]


def check_responses(result: Result, total: int) -> None:
    """Hold every response to M4, M5 and M7."""
    for pending in result.pending:
        assert pending.status == PENDING
        assert sum(pending.us(tag) for tag in (REMAINING, COMPLETED, FAILED, WARNING)) == total
        assert not pending.data
    assert REMAINING not in result.final.elements
    assert sum(result.counts) == total
    if not result.counts[1]:
        assert not result.final.data
        assert result.final.us(0x800) == 0x101


def is_failure(status: int) -> bool:
    return status != 0 and status >> 12 != 0xB


@pytest.mark.parametrize("case", STATUSES)
def test_m5_m6_m7_m10_counts_status_and_list_follow_from_what_each_object_was_answered(
    start_server: Callable[..., Server], case: str
) -> None:
    answers = STATUSES[case]
    with Receiver(answer=lambda wire, received, number: answers[number]) as receiver:
        server = start_server(more=receiver.peer())
        instances = study(instances=3)
        fill(server, instances)
        uid = instances[0].StudyInstanceUID
        moved = move(server.port, "STUDY", study=uid)
        with Retriever(server.port, STUDY_GET, (CT, EXPLICIT), answer=lambda w, r, number: answers[number]) as wire:
            fetched = wire.run("STUDY", study=uid)
        failed = [r.sop_instance_uid for r, a in zip(receiver.received, answers, strict=True) if is_failure(a)]
    for result in (moved, fetched):
        assert result.final.status == FINAL.get(case, 0xB000)
        assert result.counts == (answers.count(0), len(failed), 3 - answers.count(0) - len(failed))
        assert result.failed_uids == failed
        assert bool(result.final.comment) == bool(failed)
        check_responses(result, 3)


def test_m7_the_list_is_in_the_transfer_syntax_of_its_context(server: Server) -> None:
    instances = study(instances=1)
    (uid,) = fill(server, instances)
    for syntax, head in ((IMPLICIT, struct.pack("<I", len(uid) + len(uid) % 2)), (EXPLICIT, b"UI")):
        with Sender(server.port, (STUDY_GET, syntax)) as wire:
            retriever = Retriever.__new__(Retriever)
            retriever.__dict__.update(wire.__dict__, sop_class=STUDY_GET)
            level, key = identifier("STUDY"), instances[0].StudyInstanceUID.encode()
            if syntax == EXPLICIT:
                level = b"\x08\0\x52\0CS\x06\0STUDY \x20\0\x0d\0UI" + struct.pack("<H", len(key) + len(key) % 2)
                retriever.start(level + key + b"\0" * (len(key) % 2))
            else:
                retriever.start(identifier("STUDY", study=key.decode()))
            final = retriever.finish().final
            assert final.data[4:].startswith(head)
            assert final.data.rstrip(b"\0").endswith(uid.encode())


def test_m4_pending_responses_come_while_a_destination_is_slow(start_server: Callable[..., Server]) -> None:
    seen: list[int] = []

    def slow(wire: object, received: object, number: int) -> int:
        while number == 0 and len(seen) < 3:  # the first object is answered only after three pending responses
            retriever.step(result)
            seen.append(result.final.status)
        return 0

    with Receiver(answer=slow) as receiver:
        server = start_server(more=receiver.peer())
        instances = study(instances=2)
        fill(server, instances)
        result = Result()
        with Retriever(server.port) as retriever:
            retriever.start(identifier("STUDY", study=instances[0].StudyInstanceUID))
            while receiver.received == [] and not seen:
                retriever.socket.settimeout(15)
                if receiver.calls and receiver.calls[0].received:
                    break
            receiver_done = receiver.settled
            receiver_done()
            retriever.finish(result)
    assert seen == [PENDING] * 3
    assert (result.final.status, result.counts) == (0, (2, 0, 0))
    check_responses(result, 2)
    assert PENDING_INTERVAL_S <= 5


def test_m12_cancel_stops_before_the_next_object(start_server: Callable[..., Server]) -> None:
    with Receiver() as receiver:
        server = start_server(more=receiver.peer())
        instances = study(instances=20)
        fill(server, instances)

        def cancelling(wire: object, received: object, number: int) -> int:
            if number == 2:
                retriever.send(message(1, cancel(1)))
            return 0xA700 if number == 1 else 0

        receiver.answer = cancelling
        with Retriever(server.port) as retriever:
            result = retriever.run("STUDY", study=instances[0].StudyInstanceUID)
            assert retriever.run("STUDY", study="1.2.3").final.status == 0, "usable afterwards"
        (call,) = receiver.settled()
    assert call.end == "released"
    assert result.final.status == CANCEL
    assert result.counts == (len(call.received) - 1, 1, 0)
    assert 3 <= len(call.received) < 20
    assert result.final.us(REMAINING) == 20 - len(call.received)
    assert result.failed_uids == [call.received[1].sop_instance_uid]


def test_m12_cancel_of_a_c_get_between_objects(server: Server) -> None:
    instances = study(instances=20)
    fill(server, instances)

    def cancelling(wire: Retriever, received: object, number: int) -> int:
        if number == 2:
            wire.send(message(1, cancel(1)))
        return 0

    with Retriever(server.port, STUDY_GET, (CT, EXPLICIT), answer=cancelling) as wire:
        result = wire.run("STUDY", study=instances[0].StudyInstanceUID)
        assert (result.final.status, result.counts) == (CANCEL, (3, 0, 0))
        assert result.final.us(REMAINING) == 17
        assert not result.final.data
        wire.answer = lambda wire, received, number: 0
        assert wire.run("STUDY", study=instances[0].StudyInstanceUID).counts == (20, 0, 0), "usable afterwards"


def test_m12_the_priority_is_that_of_the_request(start_server: Callable[..., Server]) -> None:
    with Receiver() as receiver:
        server = start_server(more=receiver.peer())
        instances = study(instances=1)
        fill(server, instances)
        for priority in (2, 1, 0):
            with Retriever(server.port) as wire:
                wire.start(identifier("STUDY", study=instances[0].StudyInstanceUID), priority=priority)
                wire.finish()
        assert [r.request.us(0x700) for r in receiver.received] == [2, 1, 0]


def test_m9_a_refused_context_fails_only_its_objects(start_server: Callable[..., Server]) -> None:
    with Receiver(lambda proposed: EXPLICIT if proposed.abstract_syntax == CT else None) as receiver:
        server = start_server(more=receiver.peer())
        instances = study(instances=4)
        for ds in instances[::2]:
            ds.SOPClassUID, ds.Modality = MR, "MR"
        fill(server, instances)
        moved = move(server.port, "STUDY", study=instances[0].StudyInstanceUID)
        fetched = get(server.port, (CT, EXPLICIT), level="STUDY", study=instances[0].StudyInstanceUID)
        assert sorted(r.sop_instance_uid for r in receiver.received) == sorted(
            ds.SOPInstanceUID for ds in instances[1::2]
        )
    for result in (moved, fetched):
        assert (result.final.status, result.counts) == (0xB000, (2, 2, 0))
        assert sorted(result.failed_uids) == sorted(ds.SOPInstanceUID for ds in instances[::2])
        check_responses(result, 4)


def test_m9_every_context_refused(start_server: Callable[..., Server]) -> None:
    with Receiver(only(MPEG4)) as receiver:
        server = start_server(more=receiver.peer())
        instances = study(instances=3)
        failed = fill(server, instances)
        result = move(server.port, "STUDY", study=instances[0].StudyInstanceUID)
        (call,) = receiver.settled()
    assert (result.final.status, result.counts) == (0xA702, (0, 3, 0))
    assert sorted(result.failed_uids) == sorted(failed)
    assert call.end == "released"


def test_m11_the_originator_is_who_asked(start_server: Callable[..., Server]) -> None:
    with Receiver() as receiver:
        server = start_server(more=receiver.peer())
        instances = study(instances=1)
        fill(server, instances)
        with Retriever(server.port, STUDY_MOVE, calling=b"WORKSTATION1") as wire:
            wire.start(identifier("STUDY", study=instances[0].StudyInstanceUID), message_id=4711)
            assert wire.finish().final.us(0x120) == 4711
        (call,) = receiver.settled()
        elements = call.received[0].request.elements
        assert elements[0x1030].decode().strip() == "WORKSTATION1"
        assert int.from_bytes(elements[0x1031], "little") == 4711
        assert call.body[4:36] == b"RECEIVER".ljust(16) + b"MINIPACS".ljust(16)
        fetched = get(server.port, (CT, EXPLICIT), level="STUDY", study=instances[0].StudyInstanceUID)
        assert not {0x1030, 0x1031} & fetched.received[0].request.elements.keys(), "only a C-MOVE has an originator"
