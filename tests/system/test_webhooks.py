"""Webhooks: what happens is told in its order until it was taken, signed, and with no more of anybody than UIDs."""

import hashlib
import hmac
import json
import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.listener import Listener, Posted
from tests.support.receiver import Receiver
from tests.support.server import Server, run
from tests.system.test_routing import QUICK, WAIT_S, command, free_port, queue, route, routed, send, study

PATIENT = {"PatientID": "SECRET-1", "PatientName": "SECRET^JANE", "AccessionNumber": "SECRET-2"}


def webhook(listener: Listener, more: str = 'events = ["stored", "complete"]', path: str = "/hook?a=1") -> str:
    return f'[[webhook]]\nurl = "{listener.url}{path}"\n{more}\n'


def told(listener: Listener, event: str) -> list[dict[str, object]]:
    return [line for line in listener.lines if line["event"] == event]


def test_what_comes_is_told_in_its_order_signed_and_without_names(start_server: Callable[..., Server], tmp_path: Path):
    secret = tmp_path / "secret"
    secret.write_bytes(b"k\xe9y \n")
    with Listener() as listener:
        events = f'events = ["stored", "complete"]\nsecret_file = "{secret}"'
        server = start_server(more=QUICK + webhook(listener, events))
        made = study(3, **PATIENT)
        sent = send(server, made, tmp_path / "a")
        listener.wait(lambda: told(listener, "complete"))
        assert [line["instance"] for line in told(listener, "stored")] == sent
        (complete,) = told(listener, "complete")
        assert (complete["study"], complete["reason"]) == (made[0].StudyInstanceUID, "quiet")
        assert "instance" not in complete
        seqs = [line["seq"] for line in listener.lines]
        assert seqs == sorted(set(seqs)), seqs
        for posted in listener.posted:
            assert posted.path == "/hook?a=1"
            assert posted.headers["content-type"] == "application/x-ndjson"
            key = hmac.new(b"k\xe9y ", posted.body, hashlib.sha256)
            assert posted.headers["x-minipacs-signature"] == f"sha256={key.hexdigest()}"
            assert b"SECRET" not in posted.body + str(posted.headers).encode()
        routed(server, len(listener.posted), "webhook told")
        assert server.metric("minipacs_route_sent_total", route="webhook", peer=f"127.0.0.1:{listener.port}") == 4
        assert queue(server) == []


def test_only_what_is_asked_for_is_told(start_server: Callable[..., Server], tmp_path: Path):
    with Listener() as listener:
        server = start_server(more=QUICK + webhook(listener, 'events = ["corrected", "deleted"]'))
        made = study(1, PatientID="P1")
        (uid,) = send(server, made, tmp_path / "a")
        routed(server, event="study complete")
        command(
            server, "correct", "--yes", f"StudyInstanceUID={made[0].StudyInstanceUID}", "--set", "StudyDescription=X"
        )
        command(server, "delete", "--yes", f"SOPInstanceUID={uid}")
        listener.wait(lambda: told(listener, "deleted"))
        assert [(line["event"], line["instance"]) for line in listener.lines] == [("corrected", uid), ("deleted", uid)]


def test_what_is_not_taken_is_told_again_and_nothing_overtakes_it(start_server: Callable[..., Server], tmp_path: Path):
    answers = [500, None, 503, 302, 404]
    with Listener(lambda posted, number: answers[number] if number < len(answers) else 204) as listener:
        server = start_server(more=QUICK + webhook(listener))
        first = send(server, study(2), tmp_path / "a")
        listener.wait(lambda: len(listener.posted) >= 2)
        second = send(server, study(2), tmp_path / "b")

        def taken() -> list[object]:
            lines = [line for posted in listener.posted[len(answers) :] for line in posted.lines]
            return [line["instance"] for line in lines if line["event"] == "stored"]

        listener.wait(lambda: {*taken()} >= {*second})
        assert taken() == first + second
        reasons = [line["reason"] for line in server.events("webhook not told yet")]
        assert [str(reason).rpartition(" ")[2] for reason in reasons] == ["500", "HTTP", "503", "302", "404"]
        assert server.metric("minipacs_route_failed_total", route="webhook") >= 5


