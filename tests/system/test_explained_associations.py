"""Why does this modality not connect?"""

import json

from minipacs.net.rejections import BURST
from minipacs.net.summed_log import WRITTEN
from tests.support import server as commands
from tests.support import wire
from tests.support.objects import ct
from tests.support.sender import Sender
from tests.support.server import Server
from tests.support.waiting import until
from tests.support.wire import CT, EXPLICIT, VERIFICATION, Wire

PEERS = """
[access]
policy = "peers"
[[peer]]
title = "CT1"
allow = ["echo"]
[[peer]]
title = "FAR"
host = "192.0.2.1"
"""


def listed(server: Server, count: int) -> list[dict]:
    """List the associations, waiting for `count` of them: they are kept a moment after their end."""

    def found() -> list[dict]:
        told = json.loads(commands.run("associations", "--json", config=server.config).stdout)
        return told if len(told) >= count else []

    return until(found)


def show(server: Server, association_id: str, *options: str) -> str:
    return commands.run("associations", "show", association_id, *options, "--config", server.config).stdout


def test_an_association_is_told_with_what_was_done(server):
    with Sender(server.port) as sender:
        for _ in range(3):
            assert sender.store(ct()).status == 0
        sender.release()
    [told] = listed(server, 1)
    assert (told["calling"], told["called"], told["address"]) == ("TEST", "MINIPACS", "127.0.0.1")
    assert (told["outcome"], told["operations"]) == ("released", {"C-STORE success": 3})
    assert told["received_bytes"] > 3 * 512
    [context] = told["contexts"]
    assert (context["abstract_syntax"], context["name"], context["result"]) == (CT, "CT Image Storage", 0)
    assert context["accepted_transfer_syntax"] == EXPLICIT
    assert (context["reason"], context["remedy"]) == (None, None)
    text = show(server, told["association_id"])
    assert "3 C-STORE success" in text
    assert "accepted  Explicit VR Little Endian" in text
    assert json.loads(show(server, told["association_id"], "--json")) == told


def test_a_context_refused_is_told_with_the_setting_that_would_accept_it(start_server):
    server = start_server(more=PEERS)
    proposed = [
        wire.context(1, VERIFICATION),
        wire.context(3, CT, EXPLICIT),
        wire.context(5, "1.2.3.4"),
        wire.context(7, VERIFICATION, "1.2.3.5"),
    ]
    with Wire(server.port) as caller:
        caller.accepted(*proposed, calling=b"CT1")
        caller.release()
    [told] = listed(server, 1)
    assert [context["result"] for context in told["contexts"]] == [0, 1, 3, 4]
    remedies = [context["remedy"] for context in told["contexts"]]
    assert [remedy and remedy.split(",")[0].split(":")[0] for remedy in remedies] == [
        None,
        "peer.allow",
        "storage.sop_classes",
        "none here",
    ]
    text = show(server, told["association_id"])
    assert text.count("refused") == 3
    assert "context 3: CT Image Storage" in text


def test_a_rejection_is_told_with_the_setting_that_would_let_the_caller_in(start_server):
    server = start_server(more=PEERS, ae="check_called_title = true\nmax_associations = 1")
    for arguments in ({"calling": b"STRANGER"}, {"calling": b"FAR"}, {"called": b"OTHER", "calling": b"CT1"}):
        with Wire(server.port) as caller:
            assert caller.associate(wire.context(1, VERIFICATION), **arguments)[0] == 3
    with Wire(server.port) as first:
        first.accepted(calling=b"CT1")
        with Wire(server.port) as second:
            assert second.associate(calling=b"CT1")[0] == 3
        told = {found["calling"] + found["called"]: found for found in listed(server, 4)}
    assert {found["outcome"] for found in told.values()} == {"rejected"}
    remedies = {name: found["remedy"] for name, found in told.items()}
    assert remedies == {
        "STRANGERMINIPACS": "a [[peer]] of this title",
        "FARMINIPACS": "peer.host",
        "CT1OTHER": "ae.title, or ae.check_called_title",
        "CT1MINIPACS": "ae.max_associations",
    }
    assert [context["result"] for context in told["STRANGERMINIPACS"]["contexts"]] == [None]
    assert "a [[peer]] of this title" in show(server, told["STRANGERMINIPACS"]["association_id"])


def test_the_list_is_a_table_and_hostile_titles_cannot_act_on_the_terminal(server):
    for title in (b"A\x1b[31m", b"B"):
        with Wire(server.port) as caller:
            caller.accepted(calling=title)
            caller.release()
    listed(server, 2)
    text = commands.run("associations", "--last", "1", config=server.config).stdout
    assert len(text.splitlines()) == 2
    assert text.split()[:3] == ["id", "began", "calling"]
    text = commands.run("associations", config=server.config).stdout
    assert "\x1b" not in text
    assert "A\\x1b[31m" in text


def test_what_did_not_become_an_association_is_told_too(server):
    with Wire(server.port) as caller:
        caller.send(b"GET / HTTP/1.1\r\n\r\n")
        assert caller.closed()
    [told] = listed(server, 1)
    assert (told["outcome"], told["calling"]) == ("protocol_error", "")
    assert told["reason"]


def test_an_id_that_is_not_known_is_one_line(server):
    done = commands.run("associations", "show", "1-1", "--config", server.config, check=False)
    assert done.returncode == 1
    assert done.stderr == "minipacs: no association 1-1 is among the last 10000\n"


def test_what_is_kept_survives_a_restart(server):
    with Wire(server.port) as caller:
        caller.accepted()
        caller.release()
    assert server.stop() == 0
    assert [found["outcome"] for found in listed(server, 1)] == ["released"]


def test_who_is_rejected_in_a_loop_is_not_answered_for_a_while(start_server):
    server = start_server(more=PEERS, ae="workers = 1")
    answers = []
    for _ in range(BURST + 5):
        with Wire(server.port) as caller:
            try:
                answers.append(caller.associate(calling=b"STRANGER")[0])
            except (EOFError, ConnectionError):
                answers.append(None)
    assert answers[:BURST] == [3] * BURST
    assert None in answers[BURST:]
    [line] = server.events("too many rejections: caller is not answered for a while")[:1]
    assert line["address"] == "127.0.0.1"
    assert len(server.events("association rejected")) == WRITTEN, "the others are summed"
    with Wire(server.port) as caller:
        assert caller.associate(calling=b"CT1")[0] == 2, "others behind the same address are none the worse"
    assert server.metric("minipacs_associations_total", outcome="rejected") >= BURST
