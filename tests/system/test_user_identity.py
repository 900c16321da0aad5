"""Users of associations, with the real process: dcmtk's storescu, and items made by hand (PS3.7 D.3.3.7)."""

import json
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from minipacs.net.identity import users
from tests.support import dcmtk, wire
from tests.support import server as commands
from tests.support.objects import ct, save
from tests.support.server import Server
from tests.support.waiting import until
from tests.support.wire import CT, EXPLICIT, VERIFICATION, Wire, context, identity

REFUSED = "Reason: No Reason"
"""What dcmtk makes of 1/2/1."""


RIGHT, WRONG, UNKNOWN = (
    (2, name, code) for name, code in ((b"anna", b"right"), (b"anna", b"bad"), (b"bert", b"right"))
)


@pytest.fixture(scope="module", params=["check", "require"])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("users")
    peers = '[[peer]]\ntitle = "CT1"\nallow = ["echo"]\n[[peer]]\ntitle = "CT2"\n[[peer]]\ntitle = "LOOP"\n'
    running = Server(folder, more=f'[access]\npolicy = "open"\nidentity = "{request.param}"\n{peers}')
    commands.run("passwd", "anna", "--allow", "echo,store,read", config=running.config, input="right\nright\n")
    running.policy = request.param  # type: ignore[attr-defined]
    yield running
    running.end()


def associate(server: Server, *items: bytes, calling: bytes = b"TEST") -> tuple[int, bytes]:
    with Wire(server.port) as caller:
        contexts = [context(1, VERIFICATION), context(3, CT, EXPLICIT), context(5, wire.STUDY_FIND)]
        return caller.associate(*contexts, calling=calling, user=wire.user_information(16384, *items))


def is_refused(answer: tuple[int, bytes]) -> bool:
    kind, body = answer
    assert kind == 2 or (kind, *body[1:4]) == (3, 1, 2, 1)
    return kind == 3


@pytest.mark.parametrize("wants", [0, 1])
@pytest.mark.parametrize(
    ("claim", "under_check", "under_require"),
    [
        ((1, b"anna"), "answered", "refused"),
        ((1, b"bert"), "refused", "refused"),
        (RIGHT, "answered", "answered"),
        (WRONG, "refused", "refused"),
        (UNKNOWN, "refused", "refused"),
        ((3, b"ticket"), "taken", "refused"),
        ((4, b"<saml/>"), "taken", "refused"),
        ((5, b"a.b.c"), "taken", "refused"),
        ((9, b"?"), "taken", "refused"),
    ],
)
def test_each_type_right_wrong_and_unknown(server: Server, wants, claim, under_check, under_require):
    expected = under_check if server.policy == "check" else under_require  # type: ignore[attr-defined]
    answer = associate(server, identity(*claim, wants=wants))
    assert is_refused(answer) == (expected == "refused")
    if expected != "refused":
        items = wire.sub_items(answer[1], 0x59)
        assert items == ([b"\0\0"] if wants and expected == "answered" else [])


@pytest.mark.parametrize(
    "items",
    [
        [wire.item(0x58, b"")],
        [wire.item(0x58, b"\2\1\0\4an")],
        [identity(*RIGHT), identity(*RIGHT)],
        [identity(2, b"anna", b"x" * 60_000)],
        [identity(2, b"a" * 60_000, b"right")],
    ],
)
def test_items_that_are_broken_or_two_or_too_long_are_refused_and_nobody_is_hurt(server: Server, items):
    assert is_refused(associate(server, *items))
    assert not is_refused(associate(server, identity(*RIGHT)))


def test_without_an_identity(server: Server):
    assert is_refused(associate(server)) == (server.policy == "require")  # type: ignore[attr-defined]


def test_a_user_may_no_more_than_the_peer_and_no_more_than_the_user(server: Server):
    _, body = associate(server, identity(*RIGHT))
    assert {key: result for key, (result, _) in wire.context_results(body).items()} == {1: 0, 3: 0, 5: 1}
    _, body = associate(server, identity(*RIGHT), calling=b"CT1")
    assert {key: result for key, (result, _) in wire.context_results(body).items()} == {1: 0, 3: 1, 5: 1}


