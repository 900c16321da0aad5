"""TLS for tests: a site with its certificates, clients that speak it, and what the archive says of them."""

import json
import re
import socket
import ssl
from contextlib import suppress
from pathlib import Path

from tests.support import server as commands
from tests.support.certificates import Authority, Pair
from tests.support.server import Server
from tests.support.waiting import until
from tests.support.wire import Wire


class Site:
    """A CA, what it has signed, and what it has not."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ca = Authority(folder / "ca")
        self.other_ca = Authority(folder / "other", "Somebody's CA")
        self.us = self.ca.issue("ARCHIVE", kind="rsa")
        self.ct1, self.ct2 = self.ca.issue("CT1"), self.ca.issue("CT2", kind="rsa")
        self.expired, self.revoked = self.ca.issue("LATE", days=-1), self.ca.issue("GONE")
        self.stranger = self.other_ca.issue("STRANGER")
        self.crl = self.ca.revoke(self.revoked)

    def lines(self, more: str = "", us: Pair | None = None) -> str:
        """Return the section of a configuration."""
        us = us or self.us
        paths = {"certificate": us.certificate, "key": us.key, "ca": self.ca.certificate, "crl": self.crl}
        lines = [f'{key} = "{path}"' for key, path in paths.items()]
        return "\n".join(["[tls]", "port = 0", *lines, more])

    def context(self, pair: Pair | None = None, **versions: ssl.TLSVersion) -> ssl.SSLContext:
        """Return what a client needs that trusts the CA and shows a certificate."""
        made = ssl.create_default_context(cafile=str(self.ca.certificate))
        made.check_hostname = False
        if pair is not None:
            made.load_cert_chain(pair.certificate, pair.key)
        for name, version in versions.items():
            setattr(made, name, version)
        return made


def tls_port(server: Server) -> int:
    return int(str(server.events("ready")[0]["dicom_tls"]).rsplit(":", 1)[1])


class TlsWire(Wire):
    """A connection through TLS."""

    def __init__(self, port: int, context: ssl.SSLContext) -> None:
        super().__init__(port)
        self.socket = context.wrap_socket(self.socket)


def accounts(server: Server, reason: str, **fields: object) -> list[dict[str, object]]:
    """Wait for accounts with a reason and these fields, and return them."""

    def listed() -> list[dict[str, object]]:
        return list(json.loads(commands.run("associations", "--json", config=server.config).stdout))

    def found() -> list[dict[str, object]]:
        told = [account for account in listed() if re.search(reason, str(account.get("reason")))]
        return [account for account in told if fields.items() <= account.items()]

    return until(found, lambda: f"no account of {reason}: {listed()}")


def peer_lines(title: str, port: int, more: str = "") -> str:
    return f'[[peer]]\ntitle = "{title}"\nhost = "127.0.0.1"\nport = {port}\ntls = true\n{more}\n'


def shake_hands(listening: socket.socket, context: ssl.SSLContext) -> None:
    with suppress(OSError), listening.accept()[0] as sock, context.wrap_socket(sock, server_side=True) as secured:
        secured.recv(1)
