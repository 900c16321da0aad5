"""THE table from kinds of failure to the answers of HTTP, and the body that tells of one (PS3.18 8.5, RFC 9110 15)."""

import json
from collections.abc import Mapping
from http import HTTPStatus
from types import MappingProxyType

from minipacs.errors import Failure, Kind

RETRY_AFTER_S = 10
"""What a client is told to wait where trying again may help."""

STATUSES: Mapping[Kind, int] = {
    Kind.UNREADABLE: 400,
    Kind.UNKNOWN_CHARSET: 400,
    Kind.WRONG_ENCODING: 400,
    Kind.MISSING: 400,
    Kind.EMPTY: 400,
    Kind.INVALID: 400,
    Kind.MALFORMED_UID: 400,
    Kind.WRONG_IDENTITY: 409,
    Kind.NOT_SETTABLE: 400,
    Kind.FINAL: 409,
    Kind.EXISTS: 409,
    Kind.OTHER_PARENT: 409,
    Kind.OTHER_CONTENT: 409,
    Kind.OTHER_CLASS: 409,
    Kind.NOT_FOUND: 404,
    Kind.UNSUPPORTED: 415,
    Kind.TOO_LARGE: 413,
    Kind.TOO_MANY: 413,
    Kind.HELD: 409,
    Kind.BUSY: 503,
    Kind.FULL: 507,
    Kind.BROKEN: 500,
}


class Refusal(Exception):
    """A request that is answered with an error: `words` say what was wrong and what is allowed."""

    def __init__(self, status: int, words: str, headers: Mapping[str, str] = MappingProxyType({})) -> None:
        super().__init__(words)
        self.status = status
        self.words = words
        self.headers = headers


def refusal_of(failure: Failure) -> Refusal:
    """Say how a request is answered that failed so."""
    status = STATUSES.get(failure.kind, 500)
    headers = {"Retry-After": str(RETRY_AFTER_S)} if failure.temporary else {}
    return Refusal(status, str(failure), headers)


def unreadable(failure: Failure) -> Refusal:
    """Say that what is stored cannot be read; what may be had later is not told to be gone."""
    return refusal_of(failure) if failure.temporary else Refusal(404, f"what is stored here cannot be read: {failure}")


def not_convertible(failure: Failure, words: str) -> Refusal:
    """Say that there is no such frame, or else that what is stored cannot be had in this form; or not now."""
    if failure.temporary:
        return refusal_of(failure)
    return Refusal(404 if failure.kind is Kind.NOT_FOUND else 406, f"{words}: {failure}")


def document(refusal: Refusal, request_id: str) -> bytes:
    """Write the body of an error: the id is in the log as well."""
    body = {
        "status": refusal.status,
        "error": HTTPStatus(refusal.status).phrase,
        "details": refusal.words,
        "id": request_id,
    }
    return json.dumps(body).encode()
