"""The users file: written, read, checked, with everything that can be wrong with it."""

import os
import threading
from pathlib import Path

import pytest

from minipacs.errors import MinipacsError
from minipacs.net.identity import line_file, users
from minipacs.net.identity.users import CheckingIsBusy, User, Users


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(users, "_LOG2_N", 4)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "users"


def test_a_user_is_who_knows_the_passcode(path: Path):
    assert users.add(path, "anna", "söcret".encode(), ["find", "echo"])
    found = Users(path)
    user = found.check("anna", "söcret".encode(), 1)
    assert user is not None
    assert user.rights == ("echo", "find")
    assert found.check("anna", b"secret", 1) is None
    assert found.check("anna", b"", 1) is None
    assert found.check("Anna", "söcret".encode(), 1) is None
    assert found.check("anna", b"x" * (users.MAX_PASSCODE_BYTES + 1), 1) is None


def test_the_file_has_no_passcode_and_is_for_owner_and_group(path: Path):
    users.add(path, "anna", b"hunter2", ["echo"])
    assert b"hunter2" not in path.read_bytes()
    assert path.stat().st_mode & 0o777 == 0o640
    assert path.read_text().startswith("anna:echo:scrypt:4:8:1:")


def test_a_second_passcode_takes_the_place_of_the_first(path: Path):
    users.add(path, "anna", b"1", ["echo"])
    users.add(path, "bert", b"2", ["find"])
    found = Users(path)
    assert found.check("anna", b"1", 1)
    assert not users.add(path, "anna", b"3", ["store"])
    assert found.check("anna", b"1", 1) is None
    assert found.check("anna", b"3", 1).rights == ("store",)  # type: ignore[union-attr]
    assert found.check("bert", b"2", 1)


def test_a_user_who_is_removed_is_none_any_more(path: Path):
    users.add(path, "anna", b"1", ["echo"])
    found = Users(path)
    assert found.check("anna", b"1", 1)
    assert users.remove(path, "anna")
    assert not users.remove(path, "anna")
    assert found.check("anna", b"1", 1) is None


def test_a_file_that_goes_or_cannot_be_read_lets_nobody_in(path: Path):
    users.add(path, "anna", b"1", ["echo"])
    found = Users(path)
    assert found.get("anna")
    path.unlink()
    assert found.get("anna") is None
    path.write_bytes(b"#" * (line_file.MAX_FILE_BYTES + 1))
    assert found.get("anna") is None


@pytest.mark.parametrize(
    "line",
    [
        "anna",
        "anna:echo:plain:x",
        "anna:fly:scrypt:4:8:1:AAAAAAAAAAAAAAAAAAAAAA==:AAAAAAAAAAAAAAAAAAAAAA==",
        "anna:echo:scrypt:40:8:1:AAAAAAAAAAAAAAAAAAAAAA==:AAAAAAAAAAAAAAAAAAAAAA==",
        "anna:echo:scrypt:4:8:-1:AAAAAAAAAAAAAAAAAAAAAA==:AAAAAAAAAAAAAAAAAAAAAA==",
        "anna:echo:scrypt:4:8:1:AAAA:AAAAAAAAAAAAAAAAAAAAAA==",
        "anna:echo:scrypt:4:8:1:AAAAAAAAAAAAAAAAAAAAAA==:",
        "anna:echo:scrypt:4:8:1:not base64:AAAAAAAAAAAAAAAAAAAAAA==",
        "\0:echo:scrypt:4:8:1:AAAAAAAAAAAAAAAAAAAAAA==:AAAAAAAAAAAAAAAAAAAAAA==",
    ],
)
def test_a_broken_line_harms_itself_alone(path: Path, line: str, caplog: pytest.LogCaptureFixture):
    path.write_text(f"# users\n\n{line}\n")
    users.add(path, "bert", b"2", ["find"])
    assert line in path.read_text()
    found = Users(path)
    assert found.get("anna") is None
    assert found.check("bert", b"2", 1)
    (record,) = caplog.records
    assert record.fields["fault"].startswith("line 3: ")  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", ["", "a:b", "#a", "a\nb", "a" * 65, "\u202ea"])
