"""What becomes of a retrieve request before anything is sent, where a real index cannot be brought to it at will."""

from types import SimpleNamespace

import pytest

from minipacs.dicom.data_set.identifier import decode_identifier
from minipacs.dicom.tables import statuses
from minipacs.dicom.tables.transfer_syntaxes import TRANSFER_SYNTAXES
from minipacs.errors import DimseError
from minipacs.services import retrieve
from tests.support.retriever import identifier
from tests.support.wire import IMPLICIT, STUDY_MOVE


@pytest.mark.parametrize(
    ("fault", "status"),
    [(statuses.OUT_OF_RESOURCES, 0xA701), (statuses.PROCESSING_FAILURE, statuses.PROCESSING_FAILURE)],
)
def test_an_index_that_cannot_count_matches(monkeypatch: pytest.MonkeyPatch, fault: int, status: int) -> None:
    def instances(keys: object) -> None:
        raise DimseError(fault, "index busy")

    keys = decode_identifier(identifier("STUDY", study="1.2"), TRANSFER_SYNTAXES[IMPLICIT])
    monkeypatch.setattr(retrieve, "read_identifier", lambda request: keys)
    index = SimpleNamespace(instances=instances)
    request = SimpleNamespace(
        message=SimpleNamespace(context=SimpleNamespace(abstract_syntax=STUDY_MOVE, extended=b"")),
        environment=SimpleNamespace(archive=SimpleNamespace(index=index)),
        log={},
    )
    for operation in (retrieve.move, retrieve.get):
        with pytest.raises(DimseError) as raised:
            operation(request)  # type: ignore[arg-type]
        assert (raised.value.status, raised.value.comment) == (status, "index busy")
