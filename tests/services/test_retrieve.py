"""What becomes of a retrieve request before anything is sent, where a real index cannot be brought to it at will."""

from types import SimpleNamespace

import pytest

from minipacs.dicom.data_set.command_set import CommandField
from minipacs.dicom.data_set.decode import decode_data_set
from minipacs.dicom.tables.transfer_syntaxes import TRANSFER_SYNTAXES
from minipacs.errors import Failure, Kind
from minipacs.services.answers import answer
from minipacs.services.query_retrieve import retrieve
from tests.support.retriever import identifier
from tests.support.wire import IMPLICIT, STUDY_MOVE


@pytest.mark.parametrize(
    ("fault", "status"),
    [(Kind.BUSY, 0xA701), (Kind.FULL, 0xA701), (Kind.TOO_MANY, 0xA701), (Kind.BROKEN, 0xC002)],
)
def test_an_index_that_cannot_count_matches(monkeypatch: pytest.MonkeyPatch, fault: Kind, status: int) -> None:
    def instances(keys: object, *, allowance: object) -> None:
        raise Failure(fault, "index busy")

    keys = decode_data_set(identifier("STUDY", study="1.2"), TRANSFER_SYNTAXES[IMPLICIT])
    monkeypatch.setattr(retrieve, "read_identifier", lambda request: keys)
    index = SimpleNamespace(instances=instances)
    request = SimpleNamespace(
        message=SimpleNamespace(context=SimpleNamespace(abstract_syntax=STUDY_MOVE, extended=b"")),
        environment=SimpleNamespace(archive=SimpleNamespace(index=index)),
        caller=SimpleNamespace(peer=None, address="127.0.0.1"),
        log={},
        note=lambda event, keys: None,
        cancelled=lambda: False,
    )
    for operation, field in ((retrieve.move, CommandField.C_MOVE_RQ), (retrieve.get, CommandField.C_GET_RQ)):
        with pytest.raises(Failure) as raised:
            operation(request)  # type: ignore[arg-type]
        given = answer(raised.value, field)
        assert (given.status, given.comment) == (status, "index busy")
