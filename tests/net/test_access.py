"""Who is admitted, and what the others are told."""

from dataclasses import replace
from pathlib import Path

import pytest

from minipacs.net import access
from minipacs.net.access import OTHER, RIGHTS, Access, Admission, Origin, Peer, PeerTable, Rejection
from minipacs.net.identity import users
from minipacs.net.identity.user_identity import WRONG, UserCheck, UserIdentity
from minipacs.net.identity.users import Users
from minipacs.net.wire import names
from minipacs.net.wire.certificate import Certificate
from minipacs.net.wire.negotiation import APPLICATION_CONTEXT_NAME, Proposal

HOME = Origin("127.0.0.1")


def proposal(calling: str = "CALLER", called: str = "MINIPACS", **more: object) -> Proposal:
    given = {"application_context": APPLICATION_CONTEXT_NAME, **more}
    return Proposal(called_ae_title=called, calling_ae_title=calling, contexts=(), **given)  # type: ignore[arg-type]


def control(
    policy: str = "open", *peers: Peer, limit: int = 10, check_called: bool = False, users: UserCheck | None = None
) -> Access:
    return Access("MINIPACS", policy, PeerTable(peers), limit, check_called_title=check_called, users=users)  # type: ignore[arg-type]


def rejection(found: Admission | Rejection) -> tuple[int, int, int]:
    assert isinstance(found, Rejection)
    assert found.why
    return found.result, found.source, found.reason


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        (proposal(called="WRONG"), (1, 1, 7)),
        (proposal(called="minipacs"), (1, 1, 7)),
        (proposal(called=""), (1, 1, 7)),
        (proposal(calling=""), (1, 1, 3)),
        (proposal(calling="STRANGER"), (1, 1, 3)),
        (proposal(calling="caller"), (1, 1, 3)),
        (proposal(application_context="1.2.3"), (1, 1, 2)),
        (proposal(application_context=""), (1, 1, 2)),
        (proposal(protocol_version=0), (1, 2, 2)),
        (proposal(protocol_version=2), (1, 2, 2)),
        (proposal(protocol_version=0, application_context="1.2.3"), (1, 2, 2)),
        (proposal(max_pdu_bytes=7), (1, 1, 1)),
    ],
)
def test_a1_unfit_callers_are_told_the_reason(call, expected):
    entry = control("peers", Peer("CALLER"), check_called=True)
    assert rejection(entry.admit(call, HOME)) == expected
    assert entry.active == 0


def test_a1_later_protocol_versions_are_welcome_if_version_1_is_among_them():
    assert isinstance(control().admit(proposal(protocol_version=3), HOME), Admission)


def test_a1_another_called_title_is_accepted_unless_it_is_checked():
    assert isinstance(control().admit(proposal(called="OTHER"), HOME), Admission)


@pytest.mark.parametrize(
    ("host", "address", "known"),
    [
        ("", "203.0.113.9", True),
        ("10.0.0.12", "10.0.0.12", True),
        ("10.0.0.12", "10.0.0.13", False),
        ("10.0.0.0/24", "10.0.0.13", True),
        ("10.0.0.0/24", "10.0.1.13", False),
        ("10.0.0.5/24", "10.0.0.13", True),
        ("10.0.0.12", "::ffff:10.0.0.12", True),
        ("10.0.0.0/24", "::ffff:10.0.0.12", True),
        ("::ffff:10.0.0.12", "10.0.0.12", True),
        ("::ffff:10.0.0.12", "::ffff:10.0.0.12", True),
        ("::ffff:10.0.0.12", "10.0.0.13", False),
        ("::ffff:10.0.0.0/120", "10.0.0.13", True),
        ("::ffff:10.0.0.0/120", "10.0.1.13", False),
        ("2001:db8::/32", "2001:db8::7", True),
        ("2001:db8::/32", "10.0.0.12", False),
        ("fe80::1", "fe80::1%eth0", True),
        ("localhost", "127.0.0.1", True),
        ("localhost", "10.0.0.12", False),
    ],
)
def test_a1_a_peer_must_come_from_its_address(host, address, known):
    found = control("peers", Peer("CALLER", host)).admit(proposal(), Origin(address))
    if known:
        assert isinstance(found, Admission)
    else:
        assert rejection(found) == (1, 1, 3)
        assert isinstance(found, Rejection)
        assert "another address" in found.why


