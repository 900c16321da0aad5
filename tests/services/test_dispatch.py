"""What becomes of a request whose service fails: one final response, whatever happens when."""

import io
from collections.abc import Callable
from types import SimpleNamespace

import pytest

from minipacs.audit.audit import Audit
from minipacs.audit.message import Source
from minipacs.dicom.data_set.command_set import CommandField, CommandSet
from minipacs.errors import Failure, Kind
from minipacs.net.access import Caller
from minipacs.net.ending import AssociationEnded
from minipacs.services import dispatch
from minipacs.services.dispatch import Dispatcher, Service
from minipacs.services.environment import Request
from tests.support.wire import VERIFICATION


class Once:
    """An association that asks for one C-ECHO, and keeps what it is answered."""

    def __init__(self) -> None:
        self.answers: list[CommandSet] = []
        self.operations: dict[str, int] = {}
        command = CommandSet(
            command_field=CommandField.C_ECHO_RQ, message_id=7, affected_sop_class_uid=VERIFICATION, has_data_set=False
        )
        context = SimpleNamespace(abstract_syntax=VERIFICATION, context_id=1, as_scp=True)
        message = SimpleNamespace(command=command, context=context, is_duplicate=False, drain=lambda: None)
        self._requests = iter([message])
        self.operations = dict.fromkeys(("C-ECHO success", "C-ECHO failure"), 0)

    def request(self) -> object:
        found = next(self._requests, None)
        if found is None:
            raise AssociationEnded("released")
        return found

    def send(self, context_id: int, command: CommandSet, data: bytes | None) -> None:
        self.answers.append(command)


def served_by(monkeypatch: pytest.MonkeyPatch, serve: Callable[[Request], CommandSet]) -> tuple[Once, list[str]]:
    """Serve one C-ECHO by `serve`; give the association, and the category counted."""
    services = {VERIFICATION: {CommandField.C_ECHO_RQ: Service("C-ECHO", serve)}}
    monkeypatch.setattr(dispatch, "SERVICES", services)
    counted: list[str] = []
    environment = SimpleNamespace(
        archive=SimpleNamespace(tree=SimpleNamespace(spare=SpareOf)),
        audit=Audit(None, Source("MINIPACS")),
        observer=SimpleNamespace(operation=lambda name, peer, category, duration_s: counted.append(category)),
    )
    association = Once()
    caller = Caller("1", "CT1", "MINIPACS", "10.0.0.2", "CT1", None)
    ended = Dispatcher(environment, lambda *of: None).serve(association, caller)  # type: ignore[arg-type]
    assert ended.outcome == "released"
    return association, counted


class SpareOf(io.StringIO):
    """Something to enter and to leave."""


@pytest.mark.parametrize("error", [OSError(27, "File too large"), Failure(Kind.FULL, "no room"), ValueError("?")])
def test_what_fails_after_the_final_response_is_not_answered_again(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, error: Exception
) -> None:
    def serve(request: Request) -> CommandSet:
        request.respond(request.response(0))
        raise error

    association, counted = served_by(monkeypatch, serve)
    assert [answer.status for answer in association.answers] == [0]
    assert counted == ["success"]
    assert [record.message for record in caplog.records if record.levelname == "ERROR"] == ["failed once answered"]


def test_what_fails_after_a_pending_response_is_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    def serve(request: Request) -> CommandSet:
        request.respond(request.response(0xFF00, has_data_set=True), b"")
        raise ValueError("internal")

    association, counted = served_by(monkeypatch, serve)
    assert [answer.status for answer in association.answers] == [0xFF00, 0x0110]
    assert counted == ["failure"]