def test_names_that_cannot_be(path: Path, name: str):
    with pytest.raises(MinipacsError, match="a name has"):
        users.add(path, name, b"1", ["echo"])


def test_a_right_that_is_none_is_refused_with_those_there_are(path: Path):
    with pytest.raises(MinipacsError, match=r"'fly' is not a right; there are: echo store .* deidentified"):
        users.add(path, "anna", b"1", ["echo", "fly"])
    assert not path.exists()


def count_hashes(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    calls: list[str] = []
    real = User.hashed
    monkeypatch.setattr(User, "hashed", lambda user, code: (calls.append(user.name), real(user, code))[1])
    return calls


def test_an_unknown_user_takes_as_long_as_a_wrong_passcode(path: Path, monkeypatch: pytest.MonkeyPatch):
    users.add(path, "anna", b"1", ["echo"])
    found, calls = Users(path), count_hashes(monkeypatch)
    assert found.check("anna", b"2", 1) is None
    assert found.check("nobody", b"2", 1) is None
    assert calls == ["anna", ""]


def test_what_was_right_is_remembered_for_ten_minutes(path: Path, monkeypatch: pytest.MonkeyPatch):
    users.add(path, "anna", b"1", ["echo"])
    now = 0.0
    found, calls = Users(path, clock=lambda: now), count_hashes(monkeypatch)
    for _ in range(10):
        assert found.check("anna", b"1", 1)
    assert len(calls) == 1
    assert found.check("anna", b"2", 1) is None
    assert len(calls) == 2
    now = users.REMEMBER_S
    assert found.check("anna", b"1", 1)
    assert len(calls) == 3


def test_what_is_remembered_is_bounded(path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(users, "MAX_REMEMBERED", 2)
    found = Users(path)
    for name in "abc":
        users.add(path, name, b"1", ["echo"])
        assert found.check(name, b"1", 1)
    assert len(found._remembered) == 2


def test_only_two_passcodes_are_checked_at_once(path: Path, monkeypatch: pytest.MonkeyPatch):
    users.add(path, "anna", b"1", ["echo"])
    found = Users(path)
    begun, go_on = threading.Semaphore(0), threading.Event()

    def hashed(user: User, passcode: bytes) -> bytes:
        begun.release()
        go_on.wait(30)
        return b""

    monkeypatch.setattr(User, "hashed", hashed)
    threads = [threading.Thread(target=found.check, args=("anna", b"2", 30)) for _ in range(2)]
    for thread in threads:
        thread.start()
        assert begun.acquire(timeout=30)
    with pytest.raises(CheckingIsBusy):
        found.check("anna", b"2", 0.01)
    go_on.set()
    for thread in threads:
        thread.join()


def test_to_check_a_passcode_gives_way_to_associations(path: Path, monkeypatch: pytest.MonkeyPatch):
    found, seen = Users(path), []

    def hashed(user: User, passcode: bytes) -> bytes:
        seen.append(os.getpriority(os.PRIO_PROCESS, threading.get_native_id()))
        return b""

    monkeypatch.setattr(User, "hashed", hashed)
    before = os.getpriority(os.PRIO_PROCESS, threading.get_native_id())
    assert found.check("anna", b"1", 1) is None
    assert seen == [max(before, users.NICENESS)]
    assert os.getpriority(os.PRIO_PROCESS, threading.get_native_id()) == before


def test_two_who_write_at_once_lose_nothing(path: Path):
    names = [f"user{number}" for number in range(20)]
    threads = [threading.Thread(target=users.add, args=(path, name, b"1", ["echo"])) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(line_file.read(path, users.parse)[0]) == set(names)
    assert {p.name for p in path.parent.iterdir()} == {"users", "users.lock"}


def test_the_owner_of_the_file_stays(path: Path, monkeypatch: pytest.MonkeyPatch):
    users.add(path, "anna", b"1", ["echo"])
    owners: list[tuple[int, int]] = []
    monkeypatch.setattr(os, "fchown", lambda fd, uid, gid: owners.append((uid, gid)))
    users.add(path, "bert", b"1", ["echo"])
    assert owners == [(path.stat().st_uid, path.stat().st_gid)]