def test_a_name_that_does_not_resolve_is_a_passing_fault_and_says_so(monkeypatch):
    def fail(*given: object, **options: object) -> None:
        raise OSError(-2, "Name or service not known")

    monkeypatch.setattr(names.socket, "getaddrinfo", fail)
    peer = Peer("CALLER", "ct1.no-such.invalid")
    found = control("peers", peer).admit(proposal(), HOME)
    assert rejection(found) == (2, 3, 1)
    assert isinstance(found, Rejection)
    assert (found.why, found.remedy) == (
        "the host of the calling AE title cannot be looked up: ct1.no-such.invalid: Name or service not known",
        "peer.host",
    )
    assert control("open", peer).admit(proposal(), HOME) == Admission(RIGHTS, None)


CERTIFICATE = Certificate("sha256:ab12", "CN=CT1", frozenset({"sha256:ab12", "CN=CT1", "DNS:ct1.hospital"}))
PLAIN, ANONYMOUS, SHOWN = (
    HOME,
    Origin(HOME.address, is_encrypted=True),
    Origin(HOME.address, CERTIFICATE, is_encrypted=True),
)
TLS_PEER, NAMED_PEER = Peer("CALLER", tls=True), Peer("CALLER", certificate="DNS:CT1.hospital")


@pytest.mark.parametrize("policy", ["open", "peers"])
@pytest.mark.parametrize("host", ["", "127.0.0.1", "10.9.9.9"])
@pytest.mark.parametrize(
    ("peer", "origin", "fault"),
    [
        (Peer("CALLER"), PLAIN, ""),
        (Peer("CALLER"), ANONYMOUS, ""),
        (Peer("CALLER"), SHOWN, ""),
        (TLS_PEER, PLAIN, "has to call with TLS"),
        (TLS_PEER, ANONYMOUS, ""),
        (TLS_PEER, SHOWN, ""),
        (NAMED_PEER, PLAIN, "has to call with TLS"),
        (NAMED_PEER, ANONYMOUS, "certificate is not that of the calling AE title: none"),
        (NAMED_PEER, SHOWN, ""),
        (Peer("CALLER", certificate="sha256:AB:12"), SHOWN, ""),
        (Peer("CALLER", certificate="CN=CT2"), SHOWN, "certificate is not that of the calling AE title: CN=CT1"),
    ],
)
def test_a_peer_shows_what_it_is_known_by_and_is_never_taken_for_a_stranger_instead(policy, host, peer, origin, fault):
    """Under "open" a stranger has all rights: who falls short of a peer's proof must not become one."""
    found = control(policy, replace(peer, host=host)).admit(proposal(), origin)
    if fault:
        assert rejection(found) == (1, 1, 3)
        assert isinstance(found, Rejection)
        assert fault in found.why
    elif host == "10.9.9.9" and policy == "peers":
        assert rejection(found) == (1, 1, 3)
    else:
        assert isinstance(found, Admission)


def test_under_open_a_configured_peer_keeps_its_rights_and_others_have_all():
    entry = control("open", Peer("CALLER", allow=("echo",)))
    assert entry.admit(proposal(), HOME) == Admission(("echo",), Peer("CALLER", allow=("echo",)))
    assert entry.admit(proposal("STRANGER"), HOME) == Admission(RIGHTS, None)


def test_labels_come_from_a_closed_set():
    entry = control("open", Peer("CALLER"))
    found = [entry.admit(proposal(title), HOME) for title in ("CALLER", "x", "y")]
    assert [a.label for a in found if isinstance(a, Admission)] == ["CALLER", OTHER, OTHER]


def test_a2_the_limit_of_associations():
    entry = control(limit=2)
    first = entry.admit(proposal(), HOME)
    assert isinstance(first, Admission)
    assert isinstance(entry.admit(proposal(), HOME), Admission)
    assert rejection(entry.admit(proposal(), HOME)) == (2, 3, 2)
    entry.leave(first)
    assert entry.active == 1
    assert isinstance(entry.admit(proposal(), HOME), Admission)


