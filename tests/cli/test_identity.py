"""`minipacs passwd` and `minipacs token`."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from minipacs.cli import main
from minipacs.net.identity import users
from minipacs.net.identity.tokens import Tokens
from minipacs.net.identity.users import Users


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(users, "_LOG2_N", 4)
    (tmp_path / "minipacs.toml").write_text('[storage]\npath = "archive"\n')
    (tmp_path / "archive").mkdir()
    return tmp_path


def run(folder: Path, *words: str, typed: str = "") -> Result:
    command = [*words, "--config", str(folder / "minipacs.toml")]
    return CliRunner().invoke(main, command, input=typed)


def test_a_user_is_added_changed_and_removed(folder: Path):
    assert "added anna" in run(folder, "passwd", "anna", "--allow", "find,read", typed="one\none\n").output
    found = Users(folder / "archive" / "users")
    assert found.check("anna", b"one", 1).rights == ("find", "read")  # type: ignore[union-attr]
    assert "changed anna" in run(folder, "passwd", "anna", typed="two\ntwo\n").output
    assert found.check("anna", b"two", 1).rights == ("find", "read")  # type: ignore[union-attr]
    assert "removed anna" in run(folder, "passwd", "anna", "--delete").output
    assert found.get("anna") is None


@pytest.mark.parametrize(
    ("words", "typed", "told"),
    [
        (("anna",), "one\ntwo\n", "the passcodes differ"),
        (("anna",), "\n\n", "a passcode has 1 to"),
        (("anna", "--allow", "fly"), "one\none\n", "'fly' is not a right; there are: echo"),
        (("a:b",), "one\none\n", "a name has"),
        (("bert", "--delete"), "", "there is no user 'bert'"),
    ],
)
def test_what_cannot_be_is_told(folder: Path, words: tuple[str, ...], typed: str, told: str):
    result = run(folder, "passwd", *words, typed=typed)
    assert result.exit_code == 1
    assert told in result.output
    assert "Traceback" not in result.output


def test_a_new_user_may_neither_delete_nor_administer(folder: Path):
    run(folder, "passwd", "anna", typed="one\none\n")
    user = Users(folder / "archive" / "users").get("anna")
    assert user is not None
    assert not {"delete", "admin"} & set(user.rights)
    assert {"echo", "store", "read"} <= set(user.rights)


def test_a_token_is_shown_once_and_can_be_revoked(folder: Path):
    token = run(folder, "token", "create", "viewer", "--allow", "read,delete", "--days", "3").output.strip()
    checked = Tokens(folder / "archive" / "tokens")
    assert checked.check(token).rights == ("read", "delete")  # type: ignore[union-attr]
    (row,) = json.loads(run(folder, "token", "list", "--json").output)
    assert (row["name"], row["rights"], row["state"]) == ("viewer", "read delete", "good")
    assert token not in run(folder, "token", "list").output
    assert run(folder, "token", "create", "viewer").exit_code == 1
    assert "revoked viewer" in run(folder, "token", "revoke", "viewer").output
    assert run(folder, "token", "revoke", "viewer").exit_code == 1
    assert checked.check(token) is None