def test_what_is_refused_is_given_up_alone_and_can_be_told_again(start_server: Callable[..., Server], tmp_path: Path):
    with Listener(lambda posted, number: 200 if number else 422) as listener:
        server = start_server(more=QUICK + webhook(listener))
        send(server, study(1), tmp_path / "a")
        routed(server, event="webhook not told")
        (dead,) = queue(server)
        assert (dead["state"], dead["route"], dead["fault"]) == ("dead", "webhook", "answered with 422")
        shown = json.loads(command(server, "queue", "show", dead["id"]).stdout)
        assert shown["after"] < shown["upto"]
        other = send(server, study(1), tmp_path / "b")
        listener.wait(lambda: told(listener, "stored")[-1]["instance"] == other[0])
        assert server.metric("minipacs_route_dead", route="webhook") == 1
        command(server, "queue", "retry", dead["id"])
        server.reload()
        listener.wait(lambda: listener.posted[0].body in [posted.body for posted in listener.posted[1:]])
        server.wait_for(lambda at: (at["event"], at.get("item")) == ("webhook told", dead["id"]), WAIT_S)
        assert queue(server) == []


def test_who_is_away_for_too_long_is_given_up_and_the_next_event_is_told(
    start_server: Callable[..., Server], tmp_path: Path
):
    gone = f'[[webhook]]\nurl = "http://127.0.0.1:{free_port()}"\n'
    server = start_server(more=QUICK + "give_up_h = 0.0003\n" + gone)
    send(server, study(1), tmp_path / "a")
    (line,) = routed(server, event="webhook not told")
    assert "Connection refused" in str(line["reason"])
    assert [row["state"] for row in queue(server)] == ["dead"]


def test_a_listener_that_never_answers_holds_up_no_route(start_server: Callable[..., Server], tmp_path: Path):
    never = threading.Event()
    with Receiver() as receiver, Listener(lambda posted, number: never.wait(30) and None) as listener:
        server = start_server(
            more="[timeouts]\ndimse = 1\n" + QUICK + webhook(listener) + receiver.peer() + route(), ae=""
        )
        send(server, study(2), tmp_path / "a")
        routed(server)
        (line,) = routed(server, event="webhook not told yet")
        assert "no answer in time" in str(line["reason"])
        never.set()


def test_a_route_that_gives_up_is_told(start_server: Callable[..., Server], tmp_path: Path):
    with Receiver(answer=lambda wire, received, number: 0xA900) as receiver, Listener() as listener:
        server = start_server(more=QUICK + webhook(listener, 'events = "dead"') + receiver.peer() + route())
        (uid,) = send(server, study(1), tmp_path / "a")
        listener.wait(lambda: told(listener, "dead"))
        (line,) = listener.lines
        assert (line["instance"], line["route"], line["peer"]) == (uid, "all", "RECEIVER")
        rows = json.loads(command(server, "changes", "--json").stdout)
        assert [row["action"] for row in rows] == ["create", "complete", "dead"]


@pytest.mark.parametrize("kills", [2])
def test_nothing_is_left_out_when_the_jobs_process_is_killed(
    start_server: Callable[..., Server], tmp_path: Path, kills: int
):
    at = [0]

    def answer(posted: Posted, number: int) -> int:
        if at[0] < kills:
            at[0] += 1
            (pid,) = server.children("jobs")
            os.kill(pid, signal.SIGKILL)
        return 200

    with Listener(answer) as listener:
        server = start_server(more=QUICK + webhook(listener))
        sent = send(server, study(5), tmp_path / "a")
        listener.wait(lambda: told(listener, "complete") and len(listener.posted) > kills)
        listener.wait(lambda: {line["instance"] for line in told(listener, "stored")} == {*sent})


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ('url = "http://ris.example.org/x"', "http:// to this machine only"),
        ('url = "https://user:pass@ris.example.org"', "webhook[1].url"),
        ('url = "https://ris.example.org"\nevents = ["born"]', "webhook[1].events"),
        ('url = "https://a.example.org"\n[[webhook]]\nurl = "https://a.example.org"', "must be unique"),
        ('url = "https://127.0.0.1/x"\nsecret_file = "not there"', "cannot be read"),
        ("", "is required"),
    ],
)
def test_a_webhook_that_cannot_be_meant_is_refused(tmp_path: Path, lines: str, words: str):
    config = tmp_path / "minipacs.toml"
    config.write_text(f"[[webhook]]\n{lines}\n")
    refused = run("check", config=config, check=False)
    assert refused.returncode in (1, 2)
    assert words in refused.stderr + refused.stdout, refused.stderr + refused.stdout
