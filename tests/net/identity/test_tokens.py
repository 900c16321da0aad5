"""Bearer tokens: made once, looked up, expired, revoked."""

import time
from pathlib import Path

import pytest

from minipacs.errors import MinipacsError
from minipacs.net.identity import tokens
from minipacs.net.identity.tokens import Tokens


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "tokens"


def test_a_token_stands_for_its_rights_and_is_not_in_the_file(path: Path):
    token = tokens.create(path, "viewer", ["read"])
    found = Tokens(path).check(token)
    assert found is not None
    assert (found.name, found.rights) == ("viewer", ("read",))
    assert token not in path.read_text()
    assert path.stat().st_mode & 0o777 == 0o640
    assert len(token) == len(tokens.PREFIX) + 43


@pytest.mark.parametrize(
    "token", ["", "x", tokens.PREFIX, tokens.PREFIX + "A" * 43, tokens.PREFIX + "\udcff", "B" * 9999]
)
def test_other_texts_stand_for_nothing(path: Path, token: str):
    tokens.create(path, "viewer", ["read"])
    assert Tokens(path).check(token) is None


def test_a_token_expires(path: Path):
    now = time.time()
    token = tokens.create(path, "viewer", ["read"], days=2)
    checked = Tokens(path, clock=lambda: now)
    assert checked.check(token)
    now += 2 * 86400 + 1
    assert checked.check(token) is None


def test_a_revoked_token_is_good_no_more(path: Path):
    token, other = tokens.create(path, "viewer", ["read"]), tokens.create(path, "other", ["read"])
    checked = Tokens(path)
    assert checked.check(token)
    assert tokens.revoke(path, "viewer")
    assert not tokens.revoke(path, "viewer")
    assert checked.check(token) is None
    assert checked.check(other)
    assert [found.name for found in tokens.listed(path)] == ["other"]


def test_two_tokens_never_have_one_name(path: Path):
    tokens.create(path, "viewer", ["read"])
    with pytest.raises(MinipacsError, match="there is a token 'viewer' already: revoke it first"):
        tokens.create(path, "viewer", ["read"])


@pytest.mark.parametrize(("name", "rights", "days"), [("a:b", ["read"], 0), ("a", ["fly"], 0), ("a", ["read"], -1)])
def test_what_cannot_be_is_refused_with_what_can(path: Path, name: str, rights: list[str], days: int):
    with pytest.raises(MinipacsError, match=r"there are|a name has|is good for"):
        tokens.create(path, name, rights, days)


@pytest.mark.parametrize("line", ["x", "a:read:1:2:zz", "a:fly:1:2:" + "0" * 64, "a:read:x:2:" + "0" * 64, "::::"])
def test_a_broken_line_harms_itself_alone(path: Path, line: str):
    path.write_text(line + "\n")
    token = tokens.create(path, "viewer", ["read"])
    assert Tokens(path).check(token)
    assert line in path.read_text()
