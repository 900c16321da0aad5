"""Certificates for tests, made by themselves: CAs, peers, and what can be wrong with one."""

import datetime
import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

DAY = datetime.timedelta(days=1)


@dataclass(frozen=True)
class Pair:
    """A certificate and its key, in files."""

    certificate: Path
    key: Path


class Authority:
    """A CA in a folder; `above` is who has signed it, if not itself."""

    def __init__(self, folder: Path, name: str = "Hospital CA", above: "Authority | None" = None) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self._made = (above or self)._sign(self._name, self._key.public_key(), 3650, None, is_authority=True)
        self.certificate = self._write("ca.pem", self._made.public_bytes(serialization.Encoding.PEM))

    def issue(
        self,
        name: str,
        *,
        days: float = 365,
        kind: str = "ec",
        san: tuple[str, ...] | None = None,
        names: Sequence[x509.GeneralName] = (),
        file: str = "",
    ) -> Pair:
        """Make a certificate for 127.0.0.1 and localhost, or for `san`, or `names`; "days" below 0 have passed."""
        key = ec.generate_private_key(ec.SECP256R1()) if kind == "ec" else rsa.generate_private_key(65537, 2048)
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        if san is not None:
            names = [x509.DNSName(found) for found in san]
        elif not names:
            names = [x509.IPAddress(ipaddress.ip_address("127.0.0.1")), x509.DNSName("localhost")]
        made = self._sign(subject, key.public_key(), days, names)
        file = file or name
        return Pair(
            self._write(f"{file}.pem", made.public_bytes(serialization.Encoding.PEM)),
            self._write(
                f"{file}.key",
                key.private_bytes(
                    serialization.Encoding.PEM,
                    serialization.PrivateFormat.PKCS8,
                    serialization.NoEncryption(),
                ),
                0o600,
            ),
        )

    def revoke(self, *pairs: Pair, days: float = 30) -> Path:
        """Write a list of certificates that are no longer good."""
        now = datetime.datetime.now(datetime.UTC)
        builder = x509.CertificateRevocationListBuilder().issuer_name(self._name)
        builder = builder.last_update(now - 60 * DAY).next_update(now + days * DAY)
        for pair in pairs:
            serial = x509.load_pem_x509_certificate(pair.certificate.read_bytes()).serial_number
            revoked = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(now - DAY)
            builder = builder.add_revoked_certificate(revoked.build())
        made = builder.sign(self._key, hashes.SHA256())
        return self._write("crl.pem", made.public_bytes(serialization.Encoding.PEM))

    def _sign(
        self,
        subject: x509.Name,
        public_key: object,
        days: float,
        names: Sequence[x509.GeneralName] | None,
        *,
        is_authority: bool = False,
    ) -> x509.Certificate:
        now = datetime.datetime.now(datetime.UTC)
        builder = x509.CertificateBuilder().subject_name(subject).issuer_name(self._name)
        builder = builder.public_key(public_key).serial_number(x509.random_serial_number())  # type: ignore[arg-type]
        builder = builder.not_valid_before(now - 500 * DAY).not_valid_after(now + days * DAY)
        builder = builder.add_extension(x509.BasicConstraints(is_authority, None), critical=True)
        if names:
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        return builder.sign(self._key, hashes.SHA256())

    def _write(self, name: str, data: bytes, mode: int = 0o644) -> Path:
        path = self.folder / name
        path.write_bytes(data)
        path.chmod(mode)
        return path
