"""The listening sockets: opened by systemd or from the configuration, kept over reloads."""

import socket
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from minipacs.config import Config
from minipacs.errors import MinipacsError
from minipacs.net.listener import bind

METRICS_NAME = "metrics"
"""FileDescriptorName= of an inherited socket for HTTP; those of any other name are for DICOM."""

Key = tuple[str, int]
"""An address and a port as they are configured."""


@dataclass(frozen=True, slots=True)
class Sockets:
    """What is listened on. The keys of inherited sockets are no addresses of a configuration: they always stay."""

    dicom: dict[Key, socket.socket] = field(default_factory=dict)
    http: dict[Key, socket.socket] = field(default_factory=dict)
    is_inherited: bool = False

    @classmethod
    def inherited(cls, given: Iterable[tuple[str, socket.socket]]) -> "Sockets":
        """Sort sockets that were opened for us."""
        found = cls()
        for n, (name, sock) in enumerate(given):
            (found.http if name == METRICS_NAME else found.dicom)["", n] = sock
        return cls(found.dicom, found.http, bool(found.dicom))

    def follow(self, config: Config) -> "Sockets":
        """Return the sockets for a configuration: those that are open already, and new ones. Raises MinipacsError."""
        dicom, http = self.dicom, {key: sock for key, sock in self.http.items() if not key[0]}
        if not self.is_inherited:
            dicom = _follow(self.dicom, config.ae.bind, config.ae.port)
        try:
            if not http and config.metrics.bind:
                http = _follow(self.http, [config.metrics.bind], config.metrics.port)
        except MinipacsError as error:
            found = Sockets(dicom)
            found.close_unless(self)
            raise MinipacsError(f"metrics: {error}") from error
        return Sockets(dicom, http, self.is_inherited)

    def close_unless(self, kept: "Sockets") -> None:
        """Close what is not among `kept`."""
        needed = set(kept.all())
        for sock in self.all():
            if sock not in needed:
                sock.close()

    def all(self) -> Iterator[socket.socket]:
        """Give every socket."""
        yield from self.dicom.values()
        yield from self.http.values()


def _follow(open_: dict[Key, socket.socket], addresses: Sequence[str], port: int) -> dict[Key, socket.socket]:
    kept = {(address, port): open_[address, port] for address in addresses if (address, port) in open_}
    wanted = port or next((int(sock.getsockname()[1]) for sock in kept.values()), 0)
    new = [address for address in addresses if (address, port) not in kept]
    return kept | {(address, port): sock for address, sock in zip(new, bind(new, wanted), strict=True)}
