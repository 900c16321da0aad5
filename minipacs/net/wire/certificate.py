"""What a peer's certificate says, and whether it is the one that a peer is known by (PS3.15 B.12, RFC 5280)."""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

MAX_NAMES = 1000
"""Of one certificate; more are not looked at."""
MAX_SUBJECT_CHARS = 256
FINGERPRINT = "sha256:"
_SHORT = {"commonName": "CN", "organizationName": "O", "organizationalUnitName": "OU", "countryName": "C"}
_NO_CASE = "DNS:"


@dataclass(frozen=True, slots=True)
class Certificate:
    """One that was shown and that a trusted CA has signed. `names` are what `[[peer]] certificate` may ask for."""

    fingerprint: str
    subject: str
    names: frozenset[str]

    @classmethod
    def read(cls, decoded: Mapping[str, Any], der: bytes) -> "Certificate":
        """Make it of what `ssl` gives: `getpeercert()` and `getpeercert(True)`."""
        fingerprint = FINGERPRINT + hashlib.sha256(der).hexdigest()
        parts = [f"{_SHORT.get(key, key)}={value}" for rdn in decoded.get("subject", ()) for key, value in rdn]
        names = {fingerprint, *_names(decoded)}
        return cls(fingerprint, ",".join(parts)[:MAX_SUBJECT_CHARS], frozenset(names))

    def is_named(self, name: str) -> bool:
        """Tell whether this is the one that a peer has to show: `sha256:`, `CN=`, `DNS:` or `URI:` and a value."""
        return _normal(name) in self.names


def _names(decoded: Mapping[str, Any]) -> Iterator[str]:
    for rdn in decoded.get("subject", ()):
        for key, value in rdn:
            if key == "commonName":
                yield f"CN={value}"
    for kind, value in decoded.get("subjectAltName", ())[:MAX_NAMES]:
        yield _normal(f"{kind}:{value}")


def _normal(name: str) -> str:
    """Write fingerprints without colons and in small letters, host names in small letters."""
    if name.startswith(FINGERPRINT):
        return FINGERPRINT + name.removeprefix(FINGERPRINT).replace(":", "").lower()
    return name.lower().replace(_NO_CASE.lower(), _NO_CASE, 1) if name.startswith(_NO_CASE) else name
