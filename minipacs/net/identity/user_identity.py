"""User Identity Negotiation: what callers say of their user, and whether it is true (PS3.7 D.3.3.7)."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from minipacs.net.identity.rights import Right
from minipacs.net.identity.users import Users

USER_NAME, USER_NAME_AND_PASSCODE, KERBEROS, SAML, JWT = 1, 2, 3, 4, 5
TYPES: Mapping[int, str] = {
    USER_NAME: "a name",
    USER_NAME_AND_PASSCODE: "a name and a passcode",
    KERBEROS: "a Kerberos ticket",
    SAML: "a SAML assertion",
    JWT: "a JSON Web Token",
}
MAX_CHECK_S = 5.0
"""For a passcode's turn to be checked: callers give up on an association not much later."""

Policy = Literal["ignore", "check", "require"]


@dataclass(frozen=True, slots=True)
class UserIdentity:
    """The sub-item 58H as it came; `fault` says why it cannot be read, "" if it can."""

    type: int = 0
    primary: bytes = field(default=b"", repr=False)
    secondary: bytes = field(default=b"", repr=False)
    is_response_requested: bool = False
    fault: str = ""

    @classmethod
    def read(cls, bodies: Iterable[bytes]) -> "UserIdentity | None":
        """Read the sub-items of a request: None if there is none, one with a fault if there are several."""
        found = list(bodies)
        if not found:
            return None
        return cls._read(found[0]) if len(found) == 1 else cls(fault="several user identities")

    @classmethod
    def _read(cls, body: bytes) -> "UserIdentity":
        primary = _after_length(body, 2)
        secondary = None if primary is None else _after_length(body, 4 + len(primary))
        if primary is None or secondary is None or len(body) != 6 + len(primary) + len(secondary):
            return cls(fault="a user identity whose lengths are wrong")
        return cls(body[0], primary, secondary, is_response_requested=body[1] == 1)

    @property
    def name(self) -> str:
        """Return the name of the user that it claims to be, "" if it is of a type that names none in plain."""
        if self.type not in (USER_NAME, USER_NAME_AND_PASSCODE):
            return ""
        return self.primary.decode("utf-8", "replace")


@dataclass(frozen=True, slots=True)
class Identification:
    """What is known of a caller's user: its rights, None for no limit by them; whether a passcode proved it.

    `answer` is the response in the sub-item 59H, None where none is sent.
    """

    user: str = ""
    rights: tuple[Right, ...] | None = None
    answer: bytes | None = None
    is_verified: bool = False


class IdentityRefused(Exception):
    """The user is not who it claims to be, or claims nothing that counts; says why, never which part was wrong."""


WRONG = "no such user, or a wrong passcode"
NOBODY = Identification()


class UserCheck:
    """Checks users by the file of users. Safe to use from any thread."""

    def __init__(self, policy: Policy, users: Users) -> None:
        self._policy = policy
        self._users = users

    def identify(self, claim: UserIdentity | None, timeout_s: float) -> Identification:
        """Say who the user is; the turn for a passcode is waited for `timeout_s`, at most MAX_CHECK_S.

        Raises IdentityRefused; CheckingIsBusy, which may pass.
        """
        if self._policy == "ignore":
            return NOBODY
        if claim is None:
            return self._unproven("no user identity")
        if claim.fault:
            raise IdentityRefused(claim.fault)
        if claim.type == USER_NAME_AND_PASSCODE:
            return self._by_passcode(claim, timeout_s)
        if claim.type == USER_NAME:
            return self._by_name(claim)
        return self._unproven(f"a user identity of an unsupported type: {TYPES.get(claim.type, claim.type)}")

    def _by_passcode(self, claim: UserIdentity, timeout_s: float) -> Identification:
        user = self._users.check(claim.name, claim.secondary, min(timeout_s, MAX_CHECK_S))
        if user is None:
            raise IdentityRefused(WRONG)
        return Identification(user.name, user.rights, _answer(claim), is_verified=True)

    def _by_name(self, claim: UserIdentity) -> Identification:
        """Take a name without a proof for what it is worth: it may narrow the rights, never widen them."""
        if self._policy == "require":
            raise IdentityRefused("a user identity without a passcode")
        user = self._users.get(claim.name)
        if user is None:
            raise IdentityRefused(WRONG)
        return Identification(user.name, user.rights, _answer(claim))

    def _unproven(self, what: str) -> Identification:
        if self._policy == "require":
            raise IdentityRefused(what)
        return NOBODY


def _answer(claim: UserIdentity) -> bytes | None:
    """Answer types 1 and 2 with nothing, if an answer was asked for (PS3.7 D.3.3.7.2)."""
    return b"" if claim.is_response_requested else None


def _after_length(body: bytes, at: int) -> bytes | None:
    """Return the field behind its length of two bytes, None if the body ends before it does."""
    begin = at + 2
    end = begin + int.from_bytes(body[at:begin], "big")
    return body[begin:end] if begin <= len(body) and end <= len(body) else None
