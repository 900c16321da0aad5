"""The listening sockets: opened by systemd or from the configuration, kept over reloads."""

import socket
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from minipacs.config import Config
from minipacs.errors import MinipacsError
from minipacs.net.listener import bind

Key = tuple[str, int]
"""An address and a port as they are configured; of a socket that was inherited an empty address and its number."""

DICOM, METRICS = "dicom", "metrics"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Something that is listened on.

    `name` is the FileDescriptorName= of inherited sockets for it; `where` gives the configured addresses, none if it
    is off, and their port; `label` begins what is said of a fault.
    """

    name: str
    where: Callable[[Config], tuple[Sequence[str], int]]
    label: str = ""


ENDPOINTS = (
    Endpoint(DICOM, lambda config: (config.ae.bind, config.ae.port)),
    Endpoint(
        METRICS, lambda config: ([config.metrics.bind] * bool(config.metrics.bind), config.metrics.port), "metrics: "
    ),
)
"""THE table of what may be listened on. Inherited sockets of an unknown name are for the first."""


@dataclass(frozen=True, slots=True)
class Sockets:
    """What is listened on, by endpoint. An endpoint that has inherited sockets keeps to them."""

    by_endpoint: Mapping[str, Mapping[Key, socket.socket]] = field(default_factory=dict)

    @classmethod
    def inherited(cls, given: Iterable[tuple[str, socket.socket]]) -> "Sockets":
        """Sort sockets that were opened for us."""
        found: dict[str, dict[Key, socket.socket]] = {endpoint.name: {} for endpoint in ENDPOINTS}
        for number, (name, sock) in enumerate(given):
            found[name if name in found else ENDPOINTS[0].name]["", number] = sock
        return cls(found)

    def follow(self, config: Config) -> "Sockets":
        """Return the sockets for a configuration: those that are open already, and new ones. Raises MinipacsError."""
        found: dict[str, Mapping[Key, socket.socket]] = {}
        for endpoint in ENDPOINTS:
            open_ = self.by_endpoint.get(endpoint.name, {})
            inherited = {key: sock for key, sock in open_.items() if not key[0]}
            try:
                found[endpoint.name] = inherited or _follow(open_, *endpoint.where(config))
            except MinipacsError as error:
                Sockets(found).close_unless(self)
                raise MinipacsError(f"{endpoint.label}{error}") from error
        return Sockets(found)

    def of(self, endpoint: str) -> list[socket.socket]:
        """Give the sockets of an endpoint."""
        return list(self.by_endpoint.get(endpoint, {}).values())

    def close_unless(self, kept: "Sockets") -> None:
        """Close what is not among `kept`."""
        needed = set(kept.all())
        for sock in self.all():
            if sock not in needed:
                sock.close()

    def all(self) -> Iterator[socket.socket]:
        """Give every socket."""
        for sockets in self.by_endpoint.values():
            yield from sockets.values()


def _follow(open_: Mapping[Key, socket.socket], addresses: Sequence[str], port: int) -> dict[Key, socket.socket]:
    kept = {(address, port): open_[address, port] for address in addresses if (address, port) in open_}
    wanted = port or next((int(sock.getsockname()[1]) for sock in kept.values()), 0)
    new = [address for address in addresses if (address, port) not in kept]
    return kept | {(address, port): sock for address, sock in zip(new, bind(new, wanted), strict=True)}
