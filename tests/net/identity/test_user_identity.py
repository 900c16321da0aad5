"""User Identity Negotiation: items as they come, and what each policy makes of them (PS3.7 D.3.3.7)."""

import struct
import threading
from pathlib import Path

import pytest

from minipacs.net.identity import users
from minipacs.net.identity.user_identity import (
    NOBODY,
    TYPES,
    WRONG,
    Identification,
    IdentityRefused,
    UserCheck,
    UserIdentity,
)
from minipacs.net.identity.users import MAX_HASHES_AT_ONCE, CheckingIsBusy, User, Users

RIGHTS = ("echo", "find")
WAIT_S = 10


def body(kind: int, primary: bytes = b"anna", secondary: bytes = b"", wants: int = 0) -> bytes:
    sizes = struct.pack(">H", len(primary)) + primary + struct.pack(">H", len(secondary)) + secondary
    return bytes((kind, wants)) + sizes


def claim(kind: int, primary: bytes = b"anna", secondary: bytes = b"", wants: int = 0) -> UserIdentity:
    found = UserIdentity.read([body(kind, primary, secondary, wants)])
    assert found is not None
    assert not found.fault
    return found


@pytest.fixture
def hashes(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """What was hashed; quickly."""
    hashed, done = User.hashed, []

    def count(user: User, passcode: bytes) -> bytes:
        done.append(passcode)
        return hashed(user, passcode)

    monkeypatch.setattr(users, "_LOG2_N", 4)
    monkeypatch.setattr(User, "hashed", count)
    return done


@pytest.fixture
def path(tmp_path: Path, hashes: list[bytes]) -> Path:
    users.add(tmp_path / "users", "anna", b"right", RIGHTS)
    hashes.clear()
    return tmp_path / "users"


def outcome(policy: str, found: UserIdentity | None, path: Path) -> Identification | str:
    try:
        return UserCheck(policy, Users(path)).identify(found, WAIT_S)  # type: ignore[arg-type]
    except IdentityRefused as error:
        return str(error)


def test_an_item_is_read_in_full():
    assert UserIdentity.read([]) is None
    assert claim(2, b"anna", b"right", 1) == UserIdentity(2, b"anna", b"right", is_response_requested=True)
    assert claim(2, b"anna", b"right", 2).is_response_requested is False
    assert claim(2, "söhne".encode(), b"x").name == "söhne"
    assert claim(5, b"secret").name == ""
    assert "right" not in repr(claim(2, b"anna", b"right"))


@pytest.mark.parametrize(
    "bodies",
    [
        [b""],
        [b"\2"],
        [b"\2\0\0"],
        [b"\2\0\0\4ann"],
        [b"\2\0\0\4anna"],
        [b"\2\0\0\4anna\0"],
        [b"\2\0\0\4anna\0\5righ"],
        [body(2, b"anna", b"right") + b"\0"],
        [body(1), body(1)],
    ],
)
@pytest.mark.parametrize(("policy", "refused"), [("ignore", False), ("check", True), ("require", True)])
def test_what_cannot_be_read_is_nobody_s_identity(bodies, policy, refused, path, hashes):
    found = outcome(policy, UserIdentity.read(bodies), path)
    assert isinstance(found, str) == refused
    assert not hashes


@pytest.mark.parametrize("wants", [0, 1])
@pytest.mark.parametrize("policy", ["check", "require"])
def test_a_right_passcode_gives_the_user_and_an_answer_if_one_is_asked_for(policy, wants, path):
    found = outcome(policy, claim(2, b"anna", b"right", wants), path)
    assert found == Identification("anna", RIGHTS, b"" if wants else None, is_verified=True)


@pytest.mark.parametrize("policy", ["check", "require"])
@pytest.mark.parametrize(("name", "passcode"), [(b"anna", b"wrong"), (b"bert", b"right"), (b"", b""), (b"\xff", b"x")])
def test_wrong_and_unknown_are_refused_in_the_same_words_after_the_same_work(policy, name, passcode, path, hashes):
    assert outcome(policy, claim(2, name, passcode, 1), path) == WRONG
    assert hashes == [passcode]


def test_a_passcode_that_is_too_long_is_wrong_without_work(path, hashes):
    assert outcome("check", claim(2, b"anna", b"x" * 60_000), path) == WRONG
    assert not hashes


@pytest.mark.parametrize("wants", [0, 1])
def test_a_name_alone_is_believed_under_check_and_not_under_require(wants, path, hashes):
    assert outcome("check", claim(1, wants=wants), path) == Identification("anna", RIGHTS, b"" if wants else None)
    assert outcome("check", claim(1, b"bert"), path) == WRONG
    assert outcome("require", claim(1), path) == "a user identity without a passcode"
    assert not hashes


@pytest.mark.parametrize("kind", [0, 3, 4, 5, 6, 255])
def test_what_cannot_be_checked_counts_for_nothing(kind, path):
    assert outcome("check", claim(kind, b"ticket", wants=1), path) == NOBODY
    refused = outcome("require", claim(kind, b"ticket", wants=1), path)
    assert refused == f"a user identity of an unsupported type: {TYPES.get(kind, kind)}"


def test_no_identity_is_refused_only_where_one_is_required(path):
    assert outcome("ignore", None, path) == outcome("check", None, path) == NOBODY
    assert outcome("require", None, path) == "no user identity"


def test_whatever_is_claimed_is_ignored_where_it_is_to_be(path, hashes):
    assert {outcome("ignore", claim(kind, b"bert", b"wrong", 1), path) for kind in range(7)} == {NOBODY}
    assert not hashes


def test_a_user_who_was_checked_costs_no_second_hash(path, hashes):
    check = UserCheck("require", Users(path))
    for _ in range(100):
        check.identify(claim(2, b"anna", b"right"), WAIT_S)
    assert len(hashes) == 1
    check.identify(claim(2, b"anna", b"right"), 0)


def test_no_time_left_means_busy_and_no_hash(path, hashes):
    with pytest.raises(CheckingIsBusy):
        UserCheck("check", Users(path)).identify(claim(2, b"anna", b"right"), 0)
    assert not hashes


def test_a_hundred_wrong_passcodes_are_hashed_a_few_at_once(path, monkeypatch):
    running, most, lock = 0, 0, threading.Lock()
    hashed = User.hashed

    def watched(user: User, passcode: bytes) -> bytes:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        found = hashed(user, passcode)
        with lock:
            running -= 1
        return found

    monkeypatch.setattr(User, "hashed", watched)
    check, refused = UserCheck("require", Users(path)), []

    def call(number: int) -> None:
        try:
            check.identify(claim(2, b"anna", b"wrong %d" % number), WAIT_S)
        except IdentityRefused as error:
            refused.append(str(error))

    threads = [threading.Thread(target=call, args=(number,)) for number in range(100)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert refused == [WRONG] * 100
    assert most <= MAX_HASHES_AT_ONCE