@pytest.mark.parametrize(
    ("options", "is_stored"),
    [
        (["-usr", "anna", "-pwd", "right", "-rsp"], True),
        (["-usr", "anna", "-pwd", "right"], True),
        (["-usr", "anna", "-pwd", "wrong", "-rsp"], False),
        (["-usr", "bert", "-pwd", "right", "-rsp"], False),
        (["-usr", "anna", "-epw", "-rsp"], False),
        (["-usr", "bert", "-rsp"], False),
    ],
)
def test_storescu_with_a_user(server: Server, tmp_path: Path, options: list[str], is_stored: bool):
    done = dcmtk.client("storescu", server.port, *options, save(ct(), tmp_path / "a.dcm"), check=False)
    assert (done.returncode == 0) == is_stored, done.stdout
    assert (REFUSED in done.stdout) != is_stored


@pytest.mark.parametrize("option", ["-kt", "--saml", "--jwt"])
def test_storescu_with_a_ticket(server: Server, tmp_path: Path, option: str):
    (tmp_path / "ticket").write_text("ticket")
    path = save(ct(), tmp_path / "a.dcm")
    done = dcmtk.run("storescu", option, tmp_path / "ticket", "127.0.0.1", server.port, path, check=False)
    assert (done.returncode == 0) == (server.policy == "check"), done.stdout  # type: ignore[attr-defined]


def accounts(server: Server, **fields: object) -> list[dict]:

    def found() -> list[dict]:
        listed = json.loads(commands.run("associations", "--json", "--last", 200, config=server.config).stdout)
        return [account for account in listed if fields.items() <= account.items()]

    return until(found, lambda: f"no account of {fields}")


def test_the_user_is_in_the_account_and_in_the_log(server: Server):
    with Wire(server.port) as caller:
        caller.accepted(calling=b"CT2", user=wire.user_information(16384, identity(*RIGHT)))
        caller.release()
    associate(server, identity(2, b"\x1b[31mzoe", b"secret"), calling=b"CT2")
    assert accounts(server, user="anna", outcome="released", calling="CT2")
    [refused] = accounts(server, user="\x1b[31mzoe", outcome="rejected")
    assert "no such user, or a wrong passcode" in refused["reason"]
    assert "minipacs passwd" in refused["remedy"]
    line = server.wait_for(lambda line: line["event"] == "association ended" and line["calling"] == "CT2")
    assert line["user"] == "anna"
    assert not [line for line in server.raw if "secret" in line or "right" in line]


def test_the_file_is_read_when_it_changes(server: Server):
    users.add(server.data / "users", "carl", b"first", ["echo"])
    assert not is_refused(associate(server, identity(2, b"carl", b"first")))
    users.add(server.data / "users", "carl", b"second", ["echo"])
    assert is_refused(associate(server, identity(2, b"carl", b"first")))
    assert not is_refused(associate(server, identity(2, b"carl", b"second")))
    users.remove(server.data / "users", "carl")
    assert is_refused(associate(server, identity(2, b"carl", b"second")))


def test_many_wrong_passcodes_at_once_keep_nobody_else_out(server: Server):
    def guess(number: int) -> tuple[int, ...]:
        kind, body = associate(server, identity(2, b"anna", b"guess %d" % number), calling=b"LOOP")
        return kind, *body[1:4]

    with ThreadPoolExecutor(50) as pool:
        guesses = [pool.submit(guess, number) for number in range(40)]
        for _ in range(5):
            assert not is_refused(associate(server, identity(*RIGHT)))
        assert {found.result() for found in guesses} <= {(3, 1, 2, 1), (3, 2, 3, 1)}


def test_check_tells_of_users_and_of_passcodes_in_the_clear(server: Server):
    done = commands.run("check", config=server.config, check=False)
    is_required = server.policy == "require"  # type: ignore[attr-defined]
    assert ('access.identity = "require" without TLS: passcodes cross' in done.stdout) == is_required
    assert f"users {server.data / 'users'}: " in done.stdout


def test_check_tells_of_broken_lines_and_of_an_empty_file(start_server):
    server = start_server(more='[access]\nidentity = "check"')
    assert "nobody is known: minipacs passwd NAME" in commands.run("check", config=server.config).stdout
    path = server.data / "users"
    path.write_text("anna:fly\n")
    os.chmod(path, 0o644)
    done = commands.run("check", config=server.config, check=False)
    assert done.returncode == 1
    assert "line 1: not of the form" in done.stdout
