"""Studies that people send to a peer by the page: in the background, with progress, called off, and tried again."""

import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.objects import save_all, study
from tests.support.receiver import Receiver
from tests.support.server import Server, run
from tests.support.waiting import until
from tests.support.web import ask
from tests.support.wire import free_port

WEB = """[web]
port = {port}
workers = 1
anonymous = ["read"]
"""


class Site:
    """An archive with a peer to send to, asked over HTTP."""

    def __init__(self, start: Callable[..., Server], peer: str, folder: Path) -> None:
        self.port = free_port()
        self.server = start(more=WEB.format(port=self.port) + peer)
        self.datasets = study(series=2, instances=3)
        save_all(self.datasets, folder / "in")
        run("import", folder / "in", config=self.server.config)

    def ask(self, method: str, path: str, **document: str) -> Any:
        found = ask(self.port, method, f"/api/v1/{path}", json.dumps(document) if document else None)
        assert found.status in (200, 202, 204), found.body
        return found.json if found.body else None

    def order(self, **more: str) -> str:
        uid = self.datasets[0].StudyInstanceUID
        return str(self.ask("POST", "sends", peer="RECEIVER", study=uid, **more)["id"])

    def until(self, send_id: str, fits: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        def found() -> dict[str, Any]:
            told = self.ask("GET", f"sends/{send_id}")
            return told if fits(told) else {}

        return until(found, lambda: self.ask("GET", f"sends/{send_id}"))


def is_over(send: dict[str, Any]) -> bool:
    return send["state"] in ("done", "failed")


def test_a_study_and_a_series_are_sent_in_the_background(start_server: Callable[..., Server], tmp_path: Path):
    with Receiver() as receiver:
        site = Site(start_server, receiver.peer(), tmp_path)
        assert [peer["title"] for peer in site.ask("GET", "peers")] == ["RECEIVER"]
        whole = site.until(site.order(), is_over)
        assert (whole["state"], whole["total"], whole["completed"], whole["failed"]) == ("done", 6, 6, 0)
        part = site.until(site.order(series=site.datasets[0].SeriesInstanceUID), is_over)
        assert (part["total"], part["completed"]) == (3, 3)
        assert len(receiver.settled()) == 2
        assert {r.sop_instance_uid for r in receiver.received} == {ds.SOPInstanceUID for ds in site.datasets}
    assert [send["id"] for send in site.ask("GET", "sends")] == [part["id"], whole["id"]]
    site.ask("DELETE", f"sends/{whole['id']}")
    assert [send["id"] for send in site.ask("GET", "sends")] == [part["id"]]


def test_what_the_peer_does_not_take_is_told(start_server: Callable[..., Server], tmp_path: Path):
    with Receiver(answer=lambda wire, received, number: 0xA700 if number else 0) as receiver:
        site = Site(start_server, receiver.peer(), tmp_path)
        send = site.until(site.order(), is_over)
        assert (send["state"], send["completed"], send["failed"]) == ("done", 1, 5)
        assert send["words"] == "answered with status A700"


def test_an_order_that_is_called_off_ends_with_the_object_under_way(
    start_server: Callable[..., Server], tmp_path: Path
):
    came, goes_on = threading.Event(), threading.Event()

    def answer(wire: object, received: object, number: int) -> int:
        came.set()
        assert goes_on.wait(20)
        return 0

    with Receiver(answer=answer) as receiver:
        site = Site(start_server, receiver.peer(), tmp_path)
        send_id = site.order()
        assert came.wait(20)
        site.until(send_id, lambda send: send["state"] == "sending")
        site.ask("DELETE", f"sends/{send_id}")
        goes_on.set()
        (call,) = receiver.settled()
        assert len(call.received) < 6
    assert site.ask("GET", "sends") == []


@pytest.mark.parametrize("is_back", [False, True])
def test_a_peer_that_is_away_is_tried_again(start_server: Callable[..., Server], tmp_path: Path, is_back: bool):
    with Receiver() as receiver:
        away, here = f"port = {free_port()}", f"port = {receiver.port}"
        site = Site(start_server, receiver.peer().replace(here, away), tmp_path)
        send_id = site.order()
        waiting = site.until(send_id, lambda send: bool(send["words"]))
        assert (waiting["state"], waiting["total"], waiting["failed"]) == ("waiting", 6, 0)
        assert "destination" in waiting["words"]
        if is_back:
            config = site.server.config
            config.write_text(config.read_text().replace(away, here))
            site.server.reload()
            found = site.until(send_id, is_over)
            assert (found["state"], found["completed"]) == ("done", 6)
        else:
            site.ask("DELETE", f"sends/{send_id}")
            assert site.ask("GET", "sends") == []