def test_a2_a_peer_has_a_limit_of_its_own():
    entry = control("open", Peer("CALLER", max_associations=1))
    first = entry.admit(proposal(), HOME)
    assert isinstance(first, Admission)
    assert rejection(entry.admit(proposal(), HOME)) == (2, 3, 2)
    assert isinstance(entry.admit(proposal("STRANGER"), HOME), Admission)
    entry.leave(first)
    assert isinstance(entry.admit(proposal(), HOME), Admission)


@pytest.mark.parametrize(("host", "is_destination"), [("10.0.0.12", True), ("", False), ("10.0.0.0/24", False)])
def test_only_a_peer_with_one_address_is_a_move_destination(host, is_destination):
    known = PeerTable([Peer("WS", host)])
    assert (known.destination("WS") is not None) == is_destination
    assert known.destination("NOWHERE") is None
    assert known.destination("ws") is None


def test_every_rejection_is_one_of_the_standard():
    """PS3.8 Table 9-21."""
    allowed = {(1, 1, r) for r in (1, 2, 3, 7)} | {(1, 2, 1), (1, 2, 2)} | {(2, 3, 1), (2, 3, 2)}
    found = [value for value in vars(access).values() if isinstance(value, Rejection)]
    assert len(found) >= 8
    assert {rejection(value) for value in found} <= allowed


@pytest.fixture
def checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> UserCheck:
    monkeypatch.setattr(users, "_LOG2_N", 4)
    users.add(tmp_path / "users", "anna", b"right", ["find", "store", "read"])
    return UserCheck("require", Users(tmp_path / "users"))


ANNA, WRONG_ANNA = UserIdentity(2, b"anna", b"right"), UserIdentity(2, b"anna", b"wrong")


@pytest.mark.parametrize(
    ("allow", "rights"), [(RIGHTS, ("store", "find")), (("echo", "find"), ("find",)), (("echo",), ()), ((), ())]
)
def test_a_user_may_what_the_peer_may_and_the_user_may(checked, allow, rights):
    entry = control("peers", Peer("CALLER", allow=allow), users=checked)
    found = entry.admit(proposal(user_identity=ANNA), HOME, 10)
    assert isinstance(found, Admission)
    assert (found.rights, found.identification.user, found.identification.is_verified) == (rights, "anna", True)


@pytest.mark.parametrize(
    ("claim", "check_s", "expected", "says"),
    [
        (WRONG_ANNA, 10, (1, 2, 1), WRONG),
        (UserIdentity(2, b"bert", b"right"), 10, (1, 2, 1), WRONG),
        (UserIdentity(4, b"<saml/>"), 10, (1, 2, 1), "unsupported type: a SAML assertion"),
        (None, 10, (1, 2, 1), "no user identity"),
        (ANNA, 0, (2, 3, 1), "too many passcodes"),
    ],
)
def test_a_user_who_is_not_known_to_be_one_takes_no_place(checked, claim, check_s, expected, says):
    entry = control(users=checked, limit=1)
    found = entry.admit(proposal(user_identity=claim), HOME, check_s)
    assert rejection(found) == expected
    assert isinstance(found, Rejection)
    assert says in found.why
    assert entry.active == 0


def test_no_passcode_is_looked_at_of_whom_address_title_or_certificate_keep_out(checked, monkeypatch):
    monkeypatch.setattr(UserCheck, "identify", lambda *given: pytest.fail("looked at"))
    entry = control("peers", Peer("CALLER", "10.0.0.1"), NAMED_PEER, users=checked)
    for calling in ("CALLER", "STRANGER", ""):
        assert rejection(entry.admit(proposal(calling, user_identity=ANNA), HOME, 10)) == (1, 1, 3)


def test_a_user_who_was_being_checked_while_the_archive_shuts_down_is_told_so(checked, monkeypatch):
    entry = control(users=checked)
    identify = checked.identify

    def closing(claim: UserIdentity, timeout_s: float) -> object:
        entry.close()
        return identify(claim, timeout_s)

    monkeypatch.setattr(checked, "identify", closing)
    assert rejection(entry.admit(proposal(user_identity=ANNA), HOME, 10)) == (2, 3, 1)
    assert entry.active == 0
